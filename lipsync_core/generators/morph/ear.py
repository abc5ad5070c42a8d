"""All that is heard of a mouth: the articulation networks' channels, and the linear reading of the speech encoder that they go into."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...hearing.listening import SHAPE_RATE, WHOLE, Windows, hear, load_encoder, window_of
from ...hearing.reading import CHANNELS, NEAR, READS, Reading, around, load_reading
from ...inference import inference
from .articulation_net import CHANNELS as HEARD
from .streaming import Articulator, StreamState

COLUMNS = (*HEARD, "silence", *(f"read_{name}" for name in READS))
"""What `Ear.feed` gives for each moment."""


@dataclass(frozen=True)
class EarState:
    """What is kept between two pieces of speech."""

    networks: StreamState = field(default_factory=StreamState)
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """Those that windows to come begin with."""
    begin: int = 0
    """Number of the first of them in the stream."""
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, CHANNELS), np.float32))
    """The networks' rows that readings to come look at."""
    first: int = 0
    """Number of the first of them in the stream."""
    step: int = 0
    """Windows that were heard."""


class Ear:
    """`feed` has no state of its own: whoever calls it keeps the `EarState`. `windows`: `listening.WHOLE` for recordings, `LIVE` for
    streams; `device` runs the encoder."""

    def __init__(self, networks: Articulator | None = None, reading: Reading | None = None, windows: Windows = WHOLE,
                 device: str = "cpu") -> None:
        self.networks, self.windows = networks or Articulator(), windows
        self.reading, self.encoder = reading or load_reading(), load_encoder(device)

    def feed(self, samples: np.ndarray, state: EarState, *, last: bool = False) -> tuple[np.ndarray, EarState]:
        """The next samples (n,) float32 at 16 kHz -> the rows (m, len(COLUMNS)) that are certain now, `SHAPE_RATE` a second, and the
        next state. Row i of the whole stream belongs to i / SHAPE_RATE seconds; it comes when `windows.look_ahead` seconds after it
        are known, or with `last`. One piece or many give the same rows."""
        found, networks = self.networks.feed(samples, state.networks, last=last)
        rows, wave = np.concatenate([state.rows, found]), np.concatenate([state.samples, np.asarray(samples, np.float32)])
        known, end = state.first + len(rows), state.begin + len(wave)
        per_step, step, parts = round(self.windows.step * SHAPE_RATE), state.step, []
        while True:
            first, until = step * per_step, (step + 1) * per_step
            needed = window_of(step, self.windows)[1]
            if (first >= known) if last else (needed > end or until + NEAR > known):
                break
            until = min(until, known)
            features = hear(self.encoder, wave, state.begin, step, until, self.windows)
            parts.append(self._read(features, rows, first - state.first, until - state.first))
            step += 1
        drop_rows = max(0, min(step * per_step - NEAR - state.first, len(rows)))
        drop_samples = max(0, min(window_of(step, self.windows)[0] - state.begin, len(wave)))
        result = np.concatenate(parts) if parts else np.zeros((0, len(COLUMNS)), np.float32)
        return result, EarState(networks, wave[drop_samples:], state.begin + drop_samples, rows[drop_rows:],
                                state.first + drop_rows, step)

    def _read(self, features: Tensor, rows: np.ndarray, first: int, until: int) -> np.ndarray:
        with inference():
            read = self.reading(features, around(torch.from_numpy(rows), first, until)).numpy()
        return np.concatenate([rows[first:until], read], 1)
