"""The articulation network: levels of speech in mel bands -> what the mouth does.

Convolutions over time only, so what it knows of the past is a window of fixed length: streaming keeps the last levels and
nothing else, and a recording in one piece or in many gives the same mouth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 40
RATE = 100.0
"""Levels a second going in, see `dsp.band_levels`."""
STRIDE = 2
"""Levels a mouth shape: shapes come at 50 a second."""
CHANNELS = ("opening", "width", "jaw", "closure", "tuck", "round")
"""What a mouth does, each 0..1 but width -1 (narrow) to 1 (spread): gap of the inner lips, their corners, the chin's drop, lips
pressed together (m b p), lower lip under the upper teeth (f v), lips pushed forward (u w sh)."""
CLASSES = ("silence", "bilabial", "labiodental", "dental", "alveolar", "sibilant", "postalveolar", "velar", "rhotic", "w",
           "open", "mid", "close_front", "close_back", "mid_back")
"""Phone classes, by what they do to the lips."""
DECAY = 4.0
"""dB a second by which the remembered loudness falls; a pause of some seconds must not turn breath into speech."""
QUIETEST = -48.0
"""dB: no speech is quieter than this, so silence stays silence."""
BLOCKS = ((1, 1), (2, 1), (4, 2), (8, 2), (16, 0), (1, 1), (2, 0), (4, 0))
"""Dilation and look-ahead of each convolution in shapes of 20 ms: 7 in all, 140 ms; with the first one's and half a spectrum's
window, 183 ms."""


@dataclass(frozen=True)
class Loudness:
    """State of `normalise`: the remembered loudness in dB."""

    peak: float = -24.0


def normalise(levels: np.ndarray, state: Loudness) -> tuple[np.ndarray, Loudness]:
    """Levels (n, BANDS) in dB -> float32 relative to the loudness so far, in units of 20 dB, about -4..0.3; the next state.

    The loudness rises at once and falls by `DECAY`, so that gain does not matter and nothing looks ahead.
    """
    if not len(levels):
        return np.zeros((0, levels.shape[1]), np.float32), state
    energy = energy_of(levels)
    fall = DECAY / RATE * np.arange(1, len(levels) + 1)
    peak = np.maximum(np.maximum.accumulate(energy + fall), state.peak) - fall
    shown = np.maximum(peak, QUIETEST)
    relative = (levels - shown[:, None]) / 20
    return np.clip(relative, -4, 1).astype(np.float32), Loudness(float(peak[-1]))


class Block(nn.Module):
    """Residual dilated convolution over (B, C, T), `ahead` of its taps' reach lies in the future."""

    def __init__(self, width: int, dilation: int, ahead: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation)
        self.norm = nn.BatchNorm1d(width)
        self.pad = (2 * dilation - ahead, ahead)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.norm(self.conv(F.pad(x, self.pad))))


class ArticulationNet(nn.Module):
    """(B, BANDS, T) normalised levels -> channels (B, 6, T // 2) and class logits (B, 15, T // 2)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.first = nn.Conv1d(BANDS, width, 5, STRIDE)
        self.norm = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(Block(width, dilation, ahead) for dilation, ahead in BLOCKS)
        self.mouth = nn.Sequential(nn.Conv1d(width, width, 1), nn.ReLU(), nn.Dropout(0.1), nn.Conv1d(width, len(CHANNELS), 1))
        self.classes = nn.Conv1d(width, len(CLASSES), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Shape t looks at levels 2t-1 .. 2t+3.
        x = F.relu(self.norm(self.first(F.pad(x, (1, 2), value=-4.0))))
        for block in self.blocks:
            x = block(x)
        raw = self.mouth(x)
        return torch.cat([raw[:, :1].sigmoid(), raw[:, 1:2].tanh(), raw[:, 2:].sigmoid()], 1), self.classes(x)


LEFT = sum(2 * dilation - ahead for dilation, ahead in BLOCKS)
RIGHT = sum(ahead for _, ahead in BLOCKS)
"""Shapes of the past and of the future that a shape depends on."""


def energy_of(levels: np.ndarray) -> np.ndarray:
    """dB, float64 (n,), of levels (n, BANDS)."""
    return 10 * np.log10((10 ** (np.asarray(levels, np.float64) / 10)).mean(1))


def start_loudness(energy: np.ndarray) -> Loudness:
    """What to remember before a recording that is known whole, of which `energy` is `energy_of`: its own loudness, the 90th percentile."""
    return Loudness(float(np.quantile(energy, 0.9))) if len(energy) else Loudness()
