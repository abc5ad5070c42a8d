"""The network as it is trained: whole windows in one call, so that it can be wrapped by DDP or FSDP."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...generators.lipsyncnet.layers import ResBlock
from ...generators.lipsyncnet.network import LipSyncNet
from ...generators.lipsyncnet.region import hidden_region
from .discriminators import feature_matching, fooled
from .losses import Perceptual, flow_smoothness, gradient_loss
from .settings import Weights
from .sync_expert import SyncExpert, sync_loss
from .windows import Batch

BESIDE = 0.2
"""What a pixel counts that the network is shown: it only has to pass it on."""


@dataclass
class Made:
    """What the network made of a batch of windows."""

    pixels: Tensor
    """(B, T, 3, S, S)."""
    mask: Tensor
    """(B, T, 1, S, S)."""
    copied: Tensor
    """(B, T, 3, S, S)."""
    flow: Tensor
    """(B, T, R, 2, h, w)."""


class WindowNet(nn.Module):
    """Windows through sound, references and faces; tensors in, tensors out."""

    def __init__(self, net: LipSyncNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("hidden", hidden_region(net.config.size), persistent=False)

    def forward(self, faces: Tensor, references: Tensor, mel: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shapes as in `windows.Batch`; the fields of `Made`."""
        net, (batch, count) = self.net, faces.shape[:2]
        heard, _ = net.audio(mel, net.audio.start(batch, mel))
        low = steps.floor().long().clamp(0, heard.shape[1] - 2)
        share = (steps - low)[..., None].to(heard.dtype)
        index = repeat(low, "b t -> b t e", e=heard.shape[2])
        embedding = heard.gather(1, index) * (1 - share) + heard.gather(1, index + 1) * share
        features = net.encode_references(references)
        out = net(rearrange(faces, "b t c h w -> (b t) c h w"), self.hidden, rearrange(embedding, "b t e -> (b t) e"),
                  repeat(references, "b r c h w -> (b t) r c h w", t=count),
                  [repeat(f, "b r c h w -> (b t) r c h w", t=count) for f in features])
        return tuple(rearrange(x, "(b t) ... -> b t ...", b=batch) for x in out)  # type: ignore[return-value]


def made_by(model: nn.Module, batch: Batch) -> Made:
    return Made(*model(batch.faces, batch.references, batch.mel, batch.steps))


def save_memory(net: LipSyncNet) -> None:
    """Residual blocks are computed again on the way back instead of being remembered: half the memory, a third more time."""
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.forward = functools.partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]


def per_sample(error: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each sample (B, T, C, S, S), then of the batch: a batch that is split gives the same."""
    weight = weight.expand_as(error)
    return ((error * weight).sum((1, 2, 3, 4)) / weight.sum((1, 2, 3, 4)).clamp_min(1e-6)).mean()


class Criterion:
    """All losses of the generator but the discriminators'."""

    def __init__(self, weights: Weights, perceptual: Perceptual, expert: SyncExpert | None, hidden: Tensor) -> None:
        self.weights, self.perceptual, self.expert = weights, perceptual, expert
        self.hidden = hidden[:, None]

    def __call__(self, made: Made, batch: Batch, *, sync: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts."""
        w = self.weights
        focus = BESIDE + self.hidden * (1 - BESIDE + w.mouth * batch.region)
        composed = made.pixels * self.hidden + batch.faces * (1 - self.hidden)
        wanted = (batch.region * self.hidden).clamp(0, 1)              # blurring leaves 1.0000001
        parts = {
            "l1": per_sample((made.pixels - batch.faces).abs(), focus),
            "copied": per_sample((made.copied - batch.faces).abs(), self.hidden * (0.1 + batch.region)),
            "gradient": gradient_loss(composed, batch.faces),
            "perceptual": self.perceptual(composed, batch.faces),
            "mask": nn.functional.binary_cross_entropy(made.mask.float().clamp(1e-4, 1 - 1e-4), wanted),
            "flow": flow_smoothness(made.flow),
        }
        if sync and self.expert is not None:
            parts["sync"] = sync_loss(self.expert, composed, batch.window, batch.others)
        total = sum(getattr(w, name) * value for name, value in parts.items())
        return total, parts


def adversarial_part(discriminators: nn.Module, made: Tensor, true: Tensor, weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    """What the generator minimises against discriminators that stand still."""
    fake = discriminators(made)
    with torch.no_grad():
        real = discriminators(true)
    parts = {"adversarial": fooled(fake), "matching": feature_matching(real, fake)}
    return weights.adversarial * parts["adversarial"] + weights.matching * parts["matching"], parts

