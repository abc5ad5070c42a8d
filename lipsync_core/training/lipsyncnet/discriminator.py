"""A discriminator that looks at features of a network that knows pictures already (Projected GANs, Sauer et al. 2021): one that begins with
pixels told nothing apart in the steps that a CPU has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ...generators.lipsyncnet.canvas import MAPS
from .perception import CHANNELS, mouth_of

WIDTH = 64


class Judge(nn.Module):
    """For each of `Perception`'s outputs a few convolutions, which are told where the lips should be."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(
            spectral_norm(nn.Conv2d(c + MAPS, WIDTH, 3, 1, 1)), nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1)), nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(WIDTH, 1, 3, 1, 1))) for c in CHANNELS)

    def forward(self, seen: list[Tensor], maps: Tensor) -> list[Tensor]:
        """`seen` by `Perception`, maps (B, MAPS, S, S). How real each place is, at every scale."""
        maps = mouth_of(maps)
        return [head(torch.cat([part, F.adaptive_avg_pool2d(maps, part.shape[-2:]).to(part.dtype)], 1))
                for head, part in zip(self.heads, seen)]


def judge_loss(real: list[Tensor], fake: list[Tensor], weight: Tensor) -> Tensor:
    """Hinge, for the discriminator; 2 tells nothing apart. `weight` (B, 1, S, S) tells where it counts."""
    return torch.stack([_mean(F.relu(1 - a.float()) + F.relu(1 + b.float()), weight) for a, b in zip(real, fake)]).mean()


def fooled_loss(fake: list[Tensor], weight: Tensor) -> Tensor:
    """For the network: how little it fools the discriminator."""
    return -torch.stack([_mean(part.float(), weight) for part in fake]).mean()


def _mean(told: Tensor, weight: Tensor) -> Tensor:
    weight = F.adaptive_avg_pool2d(mouth_of(weight), told.shape[-2:])
    return (told * weight).mean() / weight.mean()
