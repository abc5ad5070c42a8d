"""Batches of packed pairs, each a little different from the last: mirrored, lighter, of more contrast, another colour, softer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...generators.lipsyncnet.canvas import SIDE, lip_maps
from .pack import Packed

OPEN = 3.0
"""Pixels that lips must be apart for their inside to be measured."""
DARKER = 1.7
"""Largest exponent of a picture's light, and one over the least: mouths whose holes are blacker, and greyer, than those of a few clips."""
SOFT, SOFTEST = 0.3, 0.45
"""Share of batches that are as if from a smaller face, and how much smaller at most."""


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, S, S) -1..1, maps (B, MAPS, S, S), references (B, R, ...)."""

    warped: Tensor
    truth: Tensor
    maps: Tensor
    references: Tensor
    reference_maps: Tensor


def joined(*batches: Batch) -> Batch:
    """One after the other."""
    return Batch(*(torch.cat([getattr(batch, field.name) for batch in batches]) for field in dataclasses.fields(Batch)))


class Reader:
    """All pairs of a split, on the device, for a network of pictures of `size` and so many references."""

    def __init__(self, packed: Packed, device: torch.device, size: int = SIDE, references: int = 2) -> None:
        self._size = size
        self._pictures = torch.from_numpy(np.stack([packed.warped, packed.truth], 1)).permute(0, 1, 4, 2, 3).contiguous().to(device)
        self._opened = torch.from_numpy(packed.opened).permute(0, 3, 1, 2).contiguous().to(device)
        self._maps = torch.from_numpy(lip_maps(packed.lips, size).astype(np.float16)).to(device)
        self._opened_maps = torch.from_numpy(lip_maps(packed.opened_lips, size).astype(np.float16)).to(device)
        chosen = packed.references[:, np.arange(references) % packed.references.shape[1]]
        self._references = torch.from_numpy(chosen.astype(np.int64)).to(device)
        # Whoever has many pairs is seen more often, but not as much more often.
        weights = (1 / np.sqrt(np.bincount(packed.people)))[packed.people]
        self._weights = weights / weights.sum()
        self._people = packed.people

    def __len__(self) -> int:
        return len(self._weights)

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None, part: slice = slice(None)) -> Batch:
        """Pairs `rows`, of which `part` is made (what a process has of a batch that many share); `rng` None: as they are."""
        count, rows = len(rows), np.asarray(rows, np.int64)[part]
        index = torch.from_numpy(rows).to(self._maps.device)
        others = self._references[index]
        if rng is not None and rng.random() < 0.5:
            others = others.flip(1)
        x = torch.cat([self._pictures[index], self._opened[others]], 1).float() / 127.5 - 1
        if x.shape[-1] != self._size:
            x = F.interpolate(x.flatten(0, 1), size=self._size, mode="bicubic", antialias=True,
                              align_corners=False).clamp(-1, 1).unflatten(0, x.shape[:2])
        maps, other_maps = self._maps[index].float(), self._opened_maps[others].float()
        if rng is not None:
            gain = rng.uniform(0.7, 1.25, (count, 1, 1, 1, 1)) * rng.uniform(0.92, 1.08, (count, 1, 3, 1, 1))
            power = DARKER ** rng.uniform(-1, 1, (count, 1, 1, 1, 1))
            light = ((x + 1) / 2).clamp(0, 1) ** torch.from_numpy(power[part]).to(x)
            x = (2 * light * torch.from_numpy(gain[part]).to(x) - 1).clamp(-1, 1)
            flip = torch.from_numpy((rng.random(count) < 0.5)[part]).to(x.device)
            x, maps, other_maps = (torch.where(flip.view(-1, *[1] * (t.dim() - 1)), t.flip(-1), t) for t in (x, maps, other_maps))
            if rng.random() < SOFT:
                x = softened(x, float(rng.uniform(SOFTEST, 0.9)))
            if rng.random() < 0.2:                                     # the first reference may show little
                x[:, 2], other_maps[:, 0] = x[:, -1], other_maps[:, -1]
        return Batch(x[:, 0], x[:, 1], maps, x[:, 2:], other_maps)

    def drawn_lot(self, size: int, rng: np.random.Generator, part: slice = slice(None)) -> Batch:
        """A batch of `size` pairs by chance, each a little changed."""
        return self.batch(rng.choice(len(self), size, p=self._weights), rng, part)

    def opened(self, count: int) -> np.ndarray:
        """Rows of up to `count` pairs with open mouths, the same every time, of as many people as there are."""
        rows = np.flatnonzero((self._maps[:, 0] > 0.5).sum(1).amax(1).cpu().numpy() > OPEN * self._size / SIDE)
        order = np.argsort([int((self._people[rows[:i]] == self._people[row]).sum()) for i, row in enumerate(rows)], kind="stable")
        return rows[order][:count]


def softened(x: Tensor, scale: float) -> Tensor:
    """Pictures (B, P, 3, S, S) as if the face were smaller."""
    flat = x.flatten(0, 1)
    small = F.interpolate(flat, scale_factor=scale, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, size=flat.shape[-2:], mode="bicubic", align_corners=False).clamp(-1, 1).view_as(x)
