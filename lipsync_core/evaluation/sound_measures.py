"""What the mouth does that the driving sound does not ask for."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..dsp import band_levels, speech_activity
from .curves import Curves, resample
from .truth_measures import best_lag, grid_of, moves, pearson

SILENT = 0.05
"""Speech activity, 0..1, below which it is silent."""
EDGE = 0.2
"""Seconds around speech that do not count: lips open up to 200 ms before the first sound and take as long to come to rest."""
MOVING_SPEED = 0.2
"""Outer-eye distances a second: the median of talking mouths (four clips of ../shared/media: 0.18 to 0.28; nine tenths reach 0.6
to 1.3), ten times what smoothed landmarks say of a still, shut mouth (0.02)."""
MOVING_AWAY = 0.03
"""Outer-eye distances (2.7 mm on an adult, at 90 mm) off the passage's own middle: twice what breathing does, a third of a syllable."""
SAME_SOUND = 0.9
"""Two sound tracks whose levels over time correlate above this are the same recording."""


class Sound:
    """Levels and speech activity of the driving sound on a grid of 100 Hz; time 0 is the first frame of the dubbed clip."""

    RATE = 100.0

    def __init__(self, samples: np.ndarray, start: float = 0.0) -> None:
        """`samples` float32 mono at 16 kHz, the first of which is heard `start` seconds after the first frame."""
        levels = band_levels(samples, rate=self.RATE)
        self.start, self.seconds = start, len(samples) / 16_000
        self.times = start + np.arange(len(levels)) / self.RATE
        self.level = 10 * np.log10((10 ** (levels / 10)).mean(1))
        """float (n,), dB."""
        self.activity = speech_activity(levels, self.RATE)
        """float (n,), 0..1."""

    def silent_at(self, times: np.ndarray) -> np.ndarray:
        """bool (n,): nobody speaks at these times nor within `EDGE` of them. Outside the recording it is silent."""
        offsets = np.arange(-round(EDGE * self.RATE), round(EDGE * self.RATE) + 1) / self.RATE
        if not len(self.times):
            return np.ones(len(times), bool)
        around = np.interp(times[:, None] + offsets, self.times, self.activity, left=0.0, right=0.0)
        return around.max(1) < SILENT


def spoken_correlation(dub: Curves, truth: Curves, sound: Sound) -> float | None:
    """Pearson's r of the dub's and the truth's opening while somebody speaks, at its best lag within 0.3 s.

    0.6 and more is the aim. Between sentences people breathe with open mouths, which no sound tells: this is the number for what can
    be told, `best_lag`'s the one for everything that is seen. Fooled by what fools `best_lag`.
    """
    spoken = np.interp(dub.times, sound.times, sound.activity, left=0.0, right=0.0) > 0.5
    if spoken.sum() < 20 or not moves(dub.opening):
        return None if spoken.sum() < 20 else 0.0
    return best_lag(dataclasses.replace(dub, opening=np.where(spoken, dub.opening, np.nan)), truth)[1]


def leak(dub: Curves, sound: Sound) -> tuple[float | None, int]:
    """Share of the silent frames in which the lips move, in %, and the number of silent frames; None with fewer than 5 of them.

    A frame is silent if nobody speaks within 200 ms of it. Its lips move if the opening changes faster than 0.2 outer-eye distances
    a second (`MOVING_SPEED`), or is more than 0.03 from the middle of its silent passage (`MOVING_AWAY`). Up to 3 is good. Fooled by
    sound that is no speech (music counts as speech, so nothing is silent), by a generator that is told to keep the source's own
    mouth in pauses, and by real people, who lick their lips and breathe in: the truth's own share is reported beside it.
    """
    values, times = dub.opening, dub.times
    seen = np.isfinite(values)
    silent = sound.silent_at(times) & seen
    if silent.sum() < 5 or seen.sum() < 5:
        return None, int(silent.sum())
    speed = np.full(len(values), np.nan)
    speed[seen] = np.gradient(values[seen], times[seen])
    moving = np.abs(speed) > MOVING_SPEED
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2]):
        moving[begin:end] |= np.abs(values[begin:end] - np.median(values[begin:end])) > MOVING_AWAY
    return 100 * float(moving[silent].mean()), int(silent.sum())


def leftover(dub: Curves, source: Curves) -> tuple[float | None, int]:
    """Pearson's r of the dub's opening with the source's own at the same time, under foreign sound, and the number of frames.

    0 is wanted, up to 0.15 either way is good; 1 is the source's own mouth. Meaningless where the sound is the source's own. Fooled
    by chance: over a few seconds two unrelated mouths reach 0.2 to 0.3 (see `leftover_chance`), so take the median of several clips.
    """
    if not moves(dub.opening):
        return 0.0, 0
    grid = grid_of(dub, source)
    a, b = resample(dub.times, dub.opening, grid), resample(source.times, source.opening, grid)
    frames = int((np.isfinite(resample(source.times, source.opening, dub.times)) & np.isfinite(dub.opening)).sum())
    return pearson(a, b), frames


def leftover_chance(dub: Curves, source: Curves) -> float | None:
    """What `leftover` would be by chance: the |r| that 95 of 100 wrong pairings stay under, the source's opening turned round against
    the dub's by half a second and more. A `leftover` below it says nothing.

    The smaller, the more the clip can tell: 0.1 over a minute, 0.3 over 4 s. Fooled by speech whose pauses repeat in the clip.
    """
    grid = grid_of(dub, source)
    a, b = resample(dub.times, dub.opening, grid), resample(source.times, source.opening, grid)
    scores = [pearson(a, np.roll(b, shift)) for shift in range(50, len(grid) - 49, 10)]
    known = [abs(score) for score in scores if score is not None]
    return float(np.quantile(known, 0.95)) if len(known) >= 5 else None


def same_sound(a: Sound, b: Sound) -> bool:
    """Whether two sounds are one recording, by their levels over time, up to 50 ms apart."""
    best = 0.0
    for shift in range(-5, 6):
        count = min(len(a.level), len(b.level)) - abs(shift)
        if count > 50:
            x, y = a.level[max(0, shift):][:count], b.level[max(0, -shift):][:count]
            best = max(best, pearson(np.maximum(x, x.max() - 60), np.maximum(y, y.max() - 60)) or 0.0)
    return best > SAME_SOUND
