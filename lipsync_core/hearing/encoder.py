"""A pretrained speech encoder: the encoder of Moonshine `tiny` (Useful Sensors / Moonshine AI, MIT), as a network of our own.

Three convolutions over the wave, then six transformer layers with rotary positions; what it learned from 200,000 hours of speech
tells the mouth more than levels in mel bands do. Weights: `weights/speech_encoder.safetensors`, see its card.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import SPEECH_RATE

WIDTH, LAYERS, HEADS = 288, 6, 8
ROTARY = 32
"""Of a head's 36 values, those that turn with the position."""
KERNELS, STRIDES = (127, 7, 3), (64, 3, 2)
FRAME_RATE = SPEECH_RATE / (64 * 3 * 2)
"""Rows a second: 41.667."""
HOP = 64 * 3 * 2
"""Samples from one row to the next."""
FIRST = 0.012
"""Seconds into the wave that row 0 speaks of, found as the shift at which its reading fits lips best."""


def rows_of(count: int) -> int:
    """Rows that `count` samples give."""
    for kernel, stride in zip(KERNELS, STRIDES):
        count = (count - kernel) // stride + 1
    return max(count, 0)


def samples_for(rows: int) -> int:
    """The fewest samples that give `rows` rows."""
    for kernel, stride in zip(KERNELS[::-1], STRIDES[::-1]):
        rows = (rows - 1) * stride + kernel
    return rows


class Layer(nn.Module):
    """Full attention and a two-layer perceptron, each behind its own norm and added to (B, T, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        batch, rows, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, rows, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(_turned(q, turn), _turned(k, turn), v)
        x = x + self.out(heard.transpose(1, 2).reshape(batch, rows, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class SpeechEncoder(nn.Module):
    """Speech (B, n) float32, 16 kHz, as it is -> (B, T, WIDTH), `FRAME_RATE` rows a second; row i belongs to i / FRAME_RATE + FIRST
    seconds. At least 895 samples (one row)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, WIDTH, KERNELS[0], STRIDES[0], bias=False)
        self.group = nn.GroupNorm(1, WIDTH)
        self.conv2 = nn.Conv1d(WIDTH, 2 * WIDTH, KERNELS[1], STRIDES[1])
        self.conv3 = nn.Conv1d(2 * WIDTH, WIDTH, KERNELS[2], STRIDES[2])
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)

    def forward(self, wave: Tensor) -> Tensor:
        return self.norm(self.features(wave, LAYERS))

    def features(self, wave: Tensor, depth: int) -> Tensor:
        """What comes out of layer `depth` (0: what goes into the first), before the last norm: (B, T, WIDTH)."""
        x = self.group(self.conv1(wave[:, None]).tanh())
        x = F.gelu(self.conv3(F.gelu(self.conv2(x)))).transpose(1, 2)
        turn = _rotation(x.shape[1], x)
        for layer in self.layers[:depth]:
            x = layer(x, turn)
        return x


def _rotation(rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine (rows, ROTARY) of the angles by which pairs of values turn."""
    speed = 10_000.0 ** (-torch.arange(0, ROTARY, 2, device=like.device, dtype=torch.float32) / ROTARY)
    angle = (torch.arange(rows, device=like.device, dtype=torch.float32)[:, None] * speed).repeat_interleave(2, 1)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """(B, HEADS, T, 36) with neighbouring values of the first ROTARY turned as pairs."""
    cosine, sine = turn
    front, rest = x[..., :ROTARY], x[..., ROTARY:]
    crossed = torch.stack([-front[..., 1::2], front[..., 0::2]], -1).flatten(-2)
    return torch.cat([front * cosine + crossed * sine, rest], -1)
