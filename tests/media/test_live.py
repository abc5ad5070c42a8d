"""Dubbing as frames and sound come: the pictures of `dub`, a look-ahead late, with options that change on the way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import moving_face, pictures, write_clip

from lipsync_core import Encoding, LipSyncError, dub
from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.audio import speech_from_samples
from lipsync_core.compositing import Blending
from lipsync_core.faces.album import Album
from lipsync_core.faces.given import GivenBackend
from lipsync_core.faces.pose import mean_face
from lipsync_core.live import LiveDubber, LiveFrame
from lipsync_core.live.cast import People, VoiceOf
from lipsync_core.media import VideoSource
from lipsync_core.speaker_file import FrameSpeakers
from lipsync_core.types import Drive, FaceTrack, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Person, Speech

RATE = 25


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Three seconds of the portrait, 240x240."""
    return write_clip(tmp_path_factory.mktemp("live") / "clip.mp4", moving_face(astronaut, 75, 240), options={"crf": "12"})


@pytest.fixture(scope="module")
def speech(babble: np.ndarray) -> np.ndarray:
    """Three seconds that begin in the middle of a syllable."""
    return np.concatenate([babble[8000:], babble[:8000]])


def lived(live: LiveDubber, clip: Path, speech: np.ndarray, at: dict[int, dict] | None = None,
          speakers: Sequence[FrameSpeakers] = ()) -> list[LiveFrame]:
    """The clip as it comes, with a frame's worth of sound before each frame; `at`: what changes before which frame."""
    out: list[LiveFrame] = []
    for item in VideoSource(clip).frames():
        live.push_audio(speech[item.index * 640:(item.index + 1) * 640])
        if at and item.index in at:
            live.change(**at[item.index])
        live.push_frame(item.frame, item.time, speakers[item.index] if speakers else None)
        out += live.pull()
    return [*out, *live.flush()]


def rgb(frames: Sequence[LiveFrame]) -> np.ndarray:
    return np.stack([frame.rgb() for frame in frames]).astype(np.float32)


@pytest.fixture(scope="module")
def usual(clip: Path, speech: np.ndarray) -> list[LiveFrame]:
    """The clip with the usual options."""
    return lived(LiveDubber(), clip, speech)


def test_a_stream_gives_nearly_the_pictures_of_the_file(clip: Path, speech: np.ndarray, usual: list[LiveFrame], tmp_path: Path) -> None:
    """After its first second, in which a stream does not know the person yet; all frames, in order, with their times."""
    dub(clip, speech_from_samples(speech, 16_000), tmp_path / "dub.mp4", encoding=Encoding(lossless=True, preset="ultrafast"))
    out = usual
    assert [frame.index for frame in out] == list(range(75)) and [frame.time for frame in out] == [Fraction(i, RATE) for i in range(75)]
    assert sum(frame.dubbed for frame in out) == 75
    source, file, live = pictures(clip), pictures(tmp_path / "dub.mp4"), rgb(out)
    changed, apart = np.abs(file - source)[25:].mean(), np.abs(live - file)[25:].mean()
    assert changed > 0.3 and apart < 0.5 * changed


@pytest.mark.parametrize("lookahead", [1.0, 0.8])
def test_frames_come_out_when_they_are_due(clip: Path, speech: np.ndarray, lookahead: float) -> None:
    live, delays, newest = LiveDubber(lookahead=lookahead), [], Fraction(0)
    for item in VideoSource(clip).frames():
        live.push_audio(speech[item.index * 640:(item.index + 1) * 640])
        live.push_frame(item.frame, item.time)
        newest = item.time
        delays += [float(newest - frame.time) for frame in live.pull()]
    assert delays and max(delays) <= lookahead + 1 / RATE + 1e-6 and min(delays) >= lookahead - 1e-6


def test_frames_wait_for_their_sound_and_end_without_it(clip: Path, speech: np.ndarray) -> None:
    live, frames = LiveDubber(), list(VideoSource(clip).frames())
    for item in frames:
        live.push_frame(item.frame, item.time)
    assert not list(live.pull()) and live.wanted
    live.push_audio(np.stack([speech[:48_000]] * 2).repeat(3, 1), 48_000)     # stereo, another rate
    some = [next(live.pull()) for _ in range(5)] + list(live.pull())   # what is not asked for now comes next time
    assert [frame.index for frame in some] == list(range(len(some))) and len(some) > 25 and not live.wanted
    live.end_audio()
    assert len(some) + sum(1 for _ in live.pull()) + sum(1 for _ in live.flush()) == 75


def test_a_thread_of_its_own_changes_nothing(clip: Path, speech: np.ndarray, usual: list[LiveFrame]) -> None:
    with LiveDubber(threaded=True) as live:
        threaded = lived(live, clip, speech)
    assert np.abs(rgb(threaded) - rgb(usual)).mean() < 0.05


def test_bypass_shows_the_source_and_comes_gently(clip: Path, speech: np.ndarray) -> None:
    out = rgb(lived(LiveDubber(), clip, speech, at={30: {"bypass": True}, 50: {"bypass": False}}))
    moved = np.abs(out - pictures(clip)).mean((1, 2, 3))
    assert (moved[30:50] == 0).all() and moved[10:25].min() > 0.1 and moved[58:70].min() > 0.1
    assert 0 < moved[28] < moved[25] and 0 < moved[51] < moved[58]


def test_strength_and_face_may_change(clip: Path, speech: np.ndarray) -> None:
    shut = rgb(lived(LiveDubber(strength=0), clip, speech))
    later = rgb(lived(LiveDubber(strength=1), clip, speech, at={40: {"strength": 0}}))
    apart = np.abs(later - shut).mean((1, 2, 3))
    assert apart[3:14].mean() > 0.1 and apart[45:].max() < 0.02        # a look-ahead ago and a second to ease
    nobody = lived(LiveDubber(), clip, speech, at={10: {"face": 3}})
    assert not any(frame.dubbed for frame in nobody)                  # what is asked for now holds for all that is not made yet
    with pytest.raises(LipSyncError, match="generator"):
        LiveDubber().change(generator="morph")


def test_speaker_data_come_with_the_frames(clip: Path, speech: np.ndarray) -> None:
    data = [FrameSpeakers(bypass=float(i >= 40)) for i in range(75)]
    out = lived(LiveDubber(), clip, speech, speakers=data)
    assert all(frame.dubbed for frame in out[:30]) and not any(frame.dubbed for frame in out[40:])


def test_frames_without_a_face_are_the_very_same(empty_clip: Path, speech: np.ndarray) -> None:
    given, live, out = list(VideoSource(empty_clip).frames()), LiveDubber(), []
    live.end_audio()
    for item in given:
        live.push_frame(item.frame, item.time)
        out += live.pull()
    out += live.flush()
    assert len(out) == len(given) and all(a.frame is b.frame and not a.dubbed for a, b in zip(out, given))


def test_two_voices_move_two_mouths(astronaut: np.ndarray, babble: np.ndarray, tmp_path: Path) -> None:
    """The left one says nothing; `silence keep` leaves what is silent as it was. Frames are arrays here."""
    frames = moving_face(astronaut, 62, 240)
    both = [np.hstack([frames[i], frames[i + 12][:, ::-1]]) for i in range(50)]
    live, out = LiveDubber(voices=(0, 1), silence="keep"), []
    for i, frame in enumerate(both):
        for voice, samples in enumerate((np.zeros(640, np.float32), babble[8000 + 640 * i:8640 + 640 * i])):
            live.push_audio(samples, voice=voice)
        live.push_frame(frame, i / RATE)
        out += live.pull()
    out += live.flush()
    moved = np.abs(rgb(out) - np.stack(both)).mean((1, 3))
    assert len(out) == 50 and moved[:, :240].max() == 0 and moved[10:, 240:].mean() > 0.05


def test_a_new_shot_forgets_who_was_there(clip: Path, speech: np.ndarray) -> None:
    """`reset` keeps nobody's references; the frames go on, and the same face is found again at once."""
    live, out = LiveDubber(), []
    for item in VideoSource(clip).frames():
        if item.index == 40:
            live.reset()
        live.push_audio(speech[item.index * 640:(item.index + 1) * 640])
        live.push_frame(item.frame, item.time)
        out += live.pull()
    out += live.flush()
    assert len(out) == 75 and all(frame.dubbed for frame in out)


def test_what_can_t_be_is_said(clip: Path) -> None:
    for given, word in (({"lookahead": 0.3}, "look-ahead"), ({"lookahead": 1.5}, "look-ahead"), ({"strength": 3}, "strength"),
                        ({"speakers": "auto"}, "speaker data")):
        with pytest.raises(LipSyncError, match=word):
            LiveDubber(**given)
    live, frame = LiveDubber(), next(VideoSource(clip).frames())
    live.push_frame(frame.frame, 1.0)
    with pytest.raises(LipSyncError, match="order"):
        live.push_frame(frame.frame, 1.0)


class Told:
    """A generator that hears whole recordings only, and says what it heard when: the face takes the colour of the sample at its time."""

    spec = GeneratorSpec("told", references=0)

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> np.ndarray:
        return speech.samples

    def start(self, person: Person, heard: np.ndarray, drive: Drive, hooks: Hooks | None = None, before: object = None) -> np.ndarray:
        return heard

    def generate(self, batch: Sequence[GeneratorItem], state: np.ndarray) -> list[GeneratedFace]:
        values = [state[min(round(item.time * 16_000), len(state) - 1)] for item in batch]
        return [GeneratedFace(np.full(item.crop.pixels.shape, 255 * value, np.float32), np.ones(item.crop.pixels.shape[:2], np.float32))
                for item, value in zip(batch, values)]


def test_any_generator_hears_a_stream_and_memory_stays_flat() -> None:
    """Twenty seconds of a still face: what it hears belongs to the frame's own time, and little is remembered."""
    face = (mean_face(np.zeros((1, 3)))[0] * 40 + [60, 50]).astype(np.float32)
    count = 20 * RATE
    ramp = np.repeat(np.linspace(0, 1, count, dtype=np.float32), 640)
    live, out = LiveDubber(generator=Told(), backend=GivenBackend([[face]] * count), blending=Blending(colour_match=False)), []
    picture = np.full((120, 120, 3), 128, np.uint8)
    for i in range(count):
        live.push_audio(ramp[640 * i:640 * (i + 1)])
        live.push_frame(picture, i / RATE)
        out += live.pull()
    out += live.flush()
    inside = np.array([frame.rgb()[75, 60].mean() for frame in out]) / 255
    assert np.abs(inside[25:] - np.linspace(0, 1, count)[25:]).max() < 0.02
    assert len(live._tracker._live[0].frames) < 12 * RATE and len(live._listeners[0]._samples) < 6 * 16_000


def test_all_the_speech_may_come_first(clip: Path, speech: np.ndarray) -> None:
    """What is heard ahead of the picture is not forgotten before it is shown."""
    long = np.concatenate([speech, np.tile(speech, 4)])
    live, out = LiveDubber(), []
    live.push_audio(long)
    for item in VideoSource(clip).frames():
        live.push_frame(item.frame, item.time)
        out += live.pull()
    out += live.flush()
    assert np.abs(rgb(out)[25:] - rgb(lived(LiveDubber(), clip, long))[25:]).mean() < 0.05


def seen(number: int, colour: int, x: float, frames: range) -> tuple[FaceTrack, Album]:
    """A face that was seen in `frames` at `x`, and a picture of it in one colour."""
    points = (mean_face(np.zeros((1, 3)))[0] * 40 + [x, 50]).astype(np.float32)
    count = len(frames)
    box = np.concatenate([points.min(0), points.max(0)])
    track = FaceTrack(np.array(frames), np.array(frames) / RATE, np.tile(box, (count, 1)), np.tile(points, (count, 1, 1)), np.ones(count),
                      np.zeros((count, 3), np.float32), np.ones(count, np.float32), number)
    album = Album()
    album.offer(frames[0], frames[0] / RATE, points, ArrayPixels(np.full((100, 300, 3), colour, np.uint8)))
    return track, album


def test_people_keep_their_numbers_in_later_shots() -> None:
    """Told apart by colour here: from the left as they are first seen, and known again alone, and on the other side."""
    people = People(look=lambda chips: np.stack([np.full(128, chip.mean() / 255) for chip in chips]))

    def see(*found: tuple[FaceTrack, Album]) -> None:
        people.see([track for track, _ in found], {track.track_id: album for track, album in found})

    right, left = seen(0, 200, 220, range(10)), seen(1, 100, 60, range(10))
    see(right, left)
    assert (people.tracks_of(0), people.tracks_of(1)) == ({1}, {0})
    alone = seen(2, 200, 60, range(10, 20))
    see(right, left, alone)
    assert people.tracks_of(1) == {0, 2}
    other, stranger = seen(3, 100, 220, range(20, 30)), seen(4, 20, 60, range(20, 30))
    see(alone, other, stranger)
    assert [people.tracks_of(person) for person in range(3)] == [{3}, {2}, {4}]
    assert VoiceOf((220.0, 50.0))([other[0], stranger[0]], people, 20) == {3}
    assert VoiceOf(2)([other[0], stranger[0]], people, 20) == {4}
