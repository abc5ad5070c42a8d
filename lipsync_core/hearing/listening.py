"""The speech encoder at work on speech of any length: in windows, so that memory is bounded and a stream can be heard as it comes.

A window is heard by itself: its features depend on `Windows.past` seconds before what it is asked about, and on `Windows.future`
seconds after it. The longer both, the better the features; the shorter the future and the step, the sooner they are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..inference import WEIGHTS, inference, load_network
from ..types import SPEECH_RATE
from .encoder import FIRST, FRAME_RATE, SpeechEncoder, samples_for

FILE = WEIGHTS / "speech_encoder.safetensors"
DEPTH = 3
"""Layers of the encoder that are run: read by the same ridge regression, the third tells lips better than the first two and than all
that follow (figures in `weights/mouth_reading.md`; `training.articulation reading --depth N` asks again), at half the cost."""
SHAPE_RATE = 50.0
"""Moments a second at which mouths are read."""
TAPS = np.arange(-4, 5) * 0.04
"""Seconds around a moment at which its reading looks at the features."""


@dataclass(frozen=True)
class Windows:
    """How speech is cut: seconds heard before a step, its length, and seconds heard after it."""

    past: float
    step: float
    future: float

    @property
    def look_ahead(self) -> float:
        """Seconds of speech that must be known after a moment."""
        return self.step + self.future


WHOLE = Windows(past=3.0, step=4.0, future=0.5)
"""For recordings."""
LIVE = Windows(past=1.0, step=0.08, future=0.2)
"""For streams: 280 ms of look-ahead, at eight times the work."""


@lru_cache(maxsize=2)
def load_encoder(device: str = "cpu") -> SpeechEncoder:
    """The bundled encoder; raises `CheckpointError`."""
    return load_network(SpeechEncoder(), FILE, device)


def tapped(encoder: SpeechEncoder, samples: np.ndarray, begin: float, times: np.ndarray, depth: int = DEPTH) -> Tensor:
    """Features around `times` (m,), seconds, of a window of samples (n,) float32 that begins at `begin` seconds: float32
    (m, len(TAPS), 288) on the CPU. Beyond the window's ends its first and last features stand."""
    device = next(encoder.parameters()).device
    wave = torch.from_numpy(np.ascontiguousarray(np.pad(samples, (0, max(0, samples_for(2) - len(samples)))), np.float32))
    with inference():
        rows = encoder.features(wave[None].to(device), depth)[0].float().cpu()
        position = (torch.from_numpy(np.asarray(times, np.float64)[:, None] + TAPS) - begin - FIRST) * FRAME_RATE
        position = position.clamp(0, len(rows) - 1.001)
        below = position.floor().long()
        share = (position - below).float()[..., None]
        return rows[below] * (1 - share) + rows[below + 1] * share


def window_of(step: int, windows: Windows) -> tuple[int, int]:
    """First sample and the sample after the last of the window that step number `step` is heard in; the former is 0 at least."""
    first = round((step * windows.step - windows.past) * SPEECH_RATE)
    return max(0, first), round(((step + 1) * windows.step + windows.future) * SPEECH_RATE)


def hear(encoder: SpeechEncoder, wave: np.ndarray, begin: int, step: int, until: int, windows: Windows, depth: int = DEPTH) -> Tensor:
    """Features around the moments of step number `step`, up to moment `until` (exclusive): (some, len(TAPS), 288). `wave` (n,) float32
    are the samples known, from number `begin` on, the window's first among them; beyond them it is silent. The window of a step that
    ends early ends early."""
    first, end = window_of(step, windows)
    end = min(end, round((until / SHAPE_RATE + windows.future) * SPEECH_RATE))
    window = wave[first - begin:max(end - begin, 0)]
    window = np.pad(window, (0, end - first - len(window)))
    times = np.arange(step * round(windows.step * SHAPE_RATE), until) / SHAPE_RATE
    return tapped(encoder, window, first / SPEECH_RATE, times, depth)


def heard(encoder: SpeechEncoder, samples: np.ndarray, rows: int, windows: Windows = WHOLE, depth: int = DEPTH) -> Iterator[Tensor]:
    """A whole recording, samples (n,) float32 at 16 kHz, step by step: features around moments 0 to `rows`, `SHAPE_RATE` a second,
    float32 (some, len(TAPS), 288) at a time."""
    per_step = round(windows.step * SHAPE_RATE)
    for step in range(-(-rows // per_step)):
        yield hear(encoder, samples, 0, step, min((step + 1) * per_step, rows), windows, depth)
