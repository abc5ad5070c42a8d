"""Who speaks in the source: lips against sound. The lips are what the built-in ear hears in the demo's sentence, with mistakes put in."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from lipsync_core.demo import SPEECH
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.speaking import RATE, SHORTEST, Turns, turns
from lipsync_core.types import SPEECH_RATE, FaceTrack

HALF = 3.0
"""Seconds of each turn."""


@pytest.fixture(scope="module")
def ear() -> NetArticulation:
    return NetArticulation()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Six seconds of speech, 16 kHz."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == SPEECH_RATE
    return np.resize(speech, round(2 * HALF * rate)).astype(np.float32)


def times(first: float = 0.0, end: float = 2 * HALF) -> np.ndarray:
    return np.arange(round(first * 25), round(end * 25)) / 25


def track(number: int, opening: np.ndarray, at: np.ndarray) -> FaceTrack:
    """A face of 100 pixels between the eyes whose lips are `opening` (n,), outer-eye distances, apart at times `at`."""
    points = np.tile(np.random.default_rng(number).uniform(0, 100, (1, 68, 2)), (len(at), 1, 1))
    points[:, 36], points[:, 45] = (0, 0), (100, 0)
    points[:, 62] = (50, 60)
    points[:, 66] = np.stack([np.full(len(at), 50), 60 + 100 * np.maximum(opening, 0)], 1)
    boxes = np.concatenate([points.min(1), points.max(1)], 1)
    ones = np.ones(len(at), np.float32)
    return FaceTrack(np.rint(at * 25).astype(int), at, boxes.astype(np.float32), points.astype(np.float32), ones,
                     np.zeros((len(at), 3), np.float32), ones, number)


def lips(heard: np.ndarray, seed: int) -> np.ndarray:
    """True to the sound but for noise, as landmarks are."""
    return 0.15 * heard + np.random.default_rng(seed).normal(0, 0.008, len(heard))


def right(said: Turns, truth: np.ndarray) -> float:
    """Share of the voiced moments."""
    count = min(len(truth), len(said.speaker))
    voiced = said.voiced[:count]
    return float((said.speaker[:count] == truth[:count])[voiced].mean())


@pytest.mark.parametrize("other", ["still", "talking", "seen elsewhere"])
def test_two_people_in_turn(other: str, sound: np.ndarray, ear: NetArticulation) -> None:
    """First the one, then the other; who does not speak is still, says something else, or is not in the picture."""
    at = times()
    heard = ear(sound, at).opening
    first = at < HALF
    babble = ear(np.roll(sound, 40_000)[::-1].copy(), at).opening
    idle = {"still": np.zeros(len(at)), "talking": babble, "seen elsewhere": heard}[other]
    people = [track(0, lips(np.where(first, heard, idle), 1), at), track(1, lips(np.where(first, idle, heard), 2), at)]
    if other == "seen elsewhere":
        people = [track(0, lips(heard, 1)[first], at[first]), track(1, lips(heard, 2)[~first], at[~first])]
    said = turns(people, sound, articulation=ear)
    assert right(said, np.where(first, 0, 1)) > 0.9
    spans = said.spans()
    assert [person for *_, person in spans] == [0, 1] and abs(spans[0][1] - HALF) < 0.5
    assert said.speaks(0, 1.0) and said.speaks(1, 5.0) and not said.speaks(1, 1.0)
    assert said.speaks(1, 60.0)                                       # after the sound: the last one keeps the word


def test_a_person_may_have_several_tracks(sound: np.ndarray, ear: NetArticulation) -> None:
    at = times()
    heard = ear(sound, at).opening
    parts = [track(i, lips(heard, i)[part], at[part]) for i, part in enumerate((at < 2, (at >= 2) & (at < 4), at >= 4))]
    said = turns(parts, sound, people=[[0, 2], [1]], articulation=ear)
    assert right(said, np.where((at >= 2) & (at < 4), 1, 0)) > 0.9


def test_somebody_unseen_speaks(sound: np.ndarray, ear: NetArticulation) -> None:
    """The only face in the picture keeps its lips still."""
    said = turns([track(0, lips(np.zeros(150), 1), times())], sound, articulation=ear)
    assert right(said, np.full(150, -1)) > 0.9 and not any(said.speaks(0, t) for t in (1.0, 3.0, 5.0))


@pytest.mark.parametrize("late", [-0.2, 0.2])
def test_sound_that_is_late_or_early(late: float, sound: np.ndarray, ear: NetArticulation) -> None:
    """Both talk all the time; the lag is found from who fits, and turns are in step with the picture."""
    at = times()
    heard, babble = ear(sound, at).opening, ear(np.roll(sound, 40_000)[::-1].copy(), at).opening
    first = at < HALF
    moved = round(late * SPEECH_RATE)
    shifted = np.pad(sound, (moved, 0)) if moved > 0 else sound[-moved:].copy()
    people = [track(0, lips(np.where(first, heard, babble), 1), at), track(1, lips(np.where(first, babble, heard), 2), at)]
    said = turns(people, shifted, articulation=ear)
    assert right(said, np.where(first, 0, 1)) > 0.9 and abs(said.spans()[0][1] - HALF) < 0.5


def test_the_only_one_in_the_picture(sound: np.ndarray, ear: NetArticulation) -> None:
    """Whose lips move with the sound is named from the first word on; where they fall still while it goes on, somebody unseen speaks."""
    at = times()
    heard = ear(sound, at).opening
    assert right(turns([track(7, lips(heard, 1), at)], sound, articulation=ear), np.zeros(len(at))) == 1
    first = at < HALF
    said = turns([track(7, lips(np.where(first, heard, heard[first][-1]), 1), at)], sound, articulation=ear)
    assert right(said, np.where(first, 0, -1)) > 0.9


def test_only_who_is_seen_is_named(sound: np.ndarray, ear: NetArticulation) -> None:
    """The speaker is seen in the first two seconds and the last two; the listener, who is still, between them."""
    at = times()
    heard = ear(sound, at).opening
    ends, between = (at < 2) | (at >= 4), (at >= 2) & (at < 4)
    listener = track(1, lips(np.zeros(len(at)), 2)[between], at[between])
    said = turns([track(0, lips(heard, 1)[ends], at[ends]), listener], sound, articulation=ear)
    assert right(said, np.where(ends, 0, -1)) > 0.9 and not (said.scores[:len(at), 0][between][2:-2] != 0).any()


def test_a_turn_lasts_a_while(sound: np.ndarray, ear: NetArticulation) -> None:
    """A syllable of the other's in the middle of somebody's words is no turn; nor is who speaks torn between two who fit as well."""
    at = times()
    heard = ear(sound, at).opening
    brief = (at >= 2) & (at < 2.3)
    people = [track(0, lips(np.where(brief, 0, heard), 1), at), track(1, lips(np.where(brief, heard, 0), 2), at)]
    assert [person for *_, person in turns(people, sound, articulation=ear).spans()] == [0]
    both = turns([track(0, lips(heard, 1), at), track(1, lips(heard, 2), at)], sound, articulation=ear)
    assert all(end - begin >= SHORTEST for begin, end, _ in both.spans()) and both.spans()


def test_confidence_and_times(sound: np.ndarray, ear: NetArticulation) -> None:
    """Sure beside somebody still, unsure between two who say the same, neither in silence."""
    at = times()
    heard = ear(sound, at).opening
    one, same, still = (track(i, lips(curve, i), at) for i, curve in enumerate((heard, heard, np.zeros(len(at)))))
    sure, unsure = (turns([one, other], sound, articulation=ear) for other in (still, same))
    assert sure.confidence[sure.voiced].mean() > 0.85 > 0.7 > unsure.confidence[unsure.voiced].mean()
    assert np.allclose(sure.times, np.arange(len(sure.speaker)) / RATE) and sure.confidence.shape == sure.voiced.shape == sure.times.shape
    silent = turns([one, still], np.zeros_like(sound), articulation=ear)
    assert np.allclose(silent.confidence, 0.5)


def test_in_silence_the_last_speaker_goes_on(sound: np.ndarray, ear: NetArticulation) -> None:
    quiet = sound.copy()
    quiet[round(2.5 * SPEECH_RATE):] = 0
    at = times()
    heard = ear(quiet, at).opening
    said = turns([track(0, lips(heard, 1), at), track(1, lips(np.zeros(len(at)), 2), at)], quiet, articulation=ear)
    assert [person for *_, person in said.spans()] == [0] and said.speaks(0, 5.5)


def test_no_sound_and_nobody(sound: np.ndarray, ear: NetArticulation) -> None:
    silent = turns([track(0, lips(np.zeros(150), 1), times())], np.zeros(len(sound), np.float32), articulation=ear)
    assert not silent.voiced.any() and len(silent.speaker) == round(2 * HALF * RATE) + 1
    assert turns([], sound, articulation=ear).spans() == [] and turns([], np.zeros(0, np.float32), articulation=ear).spans() == []
