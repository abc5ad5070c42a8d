"""SyncNet v2 (Chung and Zisserman 2016, "Out of time: automated lip sync in the wild"): how far apart a moving mouth and a sound are.

Built from the layer table of architectures.md, section 4. Tensor names and shapes are those of the published syncnet_v2.model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

WINDOW = 5
"""Pictures at 25 a second that are compared at a time: 0.2 s,"""
COLUMNS = 20
"""and as many columns of MFCC at 100 a second,"""
COLUMNS_A_PICTURE = 4
SIDE = 224
"""Pixels of a picture."""
EMBEDDING = 1024


class Layer(NamedTuple):
    """A convolution of `out` channels, batch norm, ReLU, and a maximum over `pool` where there is one (kernel, stride, padding)."""

    out: int
    kernel: tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    pool: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None = None


# MFCC (1, 13, 20) -> (512, 1, 1).
SOUND = (
    Layer(64, (3, 3), padding=1, pool=((1, 1), (1, 1), (0, 0))),
    Layer(192, (3, 3), padding=1, pool=((3, 3), (1, 2), (0, 0))),
    Layer(384, (3, 3), padding=1),
    Layer(256, (3, 3), padding=1),
    Layer(256, (3, 3), padding=1, pool=((3, 3), (2, 2), (0, 0))),
    Layer(512, (5, 4)),
)
# Pictures (3, t, 224, 224) -> (512, t - 4, 1, 1): only the first layer looks along time.
PICTURES = (
    Layer(96, (5, 7, 7), (1, 2, 2), pool=((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    Layer(256, (1, 5, 5), (1, 2, 2), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    Layer(256, (1, 3, 3), padding=(0, 1, 1)),
    Layer(256, (1, 3, 3), padding=(0, 1, 1)),
    Layer(256, (1, 3, 3), padding=(0, 1, 1), pool=((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    Layer(512, (1, 6, 6)),
)


def convolutions(width: int, layers: Sequence[Layer]) -> nn.Sequential:
    """The layers one after the other, given `width` channels; in two or three dimensions as their kernels have."""
    modules: list[nn.Module] = []
    for layer in layers:
        flat = len(layer.kernel) == 2
        convolution, norm, pool = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d) if flat else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
        modules += [convolution(width, layer.out, layer.kernel, layer.stride, layer.padding), norm(layer.out), nn.ReLU(inplace=True)]
        if layer.pool:
            modules.append(pool(*layer.pool))
        width = layer.out
    return nn.Sequential(*modules)


def projection() -> nn.Sequential:
    """(n, 512) -> (n, 1024)."""
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """13,631,616 parameters in 102 tensors (running statistics included), of which netcnnaud and netfcaud hear, the others see."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = convolutions(1, SOUND)
        self.netfcaud = projection()
        self.netcnnlip = convolutions(3, PICTURES)
        self.netfclip = projection()

    def hear(self, columns: Tensor) -> Tensor:
        """Windows of MFCC (n, 1, 13, 20) float -> (n, 1024)."""
        return self.netfcaud(self.netcnnaud(columns).flatten(1))

    def see(self, pictures: Tensor) -> Tensor:
        """Pictures in a row (t, 3, 224, 224), BGR, float 0..255 -> (t - 4, 1024): pictures i to i + 4 make the ith.

        Every picture is worked on once, however many windows it belongs to; the numbers are those of single windows.
        """
        features = self.netcnnlip(pictures.transpose(0, 1)[None])
        return self.netfclip(features[0, :, :, 0, 0].T)
