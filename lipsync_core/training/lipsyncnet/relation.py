"""Sound against picture: how a mouth goes with what is heard, and by how much the sound is late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...generators.morph.articulation import Articulation
from ...types import FaceTrack
from ..articulation.real import measure

GRID_RATE = 50.0
"""Hz, of all curves: the articulation networks' own."""
REACH = 1.0
"""Seconds, either way, within which an offset is looked for."""
LAGS = np.arange(-round(REACH * GRID_RATE), round(REACH * GRID_RATE) + 1) / GRID_RATE
GUARD = 0.2
"""Seconds about the best lag that belong to its peak: a syllable."""
STILLNESS = 0.015
"""Outer-eye distances added to an opening's spread (talking: 0.03 to 0.09), so that the noise of a mouth at rest relates to nothing."""
STILL = 0.01
"""Range (5 % to 95 %) of an opening, outer-eye distances, under which a mouth does not move."""
RELATED, CERTAIN, CERTAIN_SECONDS = 0.5, 0.12, 1.0
"""An offset is sure if the best correlation reaches the first, and stands above every other by the second, or by the third over the
seconds it was measured on where that is more. On 30 clips of ../shared/media, their people left out of the reading, against their own
and against foreign sound: of pieces of 3 s 0.66 of the right ones are sure and 0.02 of the wrong ones, of 5 s 0.96 and 0.02, of 8 s all
and none."""
AT_LEAST = 0.1
"""Correlation of a segment with its sound at the clip's offset: whoever listens while somebody unseen speaks stays below."""
CHOSEN, AHEAD = 0.3, 0.2
"""Of two faces the one speaks whose correlation reaches the first and is ahead of the other's by the second."""


@dataclass(frozen=True)
class Relation:
    """How a mouth's opening goes with the sound, for every lag."""

    curve: np.ndarray
    """float (len(LAGS),): correlation, damped for mouths that hardly move."""
    seconds: float
    """Of picture that it was measured on."""

    @property
    def peak(self) -> float:
        return float(self.curve.max())

    @property
    def offset(self) -> float:
        """Seconds by which the sound comes late (< 0: early), between the lags' 20 ms."""
        best = int(self.curve.argmax())
        shift = 0.0
        if 0 < best < len(LAGS) - 1:
            left, middle, right = self.curve[best - 1:best + 2]
            bend = left - 2 * middle + right
            shift = 0.5 * (left - right) / bend if bend < -1e-9 else 0.0
        return float(LAGS[best]) + float(shift) / GRID_RATE

    @property
    def confidence(self) -> float:
        """By how much the best correlation stands above all that are over `GUARD` away; 0: another lag is as good."""
        away = np.abs(LAGS - LAGS[int(self.curve.argmax())]) > GUARD
        return max(0.0, self.peak - float(self.curve[away].max()))

    @property
    def sure(self) -> bool:
        """Whether `offset` can be relied on. A peak at the rim of what was searched is none."""
        inside = abs(self.offset) < REACH - 1.5 / GRID_RATE
        return inside and self.peak >= RELATED and self.confidence >= max(CERTAIN, CERTAIN_SECONDS / max(self.seconds, 1e-6))

    def near(self, offset: float, reach: float = 0.06) -> float:
        """The best correlation within `reach` seconds of an offset."""
        return float(self.curve[np.abs(LAGS - offset) <= reach + 1e-9].max())


def pooled(relations: Sequence[Relation]) -> Relation:
    """Several relations of one recording as one: the mean, weighted by seconds."""
    seconds = sum(relation.seconds for relation in relations)
    if not seconds:
        return Relation(np.zeros(len(LAGS)), 0.0)
    return Relation(sum(relation.seconds * relation.curve for relation in relations) / seconds, seconds)


@dataclass(frozen=True)
class SoundShape:
    """What the sound asks of a mouth, on a grid of `GRID_RATE` from the clip's first frame on."""

    opening: np.ndarray
    """float32 (m,), 0..1.15."""
    speaking: np.ndarray
    """float32 (m,), 0..1."""


def sound_shape(articulation: Articulation, samples: np.ndarray, sound_start: float, seconds: float) -> SoundShape:
    """Of samples float32 (k,) at 16 kHz that are heard from `sound_start` seconds after the first frame on."""
    grid = np.arange(int(np.ceil(seconds * GRID_RATE)) + 1) / GRID_RATE
    shape = articulation(samples, grid - sound_start)
    heard = (grid >= sound_start) & (grid <= sound_start + len(samples) / 16_000)
    return SoundShape(shape.opening * shape.activity * heard, shape.activity * heard)


@dataclass(frozen=True)
class MouthCurve:
    """A track's opening on the same grid."""

    first: int
    """Place on the grid of the first value."""
    opening: np.ndarray
    """float32 (k,), outer-eye distances in a frame without pose."""
    seen: np.ndarray
    """bool (k,)."""

    def part(self, begin: float, end: float) -> MouthCurve:
        """What lies between two times, seconds."""
        low = int(np.clip(np.ceil(begin * GRID_RATE - 1e-6) - self.first, 0, len(self.opening)))
        high = int(np.clip(np.floor(end * GRID_RATE + 1e-6) + 1 - self.first, low, len(self.opening)))
        return MouthCurve(self.first + low, self.opening[low:high], self.seen[low:high])

    @property
    def range(self) -> float:
        """5 % to 95 % of what was seen."""
        values = self.opening[self.seen]
        return float(np.diff(np.quantile(values, [0.05, 0.95]))[0]) if len(values) else 0.0


def mouth_curve(track: FaceTrack, usable: np.ndarray) -> MouthCurve:
    """A track's opening; `usable` bool (n,): rows that count."""
    first, last = int(np.ceil(track.times[0] * GRID_RATE)), int(np.floor(track.times[-1] * GRID_RATE))
    grid = np.arange(first, max(last, first) + 1) / GRID_RATE
    gap = measure(track.landmarks)["gap"]
    at = track.times[usable]
    seen = np.zeros(len(grid), bool)
    if len(at):
        place = np.clip(np.searchsorted(at, grid), 0, len(at) - 1)
        seen = np.minimum(np.abs(at[place] - grid), np.abs(at[np.maximum(place - 1, 0)] - grid)) < 0.06
    return MouthCurve(first, np.interp(grid, track.times, gap).astype(np.float32), seen)


def relate(mouth: MouthCurve, sound: SoundShape) -> Relation:
    """Correlation at every lag of `LAGS`, positive where the sound comes late (`training.articulation.real.best_lag`'s sign)."""
    seen = np.flatnonzero(mouth.seen)
    if len(seen) < 25:
        return Relation(np.zeros(len(LAGS)), 0.0)
    ours = mouth.opening[seen].astype(np.float64)
    ours -= ours.mean()
    spread = np.sqrt((ours**2).mean() + STILLNESS**2)
    reach = len(LAGS) // 2
    low = mouth.first - reach
    padded = np.pad(sound.opening, (max(0, -low), max(0, mouth.first + len(mouth.opening) + reach - len(sound.opening))))
    origin = mouth.first + max(0, -low)
    curve = np.zeros(len(LAGS))
    for i, lag in enumerate(range(-reach, reach + 1)):
        theirs = padded[origin + lag + seen].astype(np.float64)
        theirs -= theirs.mean()
        size = spread * np.sqrt((theirs**2).mean())
        curve[i] = (ours * theirs).mean() / size if size > 1e-9 else 0.0
    return Relation(curve, len(seen) / GRID_RATE)


def who_speaks(relations: Sequence[Relation], offset: float | None) -> int | None:
    """Which of several faces in one picture goes with the sound; None: unclear. `offset`: the clip's own, where it is known."""
    scores = [relation.near(offset) if offset is not None else relation.near(0.0, 0.3) for relation in relations]
    order = np.argsort(scores)[::-1]
    if scores[order[0]] < CHOSEN or (len(order) > 1 and scores[order[0]] - scores[order[1]] < AHEAD):
        return None
    return int(order[0])


