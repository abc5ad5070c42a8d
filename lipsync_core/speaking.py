"""Who speaks in the source at each moment: told from everybody's lips and the source's own sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .faces.geometry import mouth_opening
from .generators.morph.articulation import Articulation, NetArticulation
from .types import SPEECH_RATE, FaceTrack

RATE = 25.0
"""Values a second."""
WINDOW = 0.3
"""Seconds (standard deviation of a Gaussian) over which lips and sound are compared: two or three syllables. With 1.0 a change of speaker
is seen half a second late or early (85 % right instead of 94)."""
STILLNESS = 0.015
"""Outer-eye distances added to the spread of an opening (talking: 0.03 to 0.09), so that the noise of lips at rest goes with nothing."""
LAGS = np.arange(-6, 7) / RATE
"""Seconds by which the sound may be late (or early) against the picture, all through a clip."""
MOVING = 0.15
"""Weight of how much lips move, beside how well their movement goes with the sound."""
USUAL = 0.03
"""Spread of an opening, outer-eye distances, that is half of a talker's weight."""
NOBODY = 0.22
"""What a face must reach to be taken for the speaker, rather than somebody unseen."""
SWITCH = 4.0
"""Cost of a change of speaker, in values' worth of score: a third of a second of clear advantage."""
UNSEEN = -1.0
"""Score of somebody who is not in the picture."""


@dataclass(frozen=True)
class Turns:
    """Who speaks when, `RATE` values a second."""

    speaker: np.ndarray
    """int (m,): an index of `people`, -1 = nobody who is seen."""
    scores: np.ndarray
    """float32 (m, people): how well each one's lips go with the sound, about 0 (not at all) to 1."""
    voiced: np.ndarray
    """bool (m,): somebody speaks."""

    def speaks(self, person: int, time: float) -> bool:
        """Whether `person` has the word at `time` seconds; after the sound has ended, the last one keeps it."""
        if not len(self.speaker):
            return False
        return bool(self.speaker[min(max(0, round(time * RATE)), len(self.speaker) - 1)] == person)

    def spans(self) -> list[tuple[float, float, int]]:
        """(from, to, person), seconds, in order; moments in which nobody has the word are missing."""
        edges = np.flatnonzero(np.diff(self.speaker)) + 1
        bounds = [0, *edges.tolist(), len(self.speaker)]
        return [(begin / RATE, end / RATE, int(self.speaker[begin])) for begin, end in zip(bounds, bounds[1:])
                if end > begin and self.speaker[begin] >= 0]


def turns(tracks: Sequence[FaceTrack], sound: np.ndarray, *, people: Sequence[Sequence[int]] | None = None,
          articulation: Articulation | None = None, check: Callable[[], None] = lambda: None) -> Turns:
    """`sound`: the source's, float32 (n,) at 16 kHz from the tracks' time 0; `people`: groups of track numbers, default each track alone.

    Where it is hard to tell the last speaker goes on. Of two who speak at once one is named.
    """
    people = [[track.track_id] for track in tracks] if people is None else people
    seconds = max([len(sound) / SPEECH_RATE, *(float(track.times[-1]) for track in tracks)])
    times = np.arange(round(seconds * RATE) + 1) / RATE
    heard = (articulation or NetArticulation())(np.asarray(sound, np.float32), times, check)
    voiced = heard.activity > 0.5
    openings, seen = _openings(tracks, people, times)
    scores = _scores(openings, seen, heard.opening, voiced)
    return Turns(_best_path(scores, seen, voiced), scores.T.astype(np.float32), voiced)


def _openings(tracks: Sequence[FaceTrack], people: Sequence[Sequence[int]], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each person's opening (people, m) in outer-eye distances, and whether they are seen."""
    openings, seen = np.zeros((len(people), len(times))), np.zeros((len(people), len(times)), bool)
    by_number = {track.track_id: track for track in tracks}
    for i, numbers in enumerate(people):
        for track in (by_number[number] for number in numbers):
            step = float(np.median(np.diff(track.times))) if len(track) > 1 else 1 / RATE
            nearest = np.clip(np.searchsorted(track.times, times), 0, len(track) - 1)
            before = np.maximum(nearest - 1, 0)
            away = np.minimum(np.abs(track.times[nearest] - times), np.abs(track.times[before] - times))
            here = away <= max(step, 1 / RATE)
            openings[i, here] = np.interp(times, track.times, mouth_opening(track.landmarks))[here]
            seen[i] |= here
    return openings, seen


def _scores(openings: np.ndarray, seen: np.ndarray, heard: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """(people, m): agreement of lips with the sound at the clip's own lag, and how much they move."""
    if not len(openings):
        return np.zeros((0, len(heard)))
    best, most = None, -np.inf
    for lag in LAGS:
        late = np.roll(heard, -round(lag * RATE))
        agreement = np.stack([_agreement(opening, late, here) for opening, here in zip(openings, seen)])
        total = float(np.where(seen, agreement, -1).max(0)[voiced].mean()) - 0.05 * abs(lag) if voiced.any() else 0.0
        if total > most:
            best, most = agreement, total
    spread = np.stack([_spread(opening, here) for opening, here in zip(openings, seen)])
    return best + MOVING * spread / (spread + USUAL)


def _kernel() -> np.ndarray:
    reach = np.arange(-round(2.5 * WINDOW * RATE), round(2.5 * WINDOW * RATE) + 1) / RATE
    return np.exp(-0.5 * (reach / WINDOW) ** 2)


def _local(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean of `values` nearby, where there is weight."""
    kernel = _kernel()
    half = len(kernel) // 2
    total = np.convolve(np.pad(values * weight, half), kernel, mode="valid")
    return total / np.maximum(np.convolve(np.pad(weight, half), kernel, mode="valid"), 1e-6)


def _agreement(opening: np.ndarray, heard: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Correlation nearby, damped for lips that hardly move, (m,)."""
    weight = here.astype(float)
    a, b = opening - _local(opening, weight), heard - _local(heard, weight)
    both = _local(a * b, weight)
    spread_a, spread_b = np.sqrt(_local(a * a, weight)), np.sqrt(_local(b * b, weight))
    return both / ((spread_a + STILLNESS) * (spread_b + 0.02))


def _spread(opening: np.ndarray, here: np.ndarray) -> np.ndarray:
    weight = here.astype(float)
    return np.sqrt(_local((opening - _local(opening, weight)) ** 2, weight))


def _best_path(scores: np.ndarray, seen: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Viterbi over people and nobody: int (m,). What is not voiced says nothing, so that the last speaker goes on."""
    count, length = scores.shape
    gain = np.concatenate([np.where(seen, scores, UNSEEN), np.full((1, length), NOBODY)])
    gain = np.where(voiced | np.pad(~seen, ((0, 1), (0, 0))), gain, 0.0)
    total, back = np.zeros(count + 1), np.zeros((length, count + 1), int)
    for moment in range(length):
        best = int(total.argmax())
        stay = total >= total[best] - SWITCH
        back[moment] = np.where(stay, np.arange(count + 1), best)
        total = np.where(stay, total, total[best] - SWITCH) + gain[:, moment]
    path = np.zeros(length, int)
    state = int(total.argmax())
    for moment in range(length - 1, -1, -1):
        path[moment] = state
        state = int(back[moment, state])
    return np.where(path == count, -1, path)
