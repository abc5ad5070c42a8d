"""A linear reading of the speech encoder: what lips do, from features around a moment and from the articulation networks' channels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..inference import WEIGHTS, load_network
from .encoder import WIDTH
from .listening import TAPS

FILE = WEIGHTS / "mouth_reading.safetensors"
READS = ("opening", "width", "jaw", "shut")
"""What is read, relative to the speaker's own mean but for the last: gap of the inner lips over the speaker's range, width of the mouth
(-1 narrow to 1 spread), the chin's drop over what a full opening takes, and the chance that lips touch while somebody speaks."""
LATER = 0.015
"""Seconds by which readings are early: they were taught with offsets that begin from the networks' own lag (their median on held-out
clips whose offset is known)."""
CHANNELS, NEAR = 7, 4
"""Curves of the articulation networks that are read too, and how many of their rows (20 ms) before and after a moment."""


class Reading(nn.Module):
    """Features (m, len(TAPS), 288) and channels (m, 2 NEAR + 1, CHANNELS) -> (m, len(READS))."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(len(TAPS) * WIDTH, len(READS))
        self.channels = nn.Linear((2 * NEAR + 1) * CHANNELS, len(READS), bias=False)

    def forward(self, features: Tensor, channels: Tensor) -> Tensor:
        return self.features(features.flatten(1)) + self.channels(channels.flatten(1))


def load_reading(file: Path = FILE) -> Reading:
    """The bundled reading; raises `CheckpointError`."""
    return load_network(Reading(), file)


def around(rows: Tensor, first: int, last: int) -> Tensor:
    """Rows (n, c) -> those around each of rows `first` to `last` (exclusive): (last - first, 2 NEAR + 1, c); the ends repeat."""
    index = torch.arange(first, last)[:, None] + torch.arange(-NEAR, NEAR + 1)
    return rows[index.clamp(0, len(rows) - 1)]
