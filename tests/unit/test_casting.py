"""Who says what: voices and speaker data on tracks."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.casting import Line, Voices, cast, from_left, on_time, tracks_of
from lipsync_core.errors import LipSyncError
from lipsync_core.faces import parse_face_rule
from lipsync_core.gates import RAMP, softened, widened
from lipsync_core.marks import as_speakers, mark
from lipsync_core.speaker_file import FrameSpeakers, Speaker, parse_speakers, speakers_text
from lipsync_core.types import FaceTrack, Speech

RATE = 25
SIZE = (640, 360)
LEFT, RIGHT = (100.0, 100.0, 180.0, 180.0), (400.0, 90.0, 500.0, 190.0)


def track(number: int, box: tuple[float, ...], first: int = 0, frames: int = 100) -> FaceTrack:
    numbers = np.arange(first, first + frames)
    boxes = np.repeat(np.array([box], np.float32), frames, 0)
    points = boxes[:, None, :2] + np.random.default_rng(number).uniform(0, 1, (1, 68, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    return FaceTrack(numbers, numbers / RATE, boxes, points.astype(np.float32), np.ones(frames, np.float32),
                     np.zeros((frames, 3), np.float32), np.ones(frames, np.float32), number)


def says(level: float, seconds: float = 4.0) -> Speech:
    """A recording that is told by its level."""
    return Speech(np.full(round(16_000 * seconds), level, np.float32))


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


def boxed(box: tuple[float, ...], **what: object) -> Speaker:
    return Speaker((box[0], box[1], box[2] - box[0], box[3] - box[1]), **what)


def test_gates_end_where_they_must_and_fade_beside_it() -> None:
    times = np.arange(100) / RATE
    gate = np.where((times >= 1) & (times < 2), 0.0, 1.0)
    soft = softened(gate, times)
    assert (soft[gate == 0] == 0).all() and (soft <= gate).all() and (np.abs(np.diff(soft)) < 0.4).all()
    assert (soft[(times < 1 - RAMP) | (times > 2 + RAMP)] == 1).all()
    turn = 1 - gate
    given = softened(widened(turn, times), times)
    assert (given[turn == 1] == 1).all() and (given[(times < 1 - 2 * RAMP - 0.05) | (times > 2 + 2 * RAMP + 0.05)] == 0).all()
    assert softened(gate[:0], times[:0]).shape == (0,) and softened(gate[:1], times[:1]).tolist() == [1.0]
    assert (softened(np.full(100, 0.25), times) == 0.25).all()                          # how much, not only whether


def test_who_is_a_person_in_later_shots_too() -> None:
    """An interview: two people who are never in one picture, each in two shots."""
    tracks = [track(0, RIGHT, 0), track(1, LEFT, 100), track(2, RIGHT, 200), track(3, LEFT, 300)]
    people = from_left([[0, 2], [1, 3]], tracks)
    assert people == [[1, 3], [0, 2]]
    assert tracks_of(0, tracks, people) == {1, 3} and tracks_of(1, tracks, people) == {0, 2} and tracks_of(2, tracks, people) == set()
    assert tracks_of((450.0, 140.0), tracks, people) == {0, 2}
    assert tracks_of("#1+#2", tracks, people) == {1, 2} and tracks_of("#9", tracks, people) == set()
    assert tracks_of("all", tracks, people) == {0, 1, 2, 3} and tracks_of("S1", tracks, people) == set()
    assert parse_face_rule("#2+5") == "#2+5" and tracks_of("#2+5", tracks, people) == {2}


def test_each_voice_has_its_own_mouth() -> None:
    tracks = [track(0, LEFT), track(1, RIGHT)]
    lines = [Line(0, says(0.1)), Line(1, says(0.2))]
    roles = cast(tracks, lines, [{0}, {1}], None, silent)
    assert [(role.track.track_id, role.lines) for role in roles] == [(0, (0,)), (1, (1,))]
    assert [round(float(role.speech.samples[0]), 3) for role in roles] == [0.1, 0.2]
    both = cast(tracks, lines, [{0}, {0}], None, silent)                                # one person, two recordings
    assert len(both) == 1 and np.allclose(both[0].speech.samples, 0.3)
    said: list[str] = []
    assert len(cast(tracks, [*lines, Line(7, says(0.3), "the voice 7 (eva.wav)")], [{0}, {1}, set()], None, said.append)) == 2
    assert len(said) == 1 and "eva.wav" in said[0]


def test_a_voice_that_begins_later() -> None:
    speech = Speech(np.arange(1, 32_001, dtype=np.float32))
    later, earlier = on_time(speech, 0.5), on_time(speech, -0.5)
    assert (later.samples[:8000] == 0).all() and later.samples[8000] == 1 and len(later.samples) == 40_000
    assert earlier.samples[0] == 8001 and on_time(speech, 0) is speech
    with pytest.raises(LipSyncError, match="can't begin"):
        on_time(speech, float("nan"))


def test_the_same_recordings_are_put_together_once() -> None:
    voices = Voices([Line(0, says(0.1)), Line(1, says(0.2, 2.0))])
    assert voices.together((0, 1)) is voices.together((0, 1)) and len(voices.together((0, 1)).samples) == 64_000


def test_speaker_data_say_who_speaks_when() -> None:
    """The left one in the first two seconds, the right one afterwards; then the frames are bypassed."""
    tracks = [track(0, LEFT), track(1, RIGHT)]
    data = [FrameSpeakers((boxed(LEFT, speaker_id=4, speaking=i < 50), boxed(RIGHT, speaker_id=2, speaking=i >= 50)), float(i >= 90))
            for i in range(100)]
    marks = mark(tracks, data, {0, 1}, warn=silent)
    assert marks[0].ids.tolist() == [4] * 100 and marks[1].ids[0] == 2
    roles = cast(tracks, [Line("largest", says(0.5))], [{0, 1}], marks, silent)
    left, right = (role.track.activation for role in roles)
    assert (left[:50] == 1).all() and (left[62:] == 0).all() and (right[50:80] == 1).all() and (right[:38] == 0).all()
    assert (right[90:] == 0).all() and 0 < right[87] < 1
    assert all(role.speech is roles[0].speech for role in roles)


def test_speaker_data_name_voices() -> None:
    """By id and by name, the other way round half-way: a track says one recording after the other, and is drawn once."""
    tracks = [track(0, LEFT), track(1, RIGHT)]
    data = [FrameSpeakers((boxed(LEFT, speaker_id=1 if i < 50 else 2), boxed(RIGHT, voice="Anna"))) for i in range(100)]
    lines = [Line("S1", says(0.1)), Line("S2", says(0.2)), Line("Anna", says(0.3))]
    roles = cast(tracks, lines, [set(), set(), set()], mark(tracks, data, set(), warn=silent), silent)
    assert [role.lines for role in roles] == [(0, 1), (2,)] and np.allclose(roles[1].speech.samples, 0.3)
    samples = roles[0].speech.samples
    assert np.allclose(samples[:31_000], 0.1) and np.allclose(samples[33_000:], 0.2) and samples.min() > 0.09


def test_where_the_data_say_nothing_the_usual_face_speaks() -> None:
    tracks = [track(0, LEFT), track(1, RIGHT)]
    empty, zeros = FrameSpeakers(), FrameSpeakers((Speaker(None),))
    marks = mark(tracks, [empty] * 30 + [zeros] * 30, {1}, warn=silent)                 # and 40 frames of which there is no entry
    assert marks[0].speaking.sum() == 0 and marks[1].speaking.all()
    nobody = mark(tracks, [FrameSpeakers((Speaker(None, None, False),))] * 100, {1}, warn=silent)
    assert nobody[1].speaking.sum() == 0
    listed = mark(tracks, [FrameSpeakers((boxed(LEFT),))] * 100, {0, 1}, warn=silent)   # who is not in the list does not speak
    assert listed[0].speaking.all() and not listed[1].speaking.any()


def test_entries_are_counted_from_the_first_frame_of_the_video() -> None:
    data = [FrameSpeakers((boxed(LEFT, speaking=i >= 40),)) for i in range(100)]
    marks = mark([track(0, LEFT, frames=60)], data, {0}, first=30, warn=silent)
    assert marks[0].speaking.tolist() == [0.0] * 10 + [1.0] * 50


def test_a_speaker_without_a_face_is_said_once() -> None:
    said: list[str] = []
    mark([track(0, LEFT)], [FrameSpeakers((boxed(LEFT), boxed((600, 300, 620, 330))))] * 100, {0}, warn=said.append)
    assert len(said) == 1 and "100 frame(s)" in said[0] and "frame 0" in said[0]


def test_tracks_become_speaker_data_and_come_back() -> None:
    tracks = [track(0, LEFT), track(1, RIGHT), track(2, (0.0, 0.0, 60.0, 50.0), 50, 30)]
    data = as_speakers(tracks, [[0, 2], [1]], 100, SIZE, lambda person, time: (time < 2) == (person == 0))
    assert len(data) == 100 and [one.speaker_id for one in data[60].speakers] == [0, 0, 1]
    for frame in data:
        for one in frame.speakers:
            x, y, width, height = one.box
            assert x >= 0 and y >= 0 and x + width <= SIZE[0] and y + height <= SIZE[1]
    marks = mark(tracks, parse_speakers(speakers_text(data)), set(), warn=silent)
    assert marks[0].speaking.tolist() == [1.0] * 50 + [0.0] * 50 and marks[1].speaking.tolist() == [0.0] * 50 + [1.0] * 50
    assert marks[2].ids.tolist() == [0] * 30
