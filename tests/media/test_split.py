"""A film in pieces: the same film, whoever makes which piece."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving_face

from lipsync_core import DubOptions, Encoding, dub
from lipsync_core.batch.jobs import read_jobs
from lipsync_core.batch.pool import Pool
from lipsync_core.batch.schedule import AGAIN, DONE, FAILED, JOIN, PIECE, PIECES, Answer, Schedule
from lipsync_core.batch.worker import Worker
from lipsync_core.cli import main
from lipsync_core.errors import MediaError
from lipsync_core.media import VideoSource
from lipsync_core.media.again import frames_from
from lipsync_core.split.film import pieces_of
from lipsync_core.split.plan import load_plan

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals that a test could send")


def frames(file: Path) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(file)) as source:
        return [(frame.pts * frame.time_base, frame.to_ndarray()) for frame in source.decode(video=0)]


def heard(file: Path) -> np.ndarray:
    with av.open(str(file)) as source:
        return np.concatenate([frame.to_ndarray() for frame in source.decode(audio=0)], 1)


@pytest.fixture(scope="module")
def sound(spoken: Callable[[float], Path]) -> Path:
    return spoken(4)


def test_pieces_end_at_cuts_where_there_are_some() -> None:
    times = np.arange(250) / 25
    assert pieces_of(times, np.array([0]), 2.5) == [(0, 63), (63, 125), (125, 187), (187, 250)]
    assert pieces_of(times, np.array([0, 50, 140]), 2.5) == [(0, 50), (50, 140), (140, 187), (187, 250)]
    assert pieces_of(times[:20], np.array([0]), 2.5) == [(0, 20)] and pieces_of(times[:0], np.array([0]), 2.5) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("film.mp4", {"lossless": True, "preset": "ultrafast"}),
                                               ("film.mkv", {"codec": "ffv1"}), ("film.mp4", {}),
                                               ("film.mp4", {"codec": "h265", "preset": "ultrafast"}), ("film.mov", {"codec": "prores"}),
                                               ("film.webm", {"encoder_option": ["deadline=realtime", "cpu-used=8"]}),
                                               ("film.mp4", {"codec": "av1", "preset": "12"})])
def test_a_film_in_pieces_is_the_film(face_clip: Path, sound: Path, tmp_path: Path, name: str, options: dict) -> None:
    whole, out = tmp_path / f"whole_{name}", tmp_path / "out"
    told = {key: value for key, value in options.items() if key != "encoder_option"}
    more = dict(word.split("=") for word in options.get("encoder_option", ()))
    report = dub(face_clip, sound, whole, DubOptions(encoding=Encoding(**{"lossless": name == "film.mkv", **told}, options=more)))
    row = {"video": str(face_clip), "audio": str(sound), "output": name, "lossless": name == "film.mkv", **options}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert main(["batch", str(tmp_path / "jobs.jsonl"), "-o", str(out), "--split", "1", "--workers", "2", "--quiet"]) == 0
    before, after = frames(whole), frames(out / name)
    assert [time for time, _ in before] == [time for time, _ in after] and np.array_equal(heard(whole), heard(out / name))
    if options.get("lossless") or name == "film.mkv":
        # Another number of threads may add in another order: a level at a few samples.
        apart = [np.abs(a.astype(int) - b) for (_, a), (_, b) in zip(before, after)]
        assert max(part.max() for part in apart) <= 1 and np.mean([(part > 0).mean() for part in apart]) < 1e-3
    (entry,) = [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert entry["report"]["dubbed"] == report.dubbed and entry["report"]["frames"] == len(after)
    assert {file.name for file in out.iterdir()} == {name, "manifest.jsonl"}


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.ts", "mpeg2video", {"bf": "2", "g": "6"}), ("a.mpg", "mpeg2video", {"bf": "2", "g": "6"}),
    ("a.avi", "mpeg4", {"bf": "2", "g": "6"}), ("a.mkv", "libx264", {"x264-params": "open-gop=1:keyint=6:bframes=3"}),
    ("a.mp4", "libx265", {"x265-params": "keyint=6:log-level=error"}),
    ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "6"})])
def test_a_piece_begins_with_the_frame_that_the_film_has_there(astronaut: np.ndarray, tmp_path: Path, name: str, codec: str,
                                                               options: dict) -> None:
    """Whatever a file's key frames and timestamps: frames from a number on are the samples that going through all of them gives."""
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for number, picture in enumerate(moving_face(astronaut, 24, 96)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    source = VideoSource(tmp_path / name)
    whole = list(source.frames())
    plain = not source.counted and not source.damaged
    for begin in (0, 1, 5, 6, 7, 13, 23):
        part = list(frames_from(VideoSource(tmp_path / name), begin, whole[begin].time, source.origin, plain))
        assert [(item.index, item.pts, item.time) for item in part] == [(item.index, item.pts, item.time) for item in whole[begin:]]
        assert all(np.array_equal(a.frame.to_ndarray(), b.frame.to_ndarray()) for a, b in zip(part, whole[begin:]))


@POSIX
@pytest.mark.slow
def test_a_killed_worker_costs_a_piece_and_resume_makes_what_is_missing(face_clip: Path, sound: Path, tmp_path: Path) -> None:
    row = {"video": str(face_clip), "audio": str(sound), "output": "film.mp4", "preset": "ultrafast"}
    (job,) = read_jobs("-", tmp_path / "out", text=json.dumps(row))
    shelf = tmp_path / "out" / f".film.{job.key[:8]}.pieces"

    def kill(pool: Pool, wanted: int) -> None:
        steps = [one.task.step for one in pool._workers if one.task is not None]
        if len(list(shelf.glob("*.json"))) >= wanted and PIECE in steps and not killed:
            killed.append(pool._workers[steps.index(PIECE)].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    pool = Pool(1)
    (result,) = pool.run(Schedule([job], split=0.4, retries=0), lambda running: kill(pool, 1))
    assert killed and result.status == FAILED and "SIGKILL" in result.error and not Path(job.output).exists()
    kept = {file.name: file.stat().st_mtime_ns for file in shelf.glob("*.json")}
    assert kept and load_plan(shelf / "plan.safetensors").report["frames"]
    schedule = Schedule([job], split=0.4, resume=True)
    made = []
    first = schedule.next()
    pool = Pool(1)
    answer = Worker(0).do(first)                                      # what is missing, by the plan that is there
    assert answer.status == PIECES and len(answer.value[0]) == answer.value[1] - len(kept)
    made += list(schedule.ended(first, answer))
    (result,) = pool.run(schedule)
    assert not made and result.status == DONE and result.report["frames"] == len(frames(Path(job.output)))
    assert not shelf.exists()


@pytest.mark.slow
def test_a_film_that_changes_while_its_pieces_are_made_is_not_joined(face_clip: Path, sound: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(face_clip.read_bytes())
    (job,) = read_jobs("-", tmp_path / "out", text=json.dumps({"video": str(clip), "audio": str(sound), "preset": "ultrafast"}))
    task, worker = Schedule([job], split=0.4).next(), Worker(0)
    assert worker.do(task).status == PIECES
    os.utime(clip, (1, 1))
    answer = worker.do(replace(task, step=JOIN))
    assert answer.status == FAILED and "changed while pieces were made" in answer.error and not Path(job.output).exists()


def test_a_schedule_finishes_films_before_it_begins_others_and_drops_what_failed() -> None:
    a, b = read_jobs("-", "out", text='{"video": "a.mp4", "audio": "a.wav"}\n{"video": "b.mp4", "audio": "a.wav"}')
    schedule = Schedule([a, b], split=60, retries=1)
    first = schedule.next()
    assert list(schedule.ended(first, Answer(PIECES, value=([0, 1], 2)))) == []
    one, two = schedule.next(), schedule.next()
    assert [(task.job, task.step, task.piece) for task in (one, two)] == [(a, PIECE, 0), (a, PIECE, 1)]
    assert list(schedule.ended(one, Answer(AGAIN, "lost"))) == [] and list(schedule.ended(two, Answer(DONE))) == []
    again = schedule.next()
    assert (again.piece, again.tries) == (0, 2) and list(schedule.ended(again, Answer(DONE))) == []
    join = schedule.next()
    assert join.step == JOIN
    (result,) = schedule.ended(join, Answer(FAILED, "no room"))
    assert (result.job, result.status, result.error, result.tries) == (a, FAILED, "no room", 2)
    other = schedule.next()
    assert other.job == b and list(schedule.ended(other, Answer(PIECES, value=([0, 1], 2)))) == []
    one, two = schedule.next(), schedule.next()
    (result,) = schedule.ended(one, Answer(FAILED, "damaged"))
    assert result.job == b and list(schedule.ended(two, Answer(DONE))) == [] and not schedule.left


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"{}" * 40])
def test_a_plan_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.safetensors").write_bytes(content)
    with pytest.raises(MediaError, match="begin the job again"):
        load_plan(tmp_path / "plan.safetensors")
