"""What a drawn mouth is judged by: its pixels, how much fine detail it has, and a discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...generators.lipsyncnet.canvas import MAPS
from .reader import Batch

INSIDE, LIPS = 4.0, 2.0
"""Weights of the mouth's inside and of the lips beside the rest of the picture."""
DETAIL = 0.5
"""Weight of the differences between neighbouring pixels beside the pixels."""
GRAIN, AROUND = 3, 7
"""Pixels: what is finer than the one is detail, and it is counted over the other."""
MOUTH = (0.16, 0.85, 0.12, 0.88)
"""What the discriminator looks at: top, bottom, left, right, shares of the side."""


class Judge(nn.Module):
    """A patch discriminator of a mouth and where its lips should be, (B, 3 + MAPS, h, w). Normalised by groups: held by spectral norms it
    told nothing apart (its hinge loss stayed at 2)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        sizes = [3 + MAPS, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.Identity() if i == 0 else nn.GroupNorm(8, b) for i, b in enumerate(sizes[1:]))
        self.end = nn.Conv2d(sizes[-1], 1, 3, 1, 1)

    def forward(self, pictures: Tensor, maps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """How real, and what was seen on the way."""
        side = pictures.shape[-1]
        top, bottom, left, right = (round(share * side / 8) * 8 for share in MOUTH)
        x, seen = torch.cat([pictures, maps], 1)[:, :, top:bottom, left:right], []
        for layer, norm in zip(self.layers, self.norms):
            x = F.leaky_relu(norm(layer(x)), 0.2)
            seen.append(x)
        return self.end(x), seen


def weights_of(maps: Tensor) -> Tensor:
    """(B, 1, S, S): how much a pixel counts."""
    inside, lips = (F.max_pool2d(maps[:, i:i + 1], 5, 1, 2) for i in (0, 1))
    return 1 + LIPS * lips + INSIDE * inside


def loss_of(made: Tensor, batch: Batch) -> Tensor:
    """Pixels and what is between neighbours, where it counts."""
    weight = weights_of(batch.maps)
    away = made - batch.truth
    loss = (weight * away.abs()).mean()
    for dim in (2, 3):
        loss = loss + DETAIL * (weight.narrow(dim, 1, weight.shape[dim] - 1) * away.diff(dim=dim).abs()).mean()
    return loss


def energy_loss(made: Tensor, batch: Batch) -> Tensor:
    """As much fine detail as the truth has, wherever exactly it lies: a mean of all that might be there is soft."""
    return (weights_of(batch.maps) * (_energy(made) - _energy(batch.truth)).abs()).mean()


def _energy(picture: Tensor) -> Tensor:
    grey = picture.mean(1, keepdim=True)
    fine = grey - F.avg_pool2d(grey, GRAIN, 1, GRAIN // 2, count_include_pad=False)
    return (F.avg_pool2d(fine**2, AROUND, 1, AROUND // 2, count_include_pad=False) + 1e-5).sqrt()


def judge_loss(judge: Judge, made: Tensor, batch: Batch) -> Tensor:
    """Hinge, for the discriminator."""
    real, fake = judge(batch.truth, batch.maps)[0].float(), judge(made, batch.maps)[0].float()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def like_loss(judge: Judge, made: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """For the network: how little it fools the discriminator, and how unlike the truth what it sees is."""
    fake, seen = judge(made, batch.maps)
    with torch.no_grad():
        _, wanted = judge(batch.truth, batch.maps)
    like = torch.stack([(a.float() - b.float()).abs().mean() for a, b in zip(seen, wanted)]).mean()
    return -fake.float().mean(), like

