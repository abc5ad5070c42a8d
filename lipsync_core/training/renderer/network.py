"""The renderer: a warped lower face, where its lips should be, and the person's open mouths in; what the warp could not know out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pairs import SIDE

OUTER, INNER = np.r_[0:12], np.r_[12:20]
"""Places of the outer and inner rim among the lips' 20 points."""
MAPS = 4
"""Planes that tell lips: inside the inner rim, inside the outer one, and down from the inner rims, upper and lower."""
PRESETS = {"tiny": (16, 32, 64, 96), "small": (24, 48, 96, 128), "base": (64, 128, 256, 512)}
"""Channels at full, half, quarter and eighth size."""
START = -2.0
"""The mask's bias at the beginning: a network that has learned nothing changes little."""


def lip_maps(lips: np.ndarray) -> np.ndarray:
    """Lips complex (n, 20) in pixels -> float32 (n, MAPS, SIDE, SIDE), soft at the rims."""
    n = len(lips)
    x = np.arange(SIDE, dtype=np.float32)
    y = np.arange(SIDE, dtype=np.float32)[:, None]
    maps = np.zeros((n, MAPS, SIDE, SIDE), np.float32)
    for i, points in enumerate(lips):
        rims = []
        for top, bottom in (((12, 13, 14, 15, 16), (12, 19, 18, 17, 16)), ((0, 1, 2, 3, 4, 5, 6), (0, 11, 10, 9, 8, 7, 6))):
            upper = np.interp(x, points[list(top)].real, points[list(top)].imag)
            lower = np.interp(x, points[list(bottom)].real, points[list(bottom)].imag)
            across = np.clip(x - points[top[0]].real + 0.5, 0, 1) * np.clip(points[top[-1]].real - x + 0.5, 0, 1)
            rims.append((upper, lower, across))
        for k, (upper, lower, across) in enumerate(rims):
            maps[i, k] = np.clip(y - upper + 0.5, 0, 1) * np.clip(lower - y + 0.5, 0, 1) * across
        maps[i, 2] = np.clip((y - rims[0][0]) / 16, -1, 1)
        maps[i, 3] = np.clip((rims[0][1] - y) / 16, -1, 1)
    return maps


class Step(nn.Module):
    """Two convolutions beside what came in."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.norm1, self.norm2 = nn.GroupNorm(min(8, inputs), inputs), nn.GroupNorm(8, outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Renderer(nn.Module):
    """An encoder-decoder with skip connections. The references lie in the same canonical frame as the picture, in which upper teeth do
    not move; what differs is found by convolution. All pictures (B, 3, SIDE, SIDE), -1..1."""

    def __init__(self, widths: tuple[int, ...] = PRESETS["tiny"], references: int = 2) -> None:
        super().__init__()
        self.start = nn.Conv2d(3 + MAPS + references * (3 + MAPS), widths[0], 3, 1, 1)
        self.down = nn.ModuleList(Step(a, b) for a, b in zip(widths, widths[1:]))
        self.first, self.middle = Step(widths[0], widths[0]), Step(widths[-1], widths[-1])
        self.up = nn.ModuleList(Step(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.end = nn.Conv2d(widths[0], 4, 3, 1, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)
        with torch.no_grad():
            self.end.bias[3] = START

    def forward(self, warped: Tensor, maps: Tensor, references: Tensor, reference_maps: Tensor) -> Tensor:
        """`maps` (B, MAPS, SIDE, SIDE); `references` (B, R, 3, SIDE, SIDE), `reference_maps` (B, R, MAPS, SIDE, SIDE). What the lower face
        looks like, (B, 3, SIDE, SIDE)."""
        x = self.first(self.start(torch.cat([warped, maps, references.flatten(1, 2), reference_maps.flatten(1, 2)], 1)))
        kept = []
        for step in self.down:
            kept.append(x)
            x = step(F.avg_pool2d(x, 2))
        x = self.middle(x)
        for step in self.up:
            x = step(torch.cat([kept.pop(), F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        x = self.end(F.silu(x))
        return warped + torch.sigmoid(x[:, 3:]) * x[:, :3]
