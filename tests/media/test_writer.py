"""Writing: whole or not at all, with the source's times, tags and rotation, and the given sound."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers import moving_face, write_clip

from lipsync_core.errors import OutputError
from lipsync_core.media import Encoding, VideoSource, VideoWriter, check_target
from lipsync_core.media.rotation import patch_rotation
from lipsync_core.types import AudioOriginal

FAST = Encoding(preset="ultrafast")


def copy_clip(clip: Path, target: Path, encoding: Encoding = FAST, audio: AudioOriginal | None = None) -> list[str]:
    """Decode and encode; returns the warnings."""
    source, warnings = VideoSource(clip), []
    with VideoWriter(target, source.info, encoding, audio=audio, warn=warnings.append) as writer:
        for item in source.frames():
            writer.write(item.frame, item.pts)
    return warnings


def times_of(clip: Path) -> list[Fraction]:
    return [item.time for item in VideoSource(clip).frames()]


@pytest.fixture(scope="module")
def pictures(astronaut: np.ndarray) -> list[np.ndarray]:
    return moving_face(astronaut, 20, 96)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)])
def test_frame_times_survive(tmp_path: Path, pictures: list[np.ndarray], rate: Fraction) -> None:
    clip = write_clip(tmp_path / "in.mp4", pictures, rate=rate)
    copy_clip(clip, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == times_of(clip) == [i / rate for i in range(20)]


def test_variable_frame_rate_survives(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    times = [Fraction(i * i * 400 + 3000 * i, 90_000) for i in range(20)]
    clip = write_clip(tmp_path / "in.mp4", pictures, times=times, base=Fraction(1, 90_000))
    copy_clip(clip, tmp_path / "out.mov")
    assert times_of(tmp_path / "out.mov") == times


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rotation", [90, 270])
def test_rotation_survives(tmp_path: Path, astronaut: np.ndarray, rotation: int, suffix: str) -> None:
    clip = write_clip(tmp_path / "in.mp4", [astronaut[:64, :96]] * 5, rotation=rotation, rate=Fraction(30000, 1001))
    target = tmp_path / f"out{suffix}"
    copy_clip(clip, target)
    assert VideoSource(target).info.rotation == rotation
    assert VideoSource(target).info.display_size == (64, 96)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_can_be_set_after_writing(tmp_path: Path, astronaut: np.ndarray, rotation: int) -> None:
    clip = write_clip(tmp_path / "in.mp4", [astronaut[:64, :96]] * 3)
    patch_rotation(clip, rotation)
    assert VideoSource(clip).info.rotation == rotation


def test_colour_tags_and_aspect_survive(tmp_path: Path, astronaut: np.ndarray) -> None:
    clip = tmp_path / "in.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, 16, 9, 1
        context.sample_aspect_ratio = Fraction(4, 3)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(astronaut[:64, :96]), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        container.mux(stream.encode(None))
    copy_clip(clip, tmp_path / "out.mp4")
    before, after = VideoSource(clip).info, VideoSource(tmp_path / "out.mp4").info
    for name in ("pix_fmt", "color_primaries", "color_trc", "colorspace", "color_range", "sample_aspect_ratio"):
        assert getattr(before, name) == getattr(after, name), name
    assert after.color_trc == 16 and after.sample_aspect_ratio == Fraction(4, 3)


def test_odd_sizes_are_stored_without_cropping_and_it_is_said(tmp_path: Path, astronaut: np.ndarray) -> None:
    clip = write_clip(tmp_path / "in.mkv", [astronaut[:61, :83]] * 3, codec="ffv1")
    warnings = copy_clip(clip, tmp_path / "out.mp4")
    info = VideoSource(tmp_path / "out.mp4").info
    assert (info.width, info.height, info.pix_fmt) == (83, 61, "yuv444p")
    assert any("odd" in sentence for sentence in warnings)


@pytest.mark.parametrize(("name", "encoding", "codec"), [
    ("a.mp4", Encoding(preset="ultrafast"), "h264"), ("a.mp4", Encoding("h265", preset="ultrafast"), "hevc"),
    ("a.mkv", Encoding("av1", preset="12"), ("libdav1d", "av1")), ("a.mov", Encoding("prores"), "prores"),
    ("a.mkv", Encoding("ffv1"), "ffv1"),
    ("a.webm", Encoding(options={"deadline": "realtime", "cpu-used": "8"}), ("vp9", "libvpx-vp9")),
    ("a.mp4", Encoding(bitrate=200_000, options={"tune": "zerolatency"}), "h264")])
def test_encoders(tmp_path: Path, face_clip: Path, name: str, encoding: Encoding, codec: str | tuple) -> None:
    source = VideoSource(face_clip, duration=Fraction(10, 25))
    with VideoWriter(tmp_path / name, source.info, encoding) as writer:
        for item in source.frames():
            writer.write(item.frame, item.pts)
    assert VideoSource(tmp_path / name).info.codec in codec
    assert len(times_of(tmp_path / name)) == 10


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "pcm_s16le"), (".mov", "pcm_s16le")])
def test_sound_is_as_long_as_the_picture(tmp_path: Path, face_clip: Path, rate: int, suffix: str, codec: str) -> None:
    wav = tmp_path / "sound.wav"
    soundfile.write(wav, np.sin(np.arange(5 * rate)[:, None] * [0.03, 0.05]) * 0.3, rate)
    copy_clip(face_clip, tmp_path / f"out{suffix}", audio=AudioOriginal(path=wav))
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels) == (codec, rate, 2)
        samples = sum(frame.samples for frame in container.decode(stream))
    packet = 1024 if codec == "aac" else 4096
    assert abs(samples - 2 * rate) <= 2 * packet


def test_aac_is_copied_not_encoded_again(tmp_path: Path, face_clip: Path) -> None:
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    wave = np.random.default_rng(0).standard_normal((1, 48_000)).astype(np.float32) * 0.1
    copy_clip(face_clip, first, audio=AudioOriginal(waveform=wave, sample_rate=24_000))
    copy_clip(face_clip, second, audio=AudioOriginal(path=first))

    def packets(file: Path) -> list[bytes]:
        with av.open(str(file)) as container:
            return [bytes(p) for p in container.demux(audio=0) if p.size]

    assert packets(first)[:40] == packets(second)[:40] and len(packets(second)) > 40


def test_sound_starts_with_the_picture(tmp_path: Path, face_clip: Path) -> None:
    rate = 48_000
    wave = np.zeros((2, 3 * rate), np.float32)
    wave[:, rate:rate + 480] = 0.9                                    # a click at exactly one second
    for name, start, expected in (("a.mp4", 0.0, 1.0), ("b.mkv", 0.5, 0.5)):
        copy_clip(face_clip, tmp_path / name, audio=AudioOriginal(waveform=wave, sample_rate=rate, start=start))
        with av.open(str(tmp_path / name)) as container:
            heard = []
            for frame in container.decode(audio=0):
                data = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1, frame.samples if frame.format.is_planar else 2)
                data = data.max(0) if frame.format.is_planar else data.max(1)
                heard += [(frame.time + i / rate, v) for i, v in enumerate(data)]
        peak = max(v for _, v in heard)
        click = next(t for t, v in heard if v > 0.5 * peak)
        assert abs(click - expected) < 1024 / rate


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
def test_nothing_is_left_after_an_error(tmp_path: Path, face_clip: Path, error: type[BaseException]) -> None:
    source = VideoSource(face_clip)
    before = set(tmp_path.iterdir())
    with pytest.raises(error), VideoWriter(tmp_path / "out.mp4", source.info, FAST) as writer:
        for item in source.frames():
            writer.write(item.frame, item.pts)
            if item.index == 10:
                raise error
    assert set(tmp_path.iterdir()) == before


def test_an_old_result_survives_a_failed_run(tmp_path: Path, face_clip: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    with pytest.raises(ValueError), VideoWriter(target, VideoSource(face_clip).info, FAST):
        raise ValueError
    assert target.read_bytes() == b"old"


def test_bad_targets_are_one_sentence(tmp_path: Path, face_clip: Path) -> None:
    with pytest.raises(OutputError, match="also an input"):
        check_target(face_clip, [face_clip])
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path, [])
    with pytest.raises(OutputError, match="no folder"):
        check_target(tmp_path / "nowhere" / "out.mp4", [])
    info = VideoSource(face_clip).info
    with pytest.raises(OutputError, match="no video container"):
        VideoWriter(tmp_path / "out.xyz", info, FAST)
    with pytest.raises(OutputError, match="no encoder"):
        VideoWriter(tmp_path / "out.mp4", info, Encoding("h999"))
    assert list(tmp_path.iterdir()) == []


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from lipsync_core.errors import OutputError
from lipsync_core.media import Encoding, VideoSource, VideoWriter
source = VideoSource(Path(sys.argv[1]))
try:
    with VideoWriter(Path(sys.argv[2]), source.info, Encoding("ffv1")) as writer:
        for item in source.frames():
            writer.write(item.frame, item.pts)
except OutputError as error:
    print("said:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on file size, which stands in for a full disk, is a POSIX thing")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, face_clip: Path) -> None:
    run = subprocess.run([sys.executable, "-c", DISK_FULL, str(face_clip), str(tmp_path / "out.mkv")], capture_output=True,
                         text=True, cwd=Path(__file__).parents[2])
    assert "said: Writing" in run.stdout and "free space" in run.stdout, run.stdout + run.stderr
    assert list(tmp_path.iterdir()) == []
