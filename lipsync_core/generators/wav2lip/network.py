"""Wav2Lip (Prajwal et al. 2020, "A Lip Sync Expert Is All You Need") at 96 pixels, and the 288 pixel variant of the same design.

Built from the layer tables of architectures.md, sections 1 and 2. Tensor names and shapes are those of the public checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Layer(NamedTuple):
    """A convolution (transposed: `grow` is its output padding) of `out` channels, and `residuals` blocks of the same width after it."""

    out: int
    kernel: int = 3
    stride: int | tuple[int, int] = 1
    padding: int = 1
    residuals: int = 0
    grow: int | None = None


def down(out: int, residuals: int, kernel: int = 3) -> tuple[Layer, ...]:
    """Half the resolution."""
    return (Layer(out, kernel, 2, kernel // 2, residuals),)


def up(out: int, residuals: int = 2, grow: int = 1) -> tuple[Layer, ...]:
    """Twice the resolution; one pixel less with `grow` 0."""
    return (Layer(out, 3, 2, 1, residuals, grow),)


VALID = Layer(512, 3, 1, 0)
POINT = Layer(512, 1, 1, 0)
AUDIO = (Layer(32, residuals=2), Layer(64, stride=(3, 1), residuals=2), Layer(128, stride=3, residuals=2),
         Layer(256, stride=(3, 2), residuals=1), VALID, POINT)
"""Mel (1, 80, 16) -> (512, 1, 1)."""


@dataclass(frozen=True)
class Layout:
    """What the variants differ in. A stage of the decoder is given what the stage before made and, behind it, the features of the face
    encoder's stage of the same resolution."""

    size: int
    """Side of the face, pixels."""
    encoder: tuple[tuple[Layer, ...], ...]
    decoder: tuple[tuple[Layer, ...], ...]


LAYOUT_96 = Layout(
    96,
    ((Layer(16, 7, 1, 3),), down(32, 2), down(64, 3), down(128, 2), down(256, 2), down(512, 1), (VALID, POINT)),
    ((POINT,), (Layer(512, 3, 1, 0, 1, 0),), up(512), up(384), up(256), up(128), up(64)))
LAYOUT_288 = Layout(
    288,
    ((Layer(16, 7, 1, 3),), down(32, 1, 5), down(32, 2), down(64, 3), down(128, 2), down(256, 2), down(512, 1), (VALID, POINT),
     (VALID, POINT)),
    ((POINT,), (Layer(512, 3, 1, 0, 1, 0),), up(512, grow=0), up(512, grow=0), up(384), up(256), up(128), up(64), up(64)))


class Block(nn.Module):
    """Convolution, batch norm, the input again if `residual`, ReLU."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y, inplace=True)

    def fuse(self) -> None:
        convolution, norm = self.conv_block
        self.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d)))


def stage(width: int, layers: tuple[Layer, ...]) -> nn.Sequential:
    """The blocks of `layers`, given `width` channels."""
    blocks: list[Block] = []
    for out, kernel, stride, padding, residuals, grow in layers:
        if grow is None:
            blocks.append(Block(nn.Conv2d(width, out, kernel, stride, padding)))
        else:
            blocks.append(Block(nn.ConvTranspose2d(width, out, kernel, stride, padding, grow)))
        blocks += [Block(nn.Conv2d(out, out, 3, 1, 1), residual=True) for _ in range(residuals)]
        width = out
    return nn.Sequential(*blocks)


def stride_of(layers: tuple[Layer, ...]) -> int:
    """By how much a stage of the decoder enlarges."""
    stride = layers[0].stride
    return stride if isinstance(stride, int) else stride[0]


class Wav2Lip(nn.Module):
    """36,298,035 parameters in 352 tensors (running statistics included); 3.97 * 10^9 multiply-adds a face."""

    layout = LAYOUT_96

    def __init__(self) -> None:
        super().__init__()
        layout = self.layout
        self.audio_encoder = stage(1, AUDIO)
        widths = [6, *(layers[-1].out for layers in layout.encoder)]
        self.face_encoder_blocks = nn.ModuleList(stage(width, layers) for width, layers in zip(widths, layout.encoder))
        self.face_decoder_blocks, width = nn.ModuleList(), AUDIO[-1].out
        for layers, skip in zip(layout.decoder, reversed(widths)):
            self.face_decoder_blocks.append(stage(width, layers))
            width = layers[-1].out + skip
        self.output_block = nn.Sequential(*stage(width, (Layer(32),)), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    @property
    def size(self) -> int:
        """Side of the face, pixels."""
        return self.layout.size

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """Mel windows (B, 1, 80, 16), -4..4, and faces (B, 6, S, S) -> (B, 3, S, S), BGR 0..1.

        A face is BGR 0..1 twice: the one to paint, rows S/2 and below zero, then the reference, whole.
        """
        return self.paint(self.hear(mel), face)

    def hear(self, mel: Tensor) -> Tensor:
        """Mel windows (B, 1, 80, 16) -> what is said, (B, 512, 1, 1), 0 and above."""
        return self.audio_encoder(mel)

    def paint(self, heard: Tensor, face: Tensor, first: int = 0) -> Tensor:
        """The face of `forward`, saying what `hear` gave, from row `first` on: (B, 3, S - first, S).

        The lower half alone takes a third fewer multiply-adds: of the decoder's features only the rows that matter to it are computed.
        """
        features = [face]
        for encode in self.face_encoder_blocks:
            features.append(encode(features[-1]))
        x, top = heard, 0
        for decode, layers, start in zip(self.face_decoder_blocks, self.layout.decoder, self._starts(first)):
            x, skip, top = decode(x), features.pop(), top * stride_of(layers)
            x = torch.cat([x[:, :, start - top:], skip[:, :, start:]], 1)
            top = start
        return self.output_block(x)[:, :, first - top:]

    def _starts(self, first: int) -> list[int]:
        """For each stage of the decoder the first row of its output that output row `first` depends on."""
        # A transposed convolution that is given rows from t on gives those from stride * t on as they should be. A 3x3 convolution
        # spoils one more, because it takes what was left out for zero.
        start, starts = max(0, first - 1), []
        for layers in reversed(self.layout.decoder):
            starts.append(start)
            start = max(0, (start - layers[-1].residuals) // stride_of(layers))
        return starts[::-1]

    def fuse(self) -> Wav2Lip:
        """Take batch norm into the convolutions, for inference: the same results with half the passes over memory. The network must be
        in eval mode; its tensors are not those of the checkpoints any more."""
        for block in [module for module in self.modules() if isinstance(module, Block)]:
            block.fuse()
        return self


class Wav2Lip288(Wav2Lip):
    """48,520,755 parameters in 422 tensors; 18.47 * 10^9 multiply-adds a face."""

    layout = LAYOUT_288


VARIANTS: tuple[type[Wav2Lip], ...] = (Wav2Lip, Wav2Lip288)
