"""Speech that is longer than the picture: its last seconds again and again, or backwards and forwards."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving_face, pictures, write_clip

from lipsync_core import DubOptions, Encoding, dub
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.media import ExtendedSource, HeldSource, VideoSource, again, longer, own_frame
from lipsync_core.types import Hooks

LOSSLESS = DubOptions(encoding=Encoding(lossless=True, preset="ultrafast"), silence="generate")


def samples(source: VideoSource) -> list[bytes]:
    return [item.frame.to_ndarray().tobytes() for item in source.frames()]


def order(source: VideoSource, whole: list[bytes]) -> list[int]:
    """Which of the whole clip's frames each one is."""
    return [whole.index(frame) for frame in samples(source)]


def bounced(first: int, last: int, count: int) -> list[int]:
    """0 .. last, last - 1 .. first, first + 1 .. last, and so on."""
    turn = itertools.cycle([*range(last - 1, first - 1, -1), *range(first + 1, last + 1)])
    return [*range(last + 1), *itertools.islice(turn, count - last - 1)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """40 frames, a key frame every 12, frames between that need later ones."""
    return write_clip(tmp_path_factory.mktemp("clips") / "gop.mp4", moving_face(astronaut, 40, 96), options={"g": "12", "bf": "2"})


def test_backwards_and_forwards(clip: Path) -> None:
    """The last second of 40 frames: turning points are shown once, times go on in even steps."""
    whole = samples(VideoSource(clip))
    assert len(set(whole)) == 40
    source = ExtendedSource(clip, 5.0, "bounce", tail=1.0)
    assert order(source, whole) == bounced(40 - 26, 39, 125) and source.frame_count == 125
    assert [item.time for item in source.frames()] == [Fraction(i, 25) for i in range(125)]
    assert [item.index for item in source.frames()] == list(range(125))
    assert order(ExtendedSource(clip, 4.0, "reverse", tail=math.inf), whole) == bounced(0, 39, 100)


def test_backwards_in_pieces(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little room there is, the frames are the same; what is held is a piece."""
    whole = samples(VideoSource(clip))
    monkeypatch.setattr(again, "PIECE", 1)
    monkeypatch.setattr(again, "MOST", 1)
    assert order(ExtendedSource(clip, 4.0, "bounce", tail=math.inf), whole) == bounced(0, 39, 100)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264", ".avi"])
def test_files_of_all_kinds(suffix: str, tmp_path: Path, astronaut: np.ndarray) -> None:
    """Raw streams have neither index nor timestamps."""
    file = write_clip(tmp_path / f"clip{suffix}", moving_face(astronaut, 20, 96), options={"g": "6", "bf": "0"})
    whole = samples(VideoSource(file))
    assert order(ExtendedSource(file, 3.0, "bounce", tail=0.5), whole) == bounced(len(whole) - 14, len(whole) - 1, 75)


KINDS = {"open.mp4": ("libx264", {"x264-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:scenecut=0"}),
         "refresh.mp4": ("libx264", {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}),
         "packs.mpg": ("mpeg1video", {"g": "12", "bf": "2"}), "late.flv": ("libx264", {"g": "12", "bf": "2"})}
"""Files in which a seek ends behind the frame that is wanted, at pictures that are not whole, or at timestamps that are guesses."""


@pytest.mark.parametrize("name", KINDS)
def test_seeks_that_end_at_the_wrong_place(name: str, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, options = KINDS[name]
    file = write_clip(tmp_path / name, moving_face(astronaut, 60, 96), codec=codec, options=options)
    monkeypatch.setattr(again, "PIECE", 1)
    monkeypatch.setattr(again, "MOST", 1)
    whole, shown = samples(VideoSource(file)), samples(ExtendedSource(file, 4.0, "bounce", tail=math.inf))
    assert len(shown) >= 100 and all(frame == whole[i] for frame, i in zip(shown, bounced(0, 59, len(shown))))


def test_what_is_held_and_what_is_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backwards over 39 frames: a piece is as many frames as there are bytes for, and is decoded from the key frame before it, without
    those frames before it that no other needs."""
    pieces, decoded = [], [0]
    timed, read = VideoSource.timed, again.Again.read

    def counted(*given: object) -> Iterator[tuple[int, av.VideoFrame]]:
        for item in timed(*given):
            decoded[0] += 1
            yield item

    def noted(self: again.Again, times: list[int]) -> Iterator[av.VideoFrame]:
        pieces.append(len(times))
        return read(self, times)

    monkeypatch.setattr(VideoSource, "timed", counted)
    monkeypatch.setattr(again.Again, "read", noted)
    monkeypatch.setattr(again, "FRAMES", 1)
    monkeypatch.setattr(again, "PIECE", 4 * 96 * 96 * 3 // 2)
    assert len(samples(ExtendedSource(clip, 79 / 25, "bounce", tail=math.inf))) == 79
    assert pieces == [4] * 9 + [3] and decoded[0] - 40 < 39 * 2.6                       # 39 * 2.7 with them


@pytest.mark.parametrize("how", ["forward", "bounce"])
def test_what_is_handed_out_may_be_painted_on(how: str, clip: Path) -> None:
    """Whatever the dub does to a frame, the ones that are shown later are the source's."""
    clean, source = samples(ExtendedSource(clip, 5.0, how)), ExtendedSource(clip, 5.0, how)
    seen, kept = [], []
    for item in source.frames():
        kept.append(own_frame(item.frame))
        seen.append(kept[-1].to_ndarray().tobytes())
        for plane in kept[-1].planes:
            np.frombuffer(plane, np.uint8)[:] = 255
    assert seen == clean and len({id(frame) for frame in kept}) == source.frame_count == 125


def test_an_open_file_a_part_and_variable_times(clip: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    whole = samples(VideoSource(clip))
    opened = ExtendedSource(io.BytesIO(clip.read_bytes()), 3.0, "bounce", tail=math.inf, start=0.4, duration=0.6)
    assert order(opened, whole) == [10 + i for i in bounced(0, 14, 75)]
    times = [Fraction(i * 3000 + (i % 3) * 700, 90_000) for i in range(12)]
    uneven = write_clip(tmp_path / "vfr.mp4", moving_face(astronaut, 12, 96), times=times, base=Fraction(1, 90_000))
    shown = list(ExtendedSource(uneven, 1.0, "bounce").frames())
    assert [item.time for item in shown[:12]] == times and all(a.pts < b.pts for a, b in zip(shown, shown[1:]))
    assert order(ExtendedSource(uneven, 1.0, "bounce"), samples(VideoSource(uneven))) == bounced(0, 11, len(shown))


def test_again_and_again_without_a_jump(tmp_path: Path, astronaut: np.ndarray) -> None:
    """The camera sways and returns: the loop is entered where it came by before, and the last frames melt into it."""
    sway = moving_face(astronaut, 90, 96)                             # its three movements nearly meet again after 63 frames
    clip = write_clip(tmp_path / "sway.mp4", sway, options={"crf": "10"})
    source = ExtendedSource(clip, 8.0, "forward", tail=math.inf)
    shown = [item.frame.to_ndarray(format="rgb24").astype(np.float32) for item in source.frames()]
    own = [item.frame.to_ndarray(format="rgb24").astype(np.float32) for item in VideoSource(clip).frames()]
    assert len(shown) == 200 and all((a == b).all() for a, b in zip(shown[:85], own))
    assert 5 <= source._first <= 45                                   # a round is half of the clip at least
    steps = [np.abs(a - b).mean() for a, b in zip(shown, shown[1:])]
    usual = max(np.abs(a - b).mean() for a, b in zip(own, own[1:]))
    assert max(steps) < 1.5 * usual < np.abs(own[-1] - own[0]).mean()
    again = [item.frame.to_ndarray(format="rgb24") for item in source.frames()]                # the second reading chooses the same
    assert all((a == b).all() for a, b in zip(shown, again))


def test_what_is_long_enough_stays_as_it_is(clip: Path) -> None:
    whole = samples(VideoSource(clip))
    for how in ("forward", "bounce"):
        assert samples(ExtendedSource(clip, 1.0, how)) == whole


@pytest.mark.parametrize("how", ["forward", "bounce"])
@pytest.mark.parametrize("frames", [1, 2])
def test_hardly_a_clip(how: str, frames: int, tmp_path: Path, astronaut: np.ndarray) -> None:
    file = write_clip(tmp_path / "short.mp4", moving_face(astronaut, frames, 96))
    shown = list(ExtendedSource(file, 0.5, how).frames())
    assert len(shown) == 13 and len({id(item.frame) for item in shown}) == 13           # each may be painted on


def test_which_source_it_takes(clip: Path) -> None:
    kinds = {how: type(longer(clip, how, 3.0)) for how in ("off", "hold", "forward", "bounce", "reverse")}
    assert kinds == {"off": VideoSource, "hold": HeldSource, "forward": ExtendedSource, "bounce": ExtendedSource, "reverse": ExtendedSource}


@pytest.mark.parametrize("how", ["forward", "bounce"])
def test_a_dub_goes_on_with_the_picture(how: str, face_clip: Path, babble: np.ndarray, tmp_path: Path) -> None:
    """By command: five seconds of speech on two seconds of picture; above the face every frame is one of the source's."""
    import soundfile

    soundfile.write(tmp_path / "long.wav", np.tile(babble, 2)[:80_000], 16_000)
    result = tmp_path / "o.mp4"
    assert main(["dub", str(face_clip), str(tmp_path / "long.wav"), "--extend-video", how, "--extend-seconds", "all", "-o", str(result),
                 "--lossless", "--preset", "ultrafast", "--silence", "generate", "--quiet"]) == 0
    source, shown = pictures(face_clip), pictures(result)
    assert len(shown) == 125 and (shown[:45, :60] == source[:45, :60]).all()
    if how == "bounce":
        assert (shown[:, :60] == source[bounced(0, 49, 125), :60]).all()
    mouth = np.abs(np.diff(shown[60:, 190:260, 110:210], axis=0)).mean((1, 2, 3))
    assert mouth.max() > 1                                            # and she goes on talking


def test_the_whole_picture_with_the_mouth_at_rest(face_clip: Path, babble: np.ndarray, tmp_path: Path) -> None:
    """A second of speech on two seconds of picture: the sound is as long as the picture, silent at its end."""
    import soundfile

    soundfile.write(tmp_path / "short.wav", babble[8000:24_000], 16_000)
    said: list[str] = []
    cut = dub(face_clip, tmp_path / "short.wav", tmp_path / "cut.mp4", LOSSLESS, hooks=Hooks(warn=said.append))
    assert cut.frames == 25 and len(said) == 1 and "extend-audio silence" in said[0]
    report = dub(face_clip, tmp_path / "short.wav", tmp_path / "whole.mp4", LOSSLESS, extend_audio="silence", silence="close")
    assert report.frames == report.dubbed == 50 and not report.warnings
    with av.open(str(tmp_path / "whole.mp4")) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], -1)
    assert abs(sound.shape[-1] / rate - 2) < 0.07 and np.abs(sound[..., int(1.1 * rate):]).max() < 0.01
    with pytest.raises(LipSyncError, match="no way to extend"):
        DubOptions(extend_audio="loop").check()
    with pytest.raises(LipSyncError, match="can't be repeated"):
        DubOptions(extend_seconds=0).check()
