"""What LipSyncNet is made of: residual steps, an encoder, and attention to references."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .canvas import MAPS
from .config import LipSyncNetConfig

PATCH = 2
"""Neighbours that lie together as channels: the same picture at a quarter of the cost."""


class Step(nn.Module):
    """Two convolutions beside what came in."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.norm1, self.norm2 = nn.GroupNorm(8, inputs), nn.GroupNorm(8, outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def steps(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Step(inputs if i == 0 else outputs, outputs) for i in range(depth)))


class Encoder(nn.Module):
    """A picture and its lips (B, 3 + MAPS, S, S) -> features at half, quarter, ... size."""

    def __init__(self, config: LipSyncNetConfig) -> None:
        super().__init__()
        w = config.channels
        self.start = nn.Conv2d((3 + MAPS) * PATCH**2, w[0], 3, 1, 1)
        self.first = steps(w[0], w[0], config.depth)
        self.down = nn.ModuleList(steps(a, b, config.depth) for a, b in zip(w, w[1:]))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = [self.first(self.start(F.pixel_unshuffle(x, PATCH)))]
        for step in self.down:
            found.append(step(F.avg_pool2d(found[-1], 2)))
        return found


class Attend(nn.Module):
    """What a place of the picture asks of all places of all references."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(max(1, width // 32), 0, -1) if width % h == 0)
        self.norm, self.norm_r = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.q, self.k, self.v, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))
        self.place = nn.Parameter(0.02 * torch.randn(1, width, size, size))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, references: Tensor) -> Tensor:
        """x (B, C, h, w), references (B, R, C, h, w)."""
        b, r, c, h, w = references.shape
        q = self.q(self.norm(x) + self.place)
        seen = self.norm_r(references.flatten(0, 1)) + self.place
        k, v = (part(seen).view(b, r, self.heads, c // self.heads, h * w).permute(0, 2, 1, 4, 3).flatten(2, 3) for part in (self.k, self.v))
        q = q.view(b, self.heads, c // self.heads, h * w).transpose(2, 3)
        found = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        return x + self.out(found)
