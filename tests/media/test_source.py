"""Reading: every frame with its own time, in its own format, from whatever container."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving_face, write_clip

from lipsync_core.errors import MediaError
from lipsync_core.media import VideoSource


@pytest.fixture(scope="module")
def pictures(astronaut: np.ndarray) -> list[np.ndarray]:
    return moving_face(astronaut, 12, 96)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(60)])
def test_timestamps_are_exact(tmp_path: Path, pictures: list[np.ndarray], rate: Fraction) -> None:
    source = VideoSource(write_clip(tmp_path / "clip.mp4", pictures, rate=rate))
    assert source.info.frame_rate == rate
    assert [item.time for item in source.frames()] == [i / rate for i in range(12)]


def test_variable_frame_rate_keeps_its_times(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    times = [Fraction(n, 90_000) for n in (0, 3000, 6000, 12_000, 12_900, 20_000, 29_000, 29_500, 40_000, 50_000, 70_000, 71_111)]
    source = VideoSource(write_clip(tmp_path / "vfr.mp4", pictures, times=times, base=Fraction(1, 90_000)))
    assert [item.time for item in source.frames()] == times


def test_frames_can_be_read_again_and_again(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    source = VideoSource(write_clip(tmp_path / "clip.mkv", pictures))
    assert [i.index for i in source.frames()] == [i.index for i in source.frames()] == list(range(12))


def test_a_window_counts_from_its_own_first_frame(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", pictures, options={"g": "4"})
    window = list(VideoSource(clip, start=Fraction(5, 25), duration=Fraction(4, 25)).frames())
    assert [(i.index, i.time) for i in window] == [(n, Fraction(n, 25)) for n in range(4)]
    whole = [i.frame.to_ndarray(format="rgb24") for i in VideoSource(clip).frames()]
    assert np.array_equal(window[0].frame.to_ndarray(format="rgb24"), whole[5])


@pytest.mark.parametrize(("ending", "codec"), [("mpg", "mpeg2video"), ("vob", "mpeg1video"), ("ts", "libx264"), ("ts", "mpeg2video"),
                                               ("mkv", "libx264"), ("mp4", "mpeg4"), ("avi", "mpeg4"), ("avi", "libx264"),
                                               ("flv", "libx264"), ("wmv", "wmv2"), ("h264", "libx264")])
def test_a_window_begins_where_it_should_in_every_container(tmp_path: Path, ending: str, codec: str) -> None:
    """Formats without an index end a seek at the next key frame, in others timestamps behind it are guesses."""
    numbered = [np.repeat(np.repeat(255 * (n >> np.arange(7) & 1), 8)[None, :, None], 32, 0).repeat(3, 2).astype(np.uint8)
                for n in range(100)]
    clip = write_clip(tmp_path / f"clip.{ending}", numbered, codec=codec, options={"g": "48", "bf": "2" if codec != "wmv2" else "0"})

    def read(**window: float) -> list[tuple[Fraction, int]]:
        source, found = VideoSource(clip, **window), []
        for item in source.frames():
            bits = item.frame.to_ndarray(format="gray")[16, 4:56:8] > 127
            found.append((source.origin * source.info.time_base + item.time, int((bits << np.arange(7)).sum())))
        return found

    whole = read()
    assert [number for _, number in whole] == list(range(100))
    begin = whole[0][0] if ending in ("mpg", "vob", "ts", "wmv", "flv", "h264") else 0     # a file's own clock begins where it likes
    for start in (0.04, 0.5, 1.5, 3.0, 3.9):
        assert read(start=start) == [(time, number) for time, number in whole if time - begin >= Fraction(str(start))], start


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_read(tmp_path: Path, astronaut: np.ndarray, rotation: int) -> None:
    clip = write_clip(tmp_path / "phone.mp4", [astronaut[:64, :96]] * 3, rotation=rotation)
    info = VideoSource(clip).info
    assert info.rotation == rotation
    assert info.display_size == ((64, 96) if rotation != 180 else (96, 64))


def test_odd_sizes_and_odd_names(tmp_path: Path, astronaut: np.ndarray) -> None:
    clip = write_clip(tmp_path / "ein Käse & 日本.mkv", [astronaut[:61, :83]] * 3, pix_fmt="yuv444p", codec="ffv1")
    info = VideoSource(clip).info
    assert (info.width, info.height, info.pix_fmt) == (83, 61, "yuv444p")


def test_cover_art_is_not_the_video(tmp_path: Path, astronaut: np.ndarray) -> None:
    file = tmp_path / "song.mp4"
    with av.open(str(file), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(astronaut[:64, :64]), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(MediaError, match="only sound"):
        VideoSource(file)


def test_a_damaged_packet_costs_frames_not_the_job(tmp_path: Path, astronaut: np.ndarray) -> None:
    clip = write_clip(tmp_path / "clip.ts", moving_face(astronaut, 30, 160), options={"g": "5"})
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 1500] = bytes(range(256)) * 5 + bytes(220)
    clip.write_bytes(data)
    assert len(list(VideoSource(clip).frames())) >= 20


def test_bad_input_is_one_sentence(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    whole = write_clip(tmp_path / "whole.mp4", pictures)
    truncated, text, empty = tmp_path / "cut.mp4", tmp_path / "text.mp4", tmp_path / "empty.mp4"
    truncated.write_bytes(whole.read_bytes()[:len(whole.read_bytes()) // 2])
    text.write_text("this is not a video " * 50)
    empty.touch()
    for file, words in ((tmp_path / "missing.mp4", "no file"), (tmp_path, "is a folder"), (truncated, "can't be read"),
                        (text, "can't be read"), (empty, "can't be read")):
        with pytest.raises(MediaError, match=words) as error:
            VideoSource(file)
        assert "\n" not in str(error.value) and str(file) in str(error.value)
