"""The pieces that encoder and decoder are built of. All tensors NCHW, all shapes static."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 16
"""Channels that GroupNorm averages over, about; the statistics of one crop, so that a batch of one or of many gives the same."""


def norm(channels: int) -> nn.GroupNorm:
    groups = max(1, channels // GROUP)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


class ResBlock(nn.Module):
    """(B, cin, H, W) -> (B, cout, H, W): two 3x3 convolutions beside a shortcut; with `embedding` the second one's input is scaled
    and shifted by it (B, embedding)."""

    def __init__(self, cin: int, cout: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2, self.conv2 = norm(cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * cout) if embedding else None
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        y = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
            y = y * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(y))


class Encoder(nn.Module):
    """(B, cin, S, S) -> features at every resolution, finest first: [(B, channels[i], S / 2^i, S / 2^i)]."""

    def __init__(self, cin: int, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Conv2d(cin, channels[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(channels, channels[1:]))
        self.levels = nn.ModuleList(nn.ModuleList(ResBlock(c, c) for _ in range(n)) for c, n in zip(channels, blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.first(x)
        for i, level in enumerate(self.levels):
            if i:
                x = self.down[i - 1](x)
            for block in level:
                x = block(x)
            features.append(x)
        return features


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Where every pixel is, -1..1 from edge to edge (align_corners=False): (1, height, width, 2), x first."""
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) * (2 / width) - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def deform(features: Tensor, flow: Tensor) -> Tensor:
    """`features` (B, C, H, W) seen through `flow` (B, 2, h, w), in units of the picture's half side: pixel p shows p + flow(p).
    The flow is brought to the features' size; positions are float32 whatever the features are, since halves can't tell pixels apart."""
    height, width = features.shape[2:]
    at = F.interpolate(flow.float(), (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    at = grid(height, width, features) + at
    return F.grid_sample(features.float(), at, mode="bilinear", padding_mode="border", align_corners=False).to(features.dtype)
