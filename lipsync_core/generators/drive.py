"""How the user's wishes and the pauses of the speech decide what a network hears, and how much of its answer is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dsp import active, level_blocks, voice_energy
from ..types import Drive

ACTIVITY_RATE = 100.0
"""Values a second of the speech activity."""


def activity_of(samples: np.ndarray) -> np.ndarray:
    """Who speaks when in speech (n,) float32 at 16 kHz: float32 (m,), 0..1, `ACTIVITY_RATE` a second."""
    return active(np.concatenate([voice_energy(levels) for levels in level_blocks(samples, rate=ACTIVITY_RATE)]), ACTIVITY_RATE)


@dataclass(frozen=True)
class Driving:
    """A `Drive` over the time of a recording, for generators whose network hears something between silence and the speech."""

    drive: Drive
    activity: np.ndarray
    """float32 (n,), 0..1, 100 a second: who speaks when."""

    def amount(self, times: np.ndarray) -> np.ndarray:
        """How much of the speech is heard at times (B,), seconds: float32 (B,), 0 silence, 1 all, more exaggerates."""
        return np.float32(self.drive.strength) * (self._active(times) if self.drive.silence == "close" else np.ones(len(times), np.float32))

    def shown(self, times: np.ndarray) -> np.ndarray:
        """How much of the new face is shown at times (B,), seconds: float32 (B,), 0..1; in pauses nothing where they are kept."""
        return self._active(times) if self.drive.silence == "keep" else np.ones(len(times), np.float32)

    def _active(self, times: np.ndarray) -> np.ndarray:
        return np.interp(np.asarray(times) * ACTIVITY_RATE, np.arange(len(self.activity)), self.activity).astype(np.float32)
