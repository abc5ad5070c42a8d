"""What a drawn mouth is judged by beside how it looks: its pixels, how much fine detail it has, and whether it stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .reader import Batch

INSIDE, LIPS, REST = 4.0, 2.0, 0.3
"""Weights of the mouth's inside, of the lips and of all."""
DETAIL = 0.5
"""Weight of the differences between neighbouring pixels beside the pixels."""
GRAIN, AROUND = 3, 7
"""Pixels: what is finer than the one is detail, and it is counted over the other."""
LEAST_INSIDE = 40.0
"""Pixels of an open mouth whose contrast counts."""
STEADY_PART, STEADY_SHIFT, STEADY_NOISE = 4, 3.0, 0.015
"""One pair of so many is drawn again, moved by up to so many pixels and parts of them, with noise of that deviation (of -1..1)."""


def weights_of(maps: Tensor) -> Tensor:
    """(B, 1, S, S): how much a pixel counts."""
    inside, lips = (F.max_pool2d(maps[:, i:i + 1], 5, 1, 2) for i in (0, 1))
    return REST + LIPS * lips + INSIDE * inside


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


def contrast_loss(made: Tensor, batch: Batch) -> Tensor:
    """Light and dark in open mouths as far apart as the truth's: where a network doubts, its error is least with grey teeth before a
    grey hole."""
    inside = batch.maps[:, :1]
    counts = (inside.sum((1, 2, 3)) > LEAST_INSIDE).float()
    return (counts * (spread(made, inside) - spread(batch.truth, inside)).abs()).mean()


def spread(pictures: Tensor, where: Tensor) -> Tensor:
    """Deviation of the grey of pictures (B, 3, S, S) in the region `where` (B, 1, S, S), (B,)."""
    grey, area = pictures.mean(1, keepdim=True), where.sum((1, 2, 3)).clamp_min(1)
    mean = (grey * where).sum((1, 2, 3)) / area
    return (((grey - mean.view(-1, 1, 1, 1)) ** 2 * where).sum((1, 2, 3)) / area + 1e-4).sqrt()


def moved(pictures: Tensor, shift: tuple[float, float]) -> Tensor:
    """Pictures (B, C, S, S) moved down and right by pixels and parts of them, their edges repeated."""
    down, right = (2 * part / pictures.shape[-1] for part in shift)
    there = torch.tensor([[1, 0, -right], [0, 1, -down]], device=pictures.device, dtype=pictures.dtype).expand(len(pictures), 2, 3)
    where = F.affine_grid(there, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, where, mode="bicubic", padding_mode="border", align_corners=False)


def again(batch: Batch, count: int, shift: tuple[float, float], noise: Tensor) -> Batch:
    """The first `count` pairs, the picture that is drawn on moved and in other noise (count, 3, S, S), as in the next frame."""
    return Batch(moved(batch.warped[:count], shift) + STEADY_NOISE * noise, moved(batch.truth[:count], shift),
                 moved(batch.maps[:count], shift), batch.references[:count], batch.reference_maps[:count])


def steady_loss(made: Tensor, made_again: Tensor, shift: tuple[float, float], maps: Tensor) -> Tensor:
    """How much what is drawn changes when the picture moves: what wobbles in a video. `maps` as they were before; `made_again` are the
    first of `made`."""
    made, maps = made[:len(made_again)], maps[:len(made_again)]
    return (weights_of(moved(maps, shift)) * (moved(made, shift) - made_again).abs()).mean()
