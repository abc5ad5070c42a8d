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
WINDOW = 0.2
"""Seconds (standard deviation of a Gaussian) over which lips and sound are compared: two syllables. The path below adds up what several
windows say; with 0.6 a change of speaker is seen late or early (0.89 right instead of 0.92). This constant and those below were chosen on
the clips that `benchmarks/speakers.py --constants` shows."""
STILLNESS = 0.015
"""Outer-eye distances added to the spread of an opening (talking: 0.03 to 0.09), so that the noise of lips at rest goes with nothing."""
FAINT = 0.02
"""The same for the heard opening, whose whole range is 1."""
LAGS = np.arange(-6, 7)
"""Values (40 ms) by which the sound may be late (or early) against the picture, all through a clip."""
AHEAD, GUARD, PLAIN = 0.55, 0.1, 0.35
"""By how much the mean agreement of whoever fits best must be ahead at the best lag of what it is at those over `GUARD` seconds away, times
the root of the seconds heard, to be believed; else there is no lag. Two people who take turns mostly reach 0.6 and more, shots of listeners
among them 0.5, and faces that somebody unseen talks over 0.51 at the best of 13. `PLAIN`: or the agreement itself; those two 0.36 and
0.27."""
MOVING = 0.15
"""Weight of how fast lips move, beside how well their movement goes with the sound."""
USUAL, BRIEF = 0.2, 0.1
"""Outer-eye distances a second that are half of a mover's weight (talking: 0.17 to 0.8; lips at rest, by the noise of landmarks: 0.05 to
0.17), and the seconds (standard deviation) over which they are counted."""
NOBODY = 0.27
"""What a face must reach to be taken for the speaker, rather than somebody unseen."""
SWITCH = 2.0
"""Cost of a change of speaker, in values' worth of score: a fifth of a second of clear advantage."""
LEAVE, RETURN = 8.0, 4.0
"""The same for a change from a face that is seen to nobody, and back: a word that lips and ear disagree on is no unseen speaker. Where
faces come or go (a cut) every change costs `SWITCH`."""
SHORTEST = 0.6
"""Seconds of a turn at least, unless the faces in the picture change within it: shorter ones are mistakes or an "mhm"."""
UNSEEN = -1.0
"""Score of somebody who is not in the picture."""
MARGIN, STEADY = 0.12, 0.4
"""Advantage in score, evened out over so many seconds (standard deviation), at which `Turns.confidence` is 0.73."""


@dataclass(frozen=True)
class Turns:
    """Who speaks when, `RATE` values a second."""

    speaker: np.ndarray
    """int (m,): an index of `people`, -1 = nobody who is seen."""
    scores: np.ndarray
    """float32 (m, people): how well each one's lips go with the sound, about 0 (not at all, or not seen) to 1."""
    voiced: np.ndarray
    """bool (m,): somebody speaks, by the sound in step with the picture."""
    confidence: np.ndarray
    """float32 (m,), 0..1: how far `speaker` is ahead of everybody else (0.5: another is as likely). In silence 0.5."""

    @property
    def times(self) -> np.ndarray:
        """float64 (m,): seconds from the clip's first frame."""
        return np.arange(len(self.speaker)) / RATE

    def speaks(self, person: int, time: float) -> bool:
        """Whether `person` has the word at `time` seconds; after the sound has ended, the last one keeps it."""
        if not len(self.speaker):
            return False
        return bool(self.speaker[min(max(0, round(time * RATE)), len(self.speaker) - 1)] == person)

    def spans(self) -> list[tuple[float, float, int]]:
        """(from, to, person), seconds, in order; moments in which nobody has the word are missing."""
        return [(begin / RATE, end / RATE, int(self.speaker[begin])) for begin, end in _runs(self.speaker) if self.speaker[begin] >= 0]


def turns(tracks: Sequence[FaceTrack], sound: np.ndarray, *, people: Sequence[Sequence[int]] | None = None,
          articulation: Articulation | None = None, check: Callable[[], None] = lambda: None) -> Turns:
    """`sound`: the source's, float32 (n,) at 16 kHz from the tracks' time 0; `people`: groups of track numbers, default each track alone.

    Where it is hard to tell the last speaker goes on, and so they do in pauses. Of two who speak at once the one is named whose lips go
    better with the sound. Where nobody's lips do, nobody is named: somebody unseen speaks.
    """
    people = [[track.track_id] for track in tracks] if people is None else people
    seconds = max([len(sound) / SPEECH_RATE, *(float(track.times[-1]) for track in tracks)])
    times = np.arange(round(seconds * RATE) + 1) / RATE
    heard = (articulation or NetArticulation())(np.asarray(sound, np.float32), times, check)
    voiced = heard.activity > 0.5
    openings, seen = _openings(tracks, people, times)
    late = _lateness(openings, seen, heard.opening, voiced, check)
    voiced = _shifted(voiced, late)
    scores = _scores(openings, seen, _shifted(heard.opening, late))
    check()
    speaker = _lasting(_best_path(scores, seen, voiced), scores, seen, voiced)
    return Turns(speaker, scores.T.astype(np.float32), voiced, _confidence(speaker, scores, seen, voiced))


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


def _lateness(openings: np.ndarray, seen: np.ndarray, heard: np.ndarray, voiced: np.ndarray, check: Callable[[], None]) -> int:
    """By how many values the sound is late against the picture (early: < 0); 0 where it can't be told."""
    if not len(openings) or not voiced.any():
        return 0
    fits = np.zeros(len(LAGS))
    for i, lag in enumerate(LAGS):
        check()
        late = _shifted(heard, lag)
        agreement = np.stack([_agreement(opening, late, here) for opening, here in zip(openings, seen)])
        fits[i] = np.where(seen, agreement, 0).max(0)[voiced].mean()
    best = int(fits.argmax())
    ahead = fits[best] - fits[np.abs(LAGS - LAGS[best]) > GUARD * RATE].max()
    return int(LAGS[best]) if fits[best] > PLAIN or ahead * np.sqrt(voiced.sum() / RATE) > AHEAD else 0


def _scores(openings: np.ndarray, seen: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """(people, m): agreement of lips with the sound, and how much they move; 0 for who is not seen."""
    scores = np.zeros(openings.shape)
    for i, (opening, here) in enumerate(zip(openings, seen)):
        speed = _speed(opening, here)
        scores[i, here] = (_agreement(opening, heard, here) + MOVING * speed / (speed + USUAL))[here]
    return scores


def _shifted(values: np.ndarray, places: int) -> np.ndarray:
    """`values` (m,), `places` earlier; 0 (False) beyond the ends."""
    if places < 0:
        return np.pad(values, (-places, 0))[:len(values)]
    return np.pad(values, (0, places))[places:]


def _local(values: np.ndarray, weight: np.ndarray, reach: float = WINDOW) -> np.ndarray:
    """Mean of `values` nearby (Gaussian, standard deviation `reach` seconds), where there is weight."""
    at = np.arange(-round(2.5 * reach * RATE), round(2.5 * reach * RATE) + 1) / RATE
    kernel, half = np.exp(-0.5 * (at / reach) ** 2), len(at) // 2
    total = np.convolve(np.pad(values * weight, half), kernel, mode="valid")
    return total / np.maximum(np.convolve(np.pad(weight, half), kernel, mode="valid"), 1e-6)


def _agreement(opening: np.ndarray, heard: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Correlation nearby, damped for lips that hardly move, (m,)."""
    weight = here.astype(float)
    a, b = opening - _local(opening, weight), heard - _local(heard, weight)
    both = _local(a * b, weight)
    spread_a, spread_b = np.sqrt(_local(a * a, weight)), np.sqrt(_local(b * b, weight))
    return both / ((spread_a + STILLNESS) * (spread_b + FAINT))


def _speed(opening: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Outer-eye distances a second, (m,)."""
    both = np.pad(here[1:] & here[:-1], (1, 0)).astype(float)
    return _local(np.abs(np.diff(opening, prepend=opening[:1])) * RATE, both, BRIEF)


def _best_path(scores: np.ndarray, seen: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Viterbi over people and nobody: int (m,). What is not voiced says nothing, so that the last speaker goes on."""
    count, length = scores.shape
    gain = np.concatenate([np.where(seen, scores, UNSEEN), np.full((1, length), NOBODY)])
    gain = np.where(voiced | np.pad(~seen, ((0, 1), (0, 0))), gain, 0.0)
    cost = np.full((count + 1, count + 1), SWITCH)
    cost[:-1, -1], cost[-1, :-1] = LEAVE, RETURN
    np.fill_diagonal(cost, 0)
    at_cut = np.minimum(cost, SWITCH)
    cut = np.pad((seen[:, 1:] != seen[:, :-1]).any(0), (1, 0)) if length else np.zeros(0, bool)
    total, back = np.zeros(count + 1), np.zeros((length, count + 1), np.int16)
    for moment in range(length):
        come = total[:, None] - (at_cut if cut[moment] else cost)
        back[moment] = come.argmax(0)
        total = come.max(0) + gain[:, moment]
    path = np.zeros(length, int)
    state = int(total.argmax())
    for moment in range(length - 1, -1, -1):
        path[moment] = state
        state = int(back[moment, state])
    return np.where(path == count, -1, path)


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """(begin, end) of runs of equal values (m,), in order."""
    bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(begin, end) for begin, end in zip(bounds, bounds[1:]) if end > begin]


def _lasting(speaker: np.ndarray, scores: np.ndarray, seen: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Turns under `SHORTEST` go to whichever neighbour fits better, the shortest first; those that a cut bounds stay."""
    speaker = speaker.copy()
    gain = np.concatenate([np.where(seen, scores, UNSEEN), np.full((1, len(speaker)), NOBODY)]) * voiced
    same = np.pad((seen[:, 1:] == seen[:, :-1]).all(0), (1, 0)) if len(speaker) else np.zeros(0, bool)
    while True:
        found = [(end - begin, begin, end) for begin, end in _runs(speaker) if end - begin < round(SHORTEST * RATE)
                 and begin > 0 and end < len(speaker) and same[begin:end + 1].all()]
        if not found:
            return speaker
        _, begin, end = min(found)
        before, after = int(speaker[begin - 1]), int(speaker[end])
        speaker[begin:end] = max((before, after), key=lambda who: float(gain[who, begin:end].sum()))


def _confidence(speaker: np.ndarray, scores: np.ndarray, seen: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """float32 (m,), see `Turns.confidence`."""
    length = len(speaker)
    gain = np.concatenate([np.where(seen, scores, UNSEEN), np.full((1, length), NOBODY)])
    named, moments = np.where(speaker < 0, len(gain) - 1, speaker), np.arange(length)
    mine = gain[named, moments].copy()
    gain[named, moments] = -np.inf
    ahead = np.clip(mine - np.maximum(gain.max(0), UNSEEN), -1, 1)
    ahead = np.where(voiced, _local(ahead, voiced.astype(float), STEADY), 0.0)
    return (1 / (1 + np.exp(-ahead / MARGIN))).astype(np.float32)
