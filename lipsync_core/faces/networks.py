"""The built-in face networks: a detector and a 68-point landmark regressor, small enough for one core.

Both are plain 3x3 convolutions with batch normalisation, which every device runs well; batch normalisation is folded into the
convolutions when the weights are exported, so that inference holds nothing but convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU (optional). (B, i, H, W) -> (B, o, H / stride, W / stride)."""

    def __init__(self, i: int, o: int, kernel: int = 3, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module | None = nn.BatchNorm2d(o)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x) if self.norm is None else self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.act else x

    def fold(self) -> None:
        """Batch normalisation into the convolution's weight and bias; the result is the same in eval mode."""
        if self.norm is not None:
            scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
            self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None])
            self.conv.bias = nn.Parameter(self.norm.bias - self.norm.running_mean * scale)
            self.norm = None


class Residual(nn.Module):
    """(B, c, H, W) -> (B, c, H, W)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.b = Conv(c, c), Conv(c, c, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(self.a(x)), inplace=True)


def _stage(i: int, o: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Conv(i, o, stride=2), *(Residual(o) for _ in range(blocks)))


def folded(network: nn.Module) -> nn.Module:
    """`network` itself, in eval mode, every batch normalisation folded away."""
    network.eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Conv):
                module.fold()
    return network


class LandmarkNet(nn.Module):
    """Face crop -> 68 points and a confidence.

    In: (B, 3, 128, 128) RGB 0..1. Out: points (B, points, 2), x and y from 0 to 1 across the crop (0 and 1 are the centres of
    the outermost pixels), and logits (B, 1) that the crop holds a face where the points say.
    """

    def __init__(self, points: int = 68, width: int = 32) -> None:
        super().__init__()
        w = width
        self.stem = Conv(3, w // 2, stride=2)                         # 64
        self.s4 = _stage(w // 2, w, 1)                                # 32
        self.s8 = _stage(w, 2 * w, 2)                                 # 16
        self.s16 = _stage(2 * w, 4 * w, 2)                            # 8
        self.s32 = _stage(4 * w, 5 * w, 1)                            # 4: context of the whole face
        self.from32, self.from16 = Conv(5 * w, 4 * w, 1), Conv(4 * w, 2 * w, 1)
        self.mix8 = Residual(2 * w)
        self.from8, self.skip4 = Conv(2 * w, 48, 1), Conv(w, 48, 1, act=False)
        self.mix4 = Conv(48, 48)
        self.heat = nn.Conv2d(48, points, 1)                          # 32 x 32 cells
        self.confidence = nn.Sequential(nn.Flatten(), nn.Linear(5 * w, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x4 = self.s4(self.stem(x * 2 - 1))
        x8 = self.s8(x4)
        x16 = self.s16(x8)
        x32 = self.s32(x16)
        x16 = x16 + F.interpolate(self.from32(x32), scale_factor=2.0)
        x8 = self.mix8(x8 + F.interpolate(self.from16(x16), scale_factor=2.0))
        x4 = F.relu(self.skip4(x4) + F.interpolate(self.from8(x8), scale_factor=2.0, mode="bilinear", align_corners=False))
        heat = self.heat(self.mix4(x4)).float()
        return soft_argmax(heat), self.confidence(F.adaptive_avg_pool2d(x32, 1)).float()


def soft_argmax(heat: Tensor) -> Tensor:
    """Expected position under a softmax over cells: (B, P, H, W) logits -> (B, P, 2), x, y. A border of the map reaches a
    little past the crop (-0.15 to 1.15), so that points just outside can be said."""
    _, _, h, w = heat.shape
    weight = heat.flatten(2).softmax(-1).view(heat.shape)
    x = torch.linspace(-0.15, 1.15, w, device=heat.device)
    y = torch.linspace(-0.15, 1.15, h, device=heat.device)
    return torch.stack([(weight.sum(2) * x).sum(-1), (weight.sum(3) * y).sum(-1)], -1)


class DetectorNet(nn.Module):
    """Whole picture -> a map of face centres and boxes, one cell for 8 x 8 pixels.

    In: (B, 3, H, W) RGB 0..1, H and W multiples of 32. Out: (B, 5, H / 8, W / 8): logit of a face centred in the cell; centre
    offset x, y in cells from the cell's middle; log of width and height in units of 8 pixels.
    """

    STRIDE = 8

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = width
        self.stem = Conv(3, w // 2, stride=2)
        self.s4 = _stage(w // 2, w, 1)
        self.s8 = _stage(w, 2 * w, 1)
        self.s16 = _stage(2 * w, 4 * w, 2)
        self.s32 = _stage(4 * w, 4 * w, 2)
        self.s64 = _stage(4 * w, 4 * w, 1)
        self.from64 = Conv(4 * w, 4 * w, 1)
        self.from32, self.from16 = Conv(4 * w, 4 * w, 1), Conv(4 * w, 2 * w, 1)
        self.mix = nn.Sequential(Residual(2 * w))
        self.head = nn.Conv2d(2 * w, 5, 1)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.bias[0] = -4.0

    def forward(self, x: Tensor) -> Tensor:
        x8 = self.s8(self.s4(self.stem(x * 2 - 1)))
        x16 = self.s16(x8)
        x32 = self.s32(x16)
        x64 = self.s64(x32)
        x32 = x32 + F.interpolate(self.from64(x64), size=x32.shape[-2:])
        x16 = x16 + F.interpolate(self.from32(x32), size=x16.shape[-2:])
        x8 = self.mix(x8 + F.interpolate(self.from16(x16), size=x8.shape[-2:]))
        return self.head(x8).float()
