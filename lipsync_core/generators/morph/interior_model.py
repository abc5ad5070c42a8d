"""The network of the learned inner mouth."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .interior_layout import ACROSS, CONDITIONS, DOWN, MAPS, UNIT

CODE = 12
"""Numbers that say whose mouth it is."""
WAVES = (56, 28, 14, 9.5), (28, 14)
"""Wavelengths (pixels) of the waves across and down that tell the network finely where in the skull it is; an incisor is 14."""


class Modulated(nn.Module):
    """Convolution, then a gain and an offset per channel from the condition, SiLU. (B, i, H, W), (B, k) -> (B, o, H/s, W/s)."""

    def __init__(self, i: int, o: int, condition: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, stride, 1)
        self.film = nn.Linear(condition, 2 * o)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, offset = self.film(condition)[..., None, None].chunk(2, 1)
        return F.silu(torch.addcmul(offset, self.conv(x), 1 + gain))


def waves(where: Tensor) -> Tensor:
    """Planes across and down (B, 2, h, w) -> their sines and cosines (B, 2 * waves, h, w)."""
    phases = [where[:, i:i + 1] * (unit / UNIT * 2 * math.pi / length)
              for i, (unit, lengths) in enumerate(zip((ACROSS, DOWN), WAVES)) for length in lengths]
    phase = torch.cat(phases, 1)
    return torch.cat([phase.sin(), phase.cos()], 1)


class InteriorNet(nn.Module):
    """Shape of the lips -> the inner mouth over the brightness of the skin.

    In: planes (B, MAPS, 64, 112) and numbers (B, CONDITIONS) as `interior_net.describe` makes them; `code` (B, CODE), whose
    mouth (None: the one that ships). Out: (B, 3, 64, 112), RGB over `interior_net.light_of`; with `part`
    (x0, y0, x1, y1; even) only that box of it.

    It was taught with a code for every person, so that it needn't show the blurred mean of everybody's teeth.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w, k = width, 48
        self.condition = nn.Sequential(nn.Linear(CONDITIONS + CODE, k), nn.SiLU(), nn.Linear(k, k), nn.SiLU())
        # Four neighbours as channels: the same picture at a quarter of the cost.
        self.enter = Modulated(4 * MAPS + 2 * sum(map(len, WAVES)), w, k)
        self.down1, self.mid1 = Modulated(w, 3 * w // 2, k, 2), Modulated(3 * w // 2, 3 * w // 2, k)
        self.down2, self.mid2 = Modulated(3 * w // 2, 2 * w, k, 2), Modulated(2 * w, 2 * w, k)
        self.up1 = Modulated(2 * w + 3 * w // 2, 3 * w // 2, k)
        self.up0 = Modulated(3 * w // 2 + w, w, k)
        self.last = Modulated(w, w, k)
        self.out = nn.Conv2d(w, 12, 3, 1, 1)
        self.register_buffer("code", torch.zeros(CODE))

    def forward(self, planes: Tensor, numbers: Tensor, code: Tensor | None = None,
                part: tuple[int, int, int, int] | None = None) -> Tensor:
        code = self.code.expand(len(numbers), -1) if code is None else code
        k = self.condition(torch.cat([numbers, code], 1))
        x0 = self.enter(torch.cat([F.pixel_unshuffle(planes, 2), waves(F.avg_pool2d(planes[:, 3:5], 2))], 1), k)
        x1 = self.mid1(self.down1(x0, k), k)
        x2 = self.mid2(self.down2(x1, k), k)
        x1 = self.up1(torch.cat([F.interpolate(x2, scale_factor=2.0, mode="bilinear", align_corners=False), x1], 1), k)
        x1 = F.interpolate(x1, scale_factor=2.0, mode="bilinear", align_corners=False)
        # Half of the work is done at the finest level: only for what is asked for, and the three neighbours that convolutions reach.
        left, top, right, bottom = (0, 0, x0.shape[3], x0.shape[2]) if part is None else (v // 2 for v in part)
        x, y = max(0, left - 3), max(0, top - 3)
        near = np.s_[..., y:bottom + 3, x:right + 3]
        x0 = self.last(self.up0(torch.cat([x1[near], x0[near]], 1), k), k)
        return F.pixel_shuffle(self.out(x0)[..., top - y:bottom - y, left - x:right - x], 2)
