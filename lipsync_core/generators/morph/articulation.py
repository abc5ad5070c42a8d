"""From speech to the shape of a mouth over time: the seam behind which any articulation model may stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from ...dsp import active, level_blocks, voice_energy
from ...hearing.listening import SHAPE_RATE
from ...hearing.reading import LATER
from ...mapped import let_go
from ...rows import Rows
from ...types import SPEECH_RATE
from .articulation_net import BANDS, RATE, energy_of, start_loudness
from .ear import COLUMNS, Ear, EarState
from .streaming import StreamState

BLOCK = 5 * SPEECH_RATE
"""Samples that are heard at a time, so that an hour of speech needs no more memory than a minute."""
LET_GO = 60
"""Blocks that were read, after which the memory of what lies in a file is given back: about 20 MB."""
GAIN, FLOOR, MEAN = 1.35, 0.10, 0.39
"""Opening = GAIN * (MEAN + read - FLOOR): a reading that minimises squared error hedges, moving lips less than people do. These give
openings the spread and the mean of people that nothing was taught on."""
WIDTH_GAIN = 1.4
"""The same for the width."""
PRESSED, HEARD_OPEN = (0.15, 0.35), 0.2
"""Closure, as the networks hear it, from which the lips begin to shut, and at which they are shut; what an opening of 1 takes off it."""
TOUCHING = (0.18, 0.38)
"""The same for the chance that lips touch, as the encoder is read; they meet where either says so."""
TUCKED, TUCK_SHUTS = (0.10, 0.28), 0.5
"""The same for the lower lip that goes under the teeth, and the share of the opening that it takes."""
ROUND_OPEN = 0.2
"""Opening of fully rounded lips at least: u and w leave a hole."""
NEAR = 0.19
"""Seconds by which lips may move before the first sound and come to rest after the last; a rest is longer than twice this: between two
words people's lips stay as they are. (With 0.28 the opening's r is 0.03 higher, and lips move in silence.)"""
SLOW = 0.025
"""Seconds (sigma) over which width and jaw are evened out: corners and chins are slower than lips, and their r gains by it."""
SILENT = (0.7, 0.97)
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
    """Speech (n,) float32 at 16 kHz and times (m,) in seconds -> the mouth's shape at those times. `check` is called now and
    then and may raise to stop."""

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: Callable[[], None] = ...) -> MouthShape: ...



class NetArticulation:
    """Mouth shapes from the bundled networks and encoder: any language, any level, any frame rate."""

    def __init__(self, ear: Ear | None = None) -> None:
        self.ear = ear or Ear()

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: Callable[[], None] = lambda: None) -> MouthShape:
        return shape_of(self._hear(np.asarray(samples, np.float32), check), times)

    def _hear(self, samples: np.ndarray, check: Callable[[], None]) -> np.ndarray:
        """Columns of `MouthShape` at `SHAPE_RATE`, float32 (m, 7)."""
        energy, voice, raw = Rows((), np.float64), Rows((), np.float64), Rows((len(COLUMNS),))
        for number, levels in enumerate(level_blocks(samples, BANDS, RATE), 1):
            energy.extend(energy_of(levels))
            voice.extend(voice_energy(levels))
            if number % LET_GO == 0:
                let_go(samples)
        state = EarState(StreamState(loudness=start_loudness(energy.array())))
        for first in range(0, max(len(samples), 1), BLOCK):
            check()
            found, state = self.ear.feed(samples[first:first + BLOCK], state, last=first + BLOCK >= len(samples))
            raw.extend(found)
            if first // BLOCK % LET_GO == LET_GO - 1:
                let_go(samples)
        curves = finish(raw.array(), active(voice.array(), RATE))
        return np.concatenate([curves, np.zeros((1, curves.shape[1]), np.float32)])     # at rest after the end


def shape_of(curves: np.ndarray, times: np.ndarray) -> MouthShape:
    """What `finish` gives, read at `times` (n,), seconds."""
    grid, times = np.arange(len(curves)) / SHAPE_RATE, np.asarray(times, np.float64) - LATER
    return MouthShape(*(np.interp(times, grid, curve).astype(np.float32) for curve in curves.T))


def finish(raw: np.ndarray, spoken: np.ndarray) -> np.ndarray:
    """What the ear gives (m, len(COLUMNS)) -> columns in the order of `MouthShape`, float32 (m, 7): hedging undone, lips that meet
    shut, rest where nobody speaks for a while. `spoken` (n,), `RATE` a second: `dsp.speech_activity`, for which room noise is no speech."""
    heard = {name: raw[:, i] for i, name in enumerate(COLUMNS)}
    opening = MEAN + heard["read_opening"]
    pressed = np.maximum(_smoothstep(heard["closure"] - HEARD_OPEN * np.clip(opening, 0, 1), *PRESSED),
                         _smoothstep(heard["read_shut"], *TOUCHING))
    tucked = _smoothstep(heard["tuck"], *TUCKED) * (1 - pressed)
    active = largest_nearby(1 - _smoothstep(heard["silence"], *SILENT), round(NEAR * SHAPE_RATE))
    # It tells room noise from speech better than the networks do; they tell better when lips begin and end, so it only vetoes.
    loud = largest_nearby(spoken, round(NEAR * RATE))
    active *= np.interp(np.arange(len(raw)) / SHAPE_RATE, np.arange(len(loud)) / RATE, loud)
    opening = np.maximum(np.clip(GAIN * (opening - FLOOR), 0, 1.15), ROUND_OPEN * heard["round"])
    opening *= (1 - pressed) * (1 - TUCK_SHUTS * tucked)
    jaw = np.clip(GAIN * (MEAN + _smoothed(heard["read_jaw"]) - FLOOR), 0, 1.15)
    width = np.clip(WIDTH_GAIN * _smoothed(heard["read_width"]), -1, 1)
    return np.stack([opening, width, jaw, pressed, tucked, np.clip(1.2 * heard["round"], 0, 1), active], 1).astype(np.float32)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Gaussian of `SLOW` seconds along time."""
    reach = np.arange(-3, 4)
    kernel = np.exp(-0.5 * (reach / SHAPE_RATE / SLOW) ** 2)
    return np.convolve(np.pad(values, 3, mode="edge"), kernel / kernel.sum(), mode="valid") if len(values) else values


def largest_nearby(values: np.ndarray, reach: int) -> np.ndarray:
    """The largest of `values` (n,) within `reach` places of each."""
    if not len(values):
        return values
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(-1)


def _smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
