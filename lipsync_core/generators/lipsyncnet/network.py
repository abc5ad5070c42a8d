"""LipSyncNet: a masked face, references of the same person and what is said -> the face saying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .audio import AudioEncoder
from .config import LipSyncNetConfig
from .layers import Encoder, ResBlock, deform, norm


class Output(NamedTuple):
    """What the network says of a batch of faces."""

    pixels: Tensor
    """(B, 3, S, S), RGB 0..1."""
    mask: Tensor
    """(B, 1, S, S), 0..1: how much of each pixel is meant."""
    copied: Tensor
    """(B, 3, S, S): the references' own pixels, deformed and mixed; part of `pixels` where the network trusts them."""
    flow: Tensor
    """(B, R, 2, h, w): how far each reference is moved, in units of the picture's half side."""


class Deformer(nn.Module):
    """Tells how a reference must be moved to look like the target, and how much it is worth there.

    Features of the target and of a reference (B, C, h, w) each, embedding (B, E) -> flow (B, 2, h, w), weight (B, 1, h, w).
    """

    REACH = 0.5
    """Largest move, half sides of the picture: references are aligned already."""

    def __init__(self, channels: int, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2))
        self.blocks = nn.ModuleList(ResBlock(width, width, embedding) for _ in range(3))
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(self.last.bias)

    def forward(self, target: Tensor, reference: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(torch.cat([target, reference], 1))
        fine, x = x, self.down[1](F.silu(self.down[0](F.silu(x))))
        for block in self.blocks[:2]:
            x = block(x, embedding)
        x = fine + F.interpolate(x, scale_factor=4.0, mode="nearest")
        x = self.last(F.silu(self.blocks[2](x, embedding)))
        return self.REACH * torch.tanh(x[:, :2]), x[:, 2:]


class Decoder(nn.Module):
    """Features of the target and of the deformed references at every resolution, finest first, embedding (B, E) ->
    (B, 5, S, S): RGB, trust in the copied pixels, mask; all before their sigmoid."""

    def __init__(self, config: LipSyncNetConfig) -> None:
        super().__init__()
        channels = config.channels
        self.levels = nn.ModuleList()
        for i in reversed(range(len(channels))):
            above = channels[i + 1] if i + 1 < len(channels) else 0
            widths = [2 * channels[i] + above] + [channels[i]] * config.blocks[i]
            self.levels.append(nn.ModuleList(ResBlock(a, b, config.embedding) for a, b in zip(widths, widths[1:])))
        self.head = nn.Sequential(norm(channels[0]), nn.SiLU(), nn.Conv2d(channels[0], 5, 3, padding=1))

    def forward(self, target: Sequence[Tensor], references: Sequence[Tensor], embedding: Tensor) -> Tensor:
        x: Tensor | None = None
        for level, mine, theirs in zip(self.levels, reversed(target), reversed(references)):
            parts = [mine, theirs] if x is None else [F.interpolate(x, scale_factor=2.0, mode="nearest"), mine, theirs]
            x = torch.cat(parts, 1)
            for block in level:
                x = block(x, embedding)
        return self.head(x)


class LipSyncNet(nn.Module):
    """The whole network. Sound goes through `audio` as a stream; references through `encode_references` once for a clip; what is
    left, `forward`, is the same work for every face of every frame."""

    def __init__(self, config: LipSyncNetConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.audio_width, config.audio_hidden, config.audio_layers, config.embedding)
        self.target = Encoder(4, config.channels, config.blocks)
        self.reference = Encoder(3, config.channels, config.blocks)
        self.deformer = Deformer(config.channels[config.flow_level], config.flow_width, config.embedding)
        self.decoder = Decoder(config)

    def encode_references(self, references: Tensor) -> list[Tensor]:
        """Reference crops (B, R, 3, S, S), RGB 0..1 -> features at every resolution, [(B, R, C, s, s)]."""
        batch = references.shape[0]
        features = self.reference(2 * rearrange(references, "b r c h w -> (b r) c h w") - 1)
        return [rearrange(f, "(b r) c h w -> b r c h w", b=batch) for f in features]

    def forward(self, face: Tensor, region: Tensor, embedding: Tensor, references: Tensor, features: Sequence[Tensor]) -> Output:
        """Faces (B, 3, S, S) RGB 0..1, of which `region` (1 or B, 1, S, S; 1 = hidden) is never seen, embeddings (B, E) of their frames,
        references (B, R, 3, S, S) and what `encode_references` made of them (`expand`ed where a clip has one set)."""
        batch, count = references.shape[:2]
        region = region.expand(batch, -1, -1, -1)
        target = self.target(torch.cat([(2 * face - 1) * (1 - region), region], 1))
        level = self.config.flow_level
        flow, weight = self.deformer(
            rearrange(target[level].unsqueeze(1).expand(-1, count, -1, -1, -1), "b r c h w -> (b r) c h w"),
            rearrange(features[level], "b r c h w -> (b r) c h w"),
            rearrange(embedding.unsqueeze(1).expand(-1, count, -1), "b r e -> (b r) e"))
        share = rearrange(weight, "(b r) 1 h w -> b r 1 h w", b=batch).float().softmax(1)
        mixed = [self._mix(f, flow, share) for f in features]
        copied = self._mix(references, flow, share)
        raw = self.decoder(target, mixed, embedding)
        trust, mask = raw[:, 3:4].sigmoid(), raw[:, 4:5].sigmoid()
        pixels = trust * copied + (1 - trust) * raw[:, :3].sigmoid()
        return Output(pixels, mask, copied, rearrange(flow, "(b r) c h w -> b r c h w", b=batch))

    @staticmethod
    def _mix(features: Tensor, flow: Tensor, share: Tensor) -> Tensor:
        """References (B, R, C, H, W), each moved by its flow (B R, 2, h, w) and weighed by `share` (B, R, 1, h, w): (B, C, H, W)."""
        batch, count = features.shape[:2]
        moved = deform(rearrange(features, "b r c h w -> (b r) c h w"), flow)
        weights = F.interpolate(rearrange(share, "b r 1 h w -> (b r) 1 h w"), features.shape[3:], mode="bilinear", align_corners=False)
        return rearrange(moved * weights.to(moved.dtype), "(b r) c h w -> b r c h w", b=batch, r=count).sum(1)


def build(config: LipSyncNetConfig) -> LipSyncNet:
    """A network with random weights, channels last."""
    return LipSyncNet(config).to(memory_format=torch.channels_last)
