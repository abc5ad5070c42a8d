"""The main job from end to end, on real pixels, and everything that can go wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers import moving_face, write_clip

from lipsync_core import DubOptions, Encoding, Hooks, dub
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.media import VideoSource

LOSSLESS = DubOptions(encoding=Encoding(lossless=True, preset="ultrafast"))


def pictures_of(clip: Path) -> list[np.ndarray]:
    return [item.frame.to_ndarray() for item in VideoSource(clip).frames()]


@pytest.fixture(scope="module")
def dubbed(tmp_path_factory: pytest.TempPathFactory, face_clip: Path, babble_file: Path) -> Path:
    target = tmp_path_factory.mktemp("out") / "dubbed.mp4"
    report = dub(face_clip, babble_file, target, LOSSLESS)
    assert (report.frames, report.dubbed, report.passed, report.tracks) == (50, 50, 0, 1)
    assert "video is the shorter" in report.warnings[0]
    return target


def test_the_mouth_changes_and_nothing_else_does(dubbed: Path, face_clip: Path) -> None:
    before, after = pictures_of(face_clip), pictures_of(dubbed)
    assert len(before) == len(after) == 50
    for a, b in zip(before, after):
        luma_a, luma_b = a[:320].astype(int), b[:320].astype(int)
        assert np.array_equal(luma_a[:110], luma_b[:110])             # the top third, eyes and all, bit for bit
        assert np.array_equal(luma_a[:, :60], luma_b[:, :60])
    moved = np.mean([np.abs(a[150:220].astype(int) - b[150:220]).mean() for a, b in zip(before, after)])
    assert moved > 0.5


def test_the_speech_is_muxed_and_as_long_as_the_picture(dubbed: Path) -> None:
    with av.open(str(dubbed)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert abs(samples / container.streams.audio[0].codec_context.sample_rate - 2.0) < 0.13


@pytest.mark.parametrize(("rate", "rotation"), [(Fraction(24000, 1001), 0), (Fraction(30000, 1001), 0), (Fraction(25), 90)])
def test_frames_and_times_are_the_sources(tmp_path: Path, astronaut: np.ndarray, babble_file: Path, rate: Fraction,
                                          rotation: int) -> None:
    pictures = [np.rot90(p, -rotation // 90) for p in moving_face(astronaut, 12, 240)]
    clip = write_clip(tmp_path / "in.mp4", pictures, rate=rate, rotation=rotation)
    report = dub(clip, babble_file, tmp_path / "out.mp4", LOSSLESS)
    assert report.dubbed == 12                                        # found although it lies on its side in the file
    before, after = VideoSource(clip), VideoSource(tmp_path / "out.mp4")
    assert [f.time for f in before.frames()] == [f.time for f in after.frames()]
    assert before.info.rotation == after.info.rotation == rotation


def test_variable_frame_rate(tmp_path: Path, astronaut: np.ndarray, babble_file: Path) -> None:
    times = [Fraction(i * 3000 + (i % 3) * 700, 90_000) for i in range(12)]
    clip = write_clip(tmp_path / "in.mp4", moving_face(astronaut, 12, 240), times=times, base=Fraction(1, 90_000))
    dub(clip, babble_file, tmp_path / "out.mp4", LOSSLESS)
    assert [f.time for f in VideoSource(tmp_path / "out.mp4").frames()] == times


def test_the_shorter_of_the_two_decides(tmp_path: Path, face_clip: Path, babble: np.ndarray) -> None:
    soundfile.write(tmp_path / "short.wav", babble[8000:20_000], 16_000)           # 0.75 s
    report = dub(face_clip, tmp_path / "short.wav", tmp_path / "out.mp4", LOSSLESS)
    assert report.frames == len(pictures_of(tmp_path / "out.mp4")) == 19
    assert "audio is the shorter" in report.warnings[0]


def test_nobody_there_passes_through(tmp_path: Path, empty_clip: Path, babble_file: Path) -> None:
    report = dub(empty_clip, babble_file, tmp_path / "out.mp4", LOSSLESS)
    assert (report.dubbed, report.passed) == (0, 25) and any("no face" in w for w in report.warnings)
    assert all(np.array_equal(a, b) for a, b in zip(pictures_of(empty_clip), pictures_of(tmp_path / "out.mp4")))
    with pytest.raises(LipSyncError, match="no face"):
        dub(empty_clip, babble_file, tmp_path / "strict.mp4", LOSSLESS, require_face=True)
    assert not (tmp_path / "strict.mp4").exists()


def test_choosing_one_of_two(tmp_path: Path, astronaut: np.ndarray, babble_file: Path) -> None:
    pictures = [np.hstack([p, p[:, ::-1]]) for p in moving_face(astronaut, 10, 240)]
    clip = write_clip(tmp_path / "two.mp4", pictures, options={"qp": "0"})
    def changed(face) -> tuple[bool, bool]:
        target = tmp_path / "out.mp4"
        dub(clip, babble_file, target, LOSSLESS, face=face)
        pairs = zip(pictures_of(clip), pictures_of(target))
        halves = np.array([[not np.array_equal(a[:240, h], b[:240, h]) for h in (slice(0, 240), slice(240, 480))] for a, b in pairs])
        return tuple(halves.any(0).tolist())
    assert changed(0) == (True, False) and changed(1) == (False, True) and changed("all") == (True, True)
    assert changed((300.0, 120.0)) == (False, True)


def test_progress_is_told_and_an_interrupt_leaves_nothing(tmp_path: Path, face_clip: Path, babble_file: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    class Cancelled(BaseException):
        pass

    def check() -> None:
        if seen and seen[-1][0] == "generate" and seen[-1][1] >= 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        dub(face_clip, babble_file, tmp_path / "out.mp4", LOSSLESS, hooks=Hooks(lambda *a: seen.append(a), check))
    assert list(tmp_path.iterdir()) == []
    assert [s for s in seen if s[0] == "analyse"][-1][1:] == (50, 50)


def test_offset_and_strength_reach_the_mouth(tmp_path: Path, face_clip: Path, babble_file: Path) -> None:
    def result(**changes) -> list[np.ndarray]:
        dub(face_clip, babble_file, tmp_path / "o.mp4", dataclasses.replace(LOSSLESS, **changes))
        return pictures_of(tmp_path / "o.mp4")
    plain, shut, late = result(), result(strength=0.0), result(offset_ms=200.0)
    def apart(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(x.astype(int) - y).mean() for x, y in zip(a, b)]))
    assert apart(plain, shut) > 0.05 and apart(plain, late) > 0.02


def test_bad_options_are_one_sentence(tmp_path: Path, face_clip: Path, babble_file: Path) -> None:
    for changes, words in (({"strength": 3.0}, "out of range"), ({"silence": "mute"}, "no way to treat"), ({"start": -1.0}, "negative")):
        with pytest.raises(LipSyncError, match=words):
            dub(face_clip, babble_file, tmp_path / "o.mp4", DubOptions(**changes))


# -- the command line ----------------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "lipsync_core", *map(str, arguments)], capture_output=True, text=True,
                          cwd=Path(__file__).parents[2])


def test_dub_and_analyze_by_command(tmp_path: Path, face_clip: Path, babble_file: Path, capsys: pytest.CaptureFixture) -> None:
    target, report, tracks, sheet = (tmp_path / n for n in ("mein Film 日本.mkv", "report.json", "tracks.json", "sheet.png"))
    assert main(["dub", str(face_clip), str(babble_file), "-o", str(target), "--report", str(report), "--duration", "0.4",
                 "--preset", "ultrafast", "--encoder-option", "tune=film", "--quiet"]) == 0
    assert json.loads(report.read_text())["frames"] == 10 and len(pictures_of(target)) == 10
    assert main(["analyze", str(face_clip), "-o", str(tracks), "--sheet", str(sheet), "--quiet"]) == 0
    data = json.loads(tracks.read_text())
    assert len(data["tracks"]) == 1 and len(data["tracks"][0]["landmarks"]) == 50
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "--face 0" in capsys.readouterr().out
    assert main(["dub", str(face_clip), str(babble_file), "-o", str(target), "--quiet"]) == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(("case", "words"), [
    ("missing video", "no file"), ("missing audio", "no file"), ("folder", "is a folder"), ("not media", "can't be read"),
    ("no picture", "only sound"), ("no sound", "no sound track"), ("zero length", "holds no sound"), ("truncated", "can't be read"),
    ("no face", "no face"), ("no output folder", "no folder"), ("read only", "can't be written"), ("output is input", "also an input"),
    ("output is a folder", "is a folder"), ("not a checkpoint", "checkpoint of tensors only"), ("bad face", "does not choose a face"),
    ("bad option", "no encoder option"), ("bad bitrate", "no bitrate"), ("bad ending", "no video container")])
def test_errors_are_one_sentence_and_leave_no_file(tmp_path: Path, face_clip: Path, empty_clip: Path, babble_file: Path, case: str,
                                                   words: str, capsys: pytest.CaptureFixture) -> None:
    work, out = tmp_path / "in", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    video, audio, target, more = face_clip, babble_file, out / "o.mp4", []
    (work / "text.mp4").write_text("hello " * 99)
    if case == "missing video":
        video = work / "none.mp4"
    elif case == "missing audio":
        audio = work / "none.wav"
    elif case == "folder":
        video = work
    elif case == "not media":
        video = work / "text.mp4"
    elif case == "no picture":
        video = babble_file
    elif case == "no sound":
        audio = empty_clip
    elif case == "zero length":
        audio = work / "zero.wav"
        soundfile.write(audio, np.zeros(0), 16_000)
    elif case == "truncated":
        video = work / "cut.mp4"
        video.write_bytes(face_clip.read_bytes()[:3000])
    elif case == "no face":
        video, more = empty_clip, ["--require-face"]
    elif case == "no output folder":
        target = out / "none" / "o.mp4"
    elif case == "read only":
        if os.name == "nt" or os.geteuid() == 0:
            target = Path("/proc/o.mp4") if Path("/proc").is_dir() else out / "none" / "o.mp4"
            words = "can't be written" if Path("/proc").is_dir() else "no folder"
        else:
            out.chmod(0o500)
    elif case == "output is input":
        target = face_clip
    elif case == "output is a folder":
        target = out
    elif case == "not a checkpoint":
        more = ["--generator", str(work / "text.mp4")]
    elif case == "bad face":
        more = ["--face", "somebody"]
    elif case == "bad option":
        more = ["--encoder-option", "film"]
    elif case == "bad bitrate":
        more = ["--bitrate", "fast"]
    elif case == "bad ending":
        target = out / "o.gif"
    status = main(["dub", str(video), str(audio), "-o", str(target), "--quiet", *more])
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert status == 1 and len(said) == 1 and said[0].startswith("error: ") and words in said[0], said
    assert list(out.iterdir()) == []


def test_a_traceback_only_for_those_who_ask(tmp_path: Path) -> None:
    plain, debug = (command("dub", tmp_path / "a.mp4", tmp_path / "b.wav", "-o", tmp_path / "c.mp4", *more)
                    for more in ([], ["--debug"]))
    assert plain.returncode == 1 and "Traceback" not in plain.stderr
    assert debug.returncode == 1 and "Traceback" in debug.stderr
    assert command("--help").stdout.count("dub") > 2 and "--strength" in command("dub", "--help").stdout


def listen() -> None:
    """A suite that was started in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT, which Windows has not")
def test_ctrl_c_leaves_nothing(tmp_path: Path, astronaut: np.ndarray, babble: np.ndarray) -> None:
    clip = write_clip(tmp_path / "long.mp4", moving_face(astronaut, 125) * 2)
    soundfile.write(tmp_path / "long.wav", np.tile(babble, 4), 16_000)
    out = tmp_path / "out"
    out.mkdir()
    run = subprocess.Popen([sys.executable, "-m", "lipsync_core", "dub", str(clip), str(tmp_path / "long.wav"), "-o",
                            str(out / "o.mp4")], stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
                           preexec_fn=listen)
    deadline = time.monotonic() + 120
    while not list(out.iterdir()) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [f for f in out.iterdir() if "partial" in f.name], run.stderr.read() if run.poll() is not None else "no file yet"
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in said and "stopped" in said
    assert list(out.iterdir()) == []


def test_importing_costs_nothing() -> None:
    """The package alone loads neither torch nor OpenCV nor PyAV."""
    code = "import sys, lipsync_core; print([m for m in ('torch', 'cv2', 'av', 'numpy') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.stdout.strip() == "[]"
