"""From speech to the shape of a mouth over time: the seam behind which any articulation model may stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from ...dsp import band_levels, speech_activity
from ...types import SPEECH_RATE
from .articulation_net import BANDS, CHANNELS, RATE, STRIDE, start_loudness
from .streaming import SHAPE_RATE, Articulator, StreamState

BLOCK = 5 * SPEECH_RATE
"""Samples that the networks are given at a time, so that an hour of speech needs no more memory than a minute."""
GAIN, FLOOR = 1.55, 0.085
"""Opening = GAIN * (predicted - FLOOR): a network that minimises squared error hedges, moving lips less than people do. These give
openings the spread and the mean of people that nothing was taught on."""
SPREAD_OPENS = 0.3
"""Opening that a mouth has at width 1 beyond what the networks say: of voices that they don't know they hear i and e from u and o (the
width) better than how far the mouth is open. `python -m lipsync_core.training.articulation evaluate` shows both with and without."""
PRESSED, HEARD_OPEN = (0.06, 0.22), 0.2
"""Predicted closure from which the lips begin to shut, and at which they are shut; what a predicted opening of 1 takes off it."""
TUCKED = (0.10, 0.28)
"""The same for the lower lip that goes under the teeth."""
ROUND_OPEN = 0.2
"""Opening of fully rounded lips at least: u and w leave a hole."""
LATER = 0.015
"""Seconds by which the networks are early: their median lag on the held-out clips whose own offset is known."""
NEAR = 0.16
"""Seconds by which lips may move before the first sound and come to rest after the last."""
LINGER = 0.08
"""Seconds by which speech, as the networks hear it, is thought to begin earlier and end later: lips part before the first sound, and
stay apart for a breath between two words."""
SILENT = (0.45, 0.85)
"""Chance of silence from which the mouth goes to rest, and at which it rests."""


@dataclass(frozen=True)
class MouthShape:
    """One value for each requested time, all float32 (n,)."""

    opening: np.ndarray
    """0..1: shut to the widest of natural speech."""
    width: np.ndarray
    """-1..1: narrow to spread (e, i)."""
    jaw: np.ndarray
    """0..1: how far the chin drops, in units of what a full opening takes."""
    closure: np.ndarray
    """0..1: lips pressed together (m, b, p)."""
    tuck: np.ndarray
    """0..1: lower lip under the upper teeth (f, v)."""
    round: np.ndarray
    """0..1: lips pushed forward (u, w, sh)."""
    activity: np.ndarray
    """0..1: somebody speaks."""

    def stack(self) -> np.ndarray:
        """All of them, float32 (7, n)."""
        return np.stack([getattr(self, entry.name) for entry in fields(self)])


class Articulation(Protocol):
    """Speech (n,) float32 at 16 kHz and times (m,) in seconds -> the mouth's shape at those times. Looks ahead 200 ms at most.
    `check` is called now and then and may raise to stop."""

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: Callable[[], None] = ...) -> MouthShape: ...



class NetArticulation:
    """Mouth shapes from the bundled networks: any language, any level, any frame rate."""

    def __init__(self, articulator: Articulator | None = None, spread_opens: float = SPREAD_OPENS) -> None:
        self.articulator, self.spread_opens = articulator or Articulator(), spread_opens

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: Callable[[], None] = lambda: None) -> MouthShape:
        samples = np.asarray(samples, np.float32)
        levels = band_levels(samples, BANDS, RATE)
        state = StreamState(loudness=start_loudness(levels))
        parts = []
        for first in range(0, max(len(samples), 1), BLOCK):
            check()
            found, state = self.articulator.feed(samples[first:first + BLOCK], state, last=first + BLOCK >= len(samples))
            parts.append(found)
        parts.append(np.zeros((1, parts[0].shape[1]), np.float32))    # at rest after the end
        curves = finish(np.concatenate(parts), self.spread_opens)
        grid = np.arange(len(curves)) / SHAPE_RATE
        # Knowing the whole recording, `speech_activity` tells room noise from speech better than the networks do; they tell better
        # when lips begin and end, so it only vetoes.
        loud = largest_nearby(speech_activity(levels, RATE), round(NEAR * RATE))[::STRIDE]
        curves[:, -1] *= np.interp(grid, np.arange(len(loud)) / SHAPE_RATE, loud)
        times = np.asarray(times, np.float64) - LATER
        return MouthShape(*(np.interp(times, grid, curve).astype(np.float32) for curve in curves.T))


def finish(raw: np.ndarray, spread_opens: float = SPREAD_OPENS) -> np.ndarray:
    """The networks' shapes (m, 7) -> columns in the order of `MouthShape`, float32 (m, 7): hedging undone, lips that meet shut."""
    opening, width, jaw, closure, tuck, rounded = (raw[:, i] for i in range(len(CHANNELS)))
    pressed = _smoothstep(closure - HEARD_OPEN * opening, *PRESSED)
    tucked = _smoothstep(tuck, *TUCKED) * (1 - pressed)
    active = largest_nearby(1 - _smoothstep(raw[:, -1], *SILENT), round(LINGER * SHAPE_RATE))
    opening = np.maximum(np.clip(GAIN * (opening + spread_opens * width - FLOOR), 0, 1.15), ROUND_OPEN * rounded)
    opening *= (1 - pressed) * (1 - 0.8 * tucked)
    jaw = np.clip(GAIN * (jaw - FLOOR), 0, 1.15)
    return np.stack([opening, np.clip(1.3 * width, -1, 1), jaw, pressed, tucked, np.clip(1.2 * rounded, 0, 1), active],
                    1).astype(np.float32)


def largest_nearby(values: np.ndarray, reach: int) -> np.ndarray:
    """The largest of `values` (n,) within `reach` places of each."""
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(-1)


def _smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
