"""LipSyncNet: a warped lower face, where its lips should be, and the person's open mouths in; what the warp could not know out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .canvas import SIDE
from .config import LipSyncNetConfig
from .layers import PATCH, Attend, Encoder, steps

START = -2.0
"""The mask's bias at the beginning: a network that has learned nothing changes little."""
NEAR = 0.1
"""Share of the side around the lips that is drawn, too: the folds and the shade of lips. Farther off skin is the warp's."""
RIM, SLIT = 1.5, 40.0
"""Pixels of a picture of 128 over which an open mouth's contrast fades at its rims, and the area below which a slit gets less."""
REACH = 0.25
"""How far from a picture's place its detail is fetched in a reference, share of the side."""


class LipSyncNet(nn.Module):
    """An encoder-decoder with skip connections. The references lie in the same canonical frame as the picture, in which upper teeth do
    not move; what moved is found by a flow for each, and what they know of the person is attended to where pictures are smallest.
    All pictures (B, 3, S, S), -1..1."""

    def __init__(self, config: LipSyncNetConfig) -> None:
        super().__init__()
        self.config = config
        w, r = config.channels, config.references
        self.encoder, self.reader = Encoder(config), Encoder(config)
        self.attend = Attend(w[-1], config.size // PATCH >> (len(w) - 1))
        self.middle = steps(w[-1], w[-1], config.depth)
        self.up = nn.ModuleList(steps(a + b, a, config.depth) for a, b in zip(w[-2:0:-1], w[:1:-1]))
        # Flow (2) and how much it is believed (1) of each reference, told by what is known at a quarter of the size.
        self.flow = nn.Conv2d(w[1] * (1 + r), 3 * r, 3, 1, 1)
        self.last = steps(w[1] + 2 * w[0], w[0], config.depth)
        self.end = nn.Conv2d(w[0], 4 * PATCH**2, 3, 1, 1)
        for layer in (self.flow, self.end):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.end.bias[3 * PATCH**2:] = START

    def encode_references(self, references: Tensor, maps: Tensor) -> list[Tensor]:
        """References (B, R, 3, S, S) and their lips' maps (B, R, MAPS, S, S) -> their features (B, R, C, h, w), the largest first."""
        found = self.reader(torch.cat([references, maps], 2).flatten(0, 1))
        return [f.unflatten(0, references.shape[:2]) for f in found]

    def forward(self, warped: Tensor, maps: Tensor, read: list[Tensor]) -> Tensor:
        """`maps` (B, MAPS, S, S), `read` from `encode_references`. What is to be added to `warped`, (B, 3, S, S)."""
        kept = self.encoder(torch.cat([warped, maps], 1))
        x = self.middle(self.attend(kept.pop(), read[-1]))
        for step in self.up:
            x = step(torch.cat([kept.pop(), F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        fetched = self._fetch(x, read)
        x = self.last(torch.cat([kept.pop(), fetched, F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        x = F.pixel_shuffle(self.end(F.silu(x)), PATCH)
        added = x[:, :3] * torch.sigmoid(x[:, 3:]) * near_lips(maps)
        # Taught through these, a network learns to undo them.
        return added if self.training else apart(warped, softened(added, self.config.soft), maps, self.config.contrast)

    def _fetch(self, x: Tensor, read: list[Tensor]) -> Tensor:
        """The references' finest features, (B, C, S/2, S/2), each from where its flow says."""
        fine, coarse = read[0], read[1]
        b, r, c, h, w = fine.shape
        told = F.interpolate(self.flow(torch.cat([x, coarse.flatten(1, 2)], 1)).float(), size=(h, w), mode="bilinear", align_corners=False)
        told = told.view(b, r, 3, h, w)
        y, xs = torch.meshgrid(*(torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=x.device) for n in (h, w)), indexing="ij")
        where = torch.stack([xs, y], -1) + 2 * REACH * torch.tanh(told[:, :, :2]).permute(0, 1, 3, 4, 2)
        found = F.grid_sample(fine.flatten(0, 1).float(), where.flatten(0, 1), align_corners=False, padding_mode="border")
        return (found.view(b, r, c, h, w) * torch.softmax(told[:, :, 2:], 1)).sum(1).to(x.dtype)


def near_lips(maps: Tensor) -> Tensor:
    """Maps (B, MAPS, S, S) -> (B, 1, S, S): 1 on the lips and `NEAR` around them, soft to 0 within twice as far again."""
    reach = round(NEAR * maps.shape[-1])
    x = maps[:, 1:2]
    for kernel, pad in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        x = F.max_pool2d(x, kernel, 1, pad)
    for _ in range(2):
        x = F.avg_pool2d(x, reach + 1 - reach % 2, 1, reach // 2, count_include_pad=False)
    return x


def softened(x: Tensor, sigma: float) -> Tensor:
    """Pictures (B, C, h, w) through a Gaussian of `sigma` pixels; 0: as they are."""
    if sigma <= 0:
        return x
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device, dtype=torch.float32) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(x.dtype)
    channels = x.shape[1]
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, reach, reach), mode="replicate"), across, groups=channels)
    return F.conv2d(x, across.transpose(2, 3), groups=channels)


def apart(warped: Tensor, added: Tensor, maps: Tensor, gain: float) -> Tensor:
    """`added` to `warped` (B, 3, S, S) such that in open mouths (`maps`) all is `gain` times as far from the mouth's mean: where a network
    doubts, its error is least with teeth and holes a little grey."""
    if gain == 1:
        return added
    inside, scale = maps[:, :1], maps.shape[-1] / SIDE
    area = inside.sum((2, 3), keepdim=True)
    made = warped + added
    mean = (made * inside).sum((2, 3), keepdim=True) / area.clamp_min(1)
    part = softened(inside, RIM * scale) * (area / (SLIT * scale**2)).clamp_max(1)
    return added + (gain - 1) * part * (made - mean)


def drawn(network: LipSyncNet, warped: Tensor, maps: Tensor, references: Tensor, reference_maps: Tensor) -> Tensor:
    """What the lower face looks like: (B, 3, S, S)."""
    return warped + network(warped, maps, network.encode_references(references, reference_maps))


def build(config: LipSyncNetConfig) -> LipSyncNet:
    """A network with fresh weights."""
    return LipSyncNet(config)
