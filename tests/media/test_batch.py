"""Many dubs by one command: lists of jobs, real workers that are killed, a manifest that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lipsync_core.batch.jobs import read_jobs
from lipsync_core.batch.manifest import Manifest
from lipsync_core.batch.pool import Pool
from lipsync_core.batch.schedule import Schedule
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError

OUT = Path("out")
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals that a test could send")


@pytest.fixture(scope="module")
def sound(spoken: Callable[[float], Path]) -> Path:
    return spoken(1)


def listed(file: Path, video: Path, sound: Path, outputs: list[str], **more: object) -> Path:
    """A list of jobs: the same dub under several names."""
    rows = [{"video": str(video), "audio": str(sound), "output": output, "preset": "ultrafast", **more} for output in outputs]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_csv_and_json_lines_say_the_same() -> None:
    lines = read_jobs("-", OUT, text='{"video": "a.mp4", "audio": "a.wav", "strength": 1.2, "lossless": true, "bypass": "1-2,3-4"}\n')
    table = read_jobs("-", OUT, text='video,audio,strength,lossless,bypass\na.mp4,a.wav,1.2,yes,"1-2,3-4"\n')
    assert lines == table and lines[0].output == str(OUT / "a.mp4") and lines[0].key == table[0].key
    assert lines[0].arguments == ("--strength=1.2", "--lossless", "--bypass=1-2,3-4", "--", "a.mp4", "a.wav")
    voices = read_jobs("-", OUT, text='{"video": "a.mp4", "voice": ["0=anna.wav", "1=ben.wav"], "output": "x/b.mkv"}')[0]
    assert voices.arguments == ("--voice=0=anna.wav", "--voice=1=ben.wav", "--", "a.mp4") and voices.output == str(OUT / "x" / "b.mkv")


def test_what_all_jobs_have_gives_way_to_what_one_says() -> None:
    jobs = read_jobs("-", OUT, text='{"video": "a.mp4", "strength": 2}\n{"video": "b.mp4"}', usual={"strength": "1.1"})
    assert [job.arguments[0] for job in jobs] == ["--strength=2", "--strength=1.1"]


@pytest.mark.parametrize(("text", "word"), [
    ('{"video": "a.mp4", "strenght": 1}', "'strength'"), ('{"audio": "a.wav"}', "no video"), ("nothing", "line 1"), ("", "no jobs"),
    ('{"video": "a.mp4", "output": "../a.mp4"}', "outside"), ('{"video": "a.mp4", "output": "/a.mp4"}', "outside"),
    ('{"video": "a.mp4"}\n{"video": "b/a.mp4"}', "another output"), ('{"video": "a.mp4", "lossless": "perhaps"}', "true or false"),
    ("video,audio\na.mp4,b.wav,c.wav", "more fields"), ('["a.mp4"]', "no object"), ('{"video": "a.mp4", "strength": {}}', "a number")])
def test_a_line_that_is_none_is_named(text: str, word: str) -> None:
    with pytest.raises(LipSyncError, match=f"(?i){word}"):
        read_jobs("-", OUT, text=text)


def test_two_folders_are_paired_by_name(tmp_path: Path) -> None:
    for name in ("v/a.mp4", "v/b.mov", "v/notes.txt", "s/a.wav", "s/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = read_jobs(tmp_path / "v", OUT, sounds=tmp_path / "s")
    assert [(Path(job.arguments[1]).name, Path(job.arguments[2]).name) for job in jobs] == [("a.mp4", "a.wav")]
    with pytest.raises(LipSyncError, match="--sounds"):
        read_jobs(tmp_path / "v", OUT)


def test_a_manifest_that_a_crash_cut_off_goes_on(tmp_path: Path) -> None:
    first, second = read_jobs("-", OUT, text='{"video": "a.mp4"}\n{"video": "b.mp4"}')
    manifest = Manifest(tmp_path / "new" / "folder" / "manifest.jsonl")
    manifest.add(first, "failed")
    manifest.add(first, "done")
    with open(manifest.file, "ab") as file:
        file.write(b'{"key": "half a li')
    manifest.add(second, "done")
    manifest.add(second, "failed", error="no")
    assert manifest.done() == {first.key}


@pytest.mark.slow
def test_a_bad_job_takes_no_other_with_it_and_resume_does_what_is_left(face_clip: Path, sound: Path, tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture) -> None:
    jobs = listed(tmp_path / "jobs.jsonl", face_clip, sound, ["one.mp4", "sub/two.mp4"])
    late = tmp_path / "late.mp4"
    with open(jobs, "a", encoding="utf-8") as file:
        file.write("\n" + json.dumps({"video": str(late), "audio": str(sound), "output": "late.mp4"}))
    out, quiet = tmp_path / "out", ["--workers", "2", "--quiet"]
    assert main(["batch", str(jobs), "-o", str(out), "--dry-run", "--quiet"]) == 1 and not out.exists()
    assert "2 of 3 jobs can be done" in capsys.readouterr().out
    assert main(["batch", str(jobs), "-o", str(out), *quiet]) == 1
    found = {entry["job"]: entry for entry in entries(out)}
    assert [found[i]["status"] for i in (1, 2, 3)] == ["done", "done", "failed"] and "late.mp4" in found[3]["error"]
    assert found[1]["report"]["dubbed"] == 25 and found[3]["tries"] == 1
    assert (out / "one.mp4").read_bytes() == (out / "sub" / "two.mp4").read_bytes()      # the same job twice is the same file
    late.write_bytes(face_clip.read_bytes())
    assert main(["batch", str(jobs), "-o", str(out), "--resume", *quiet]) == 0
    assert [entry["job"] for entry in entries(out)][3:] == [3]
    assert main(["batch", str(jobs), "-o", str(out), *quiet]) == 1      # what is there is not overwritten unasked


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize(("retries", "status"), [(1, "done"), (0, "failed")])
def test_a_worker_that_is_killed_costs_a_try(face_clip: Path, sound: Path, tmp_path: Path, retries: int, status: str) -> None:
    jobs = read_jobs(listed(tmp_path / "jobs.jsonl", face_clip, sound, ["one.mp4"]), tmp_path / "out")
    pool, killed = Pool(1), []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".one.0a1b2c3d.partial.mp4").touch()          # what it may have been writing

    def kill(running: float) -> None:
        if not killed and pool._workers[0].task is not None:
            killed.append(pool._workers[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    (result,) = pool.run(Schedule(jobs, retries=retries), kill)
    assert killed and (result.status, result.tries) == (status, 1 + retries)
    assert [file.name for file in (tmp_path / "out").iterdir()] == (["one.mp4"] if status == "done" else [])
    assert status == "done" or "SIGKILL" in result.error


@POSIX
@pytest.mark.slow
def test_ctrl_c_ends_cleanly(face_clip: Path, sound: Path, tmp_path: Path) -> None:
    jobs = listed(tmp_path / "jobs.jsonl", face_clip, sound, [f"{i}.mp4" for i in range(40)], preset="veryslow")
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-m", "lipsync_core", "batch", str(jobs), "-o", str(out), "--workers", "2"],
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))     # ignored where a shell put us behind
    try:
        until = time.monotonic() + 60
        while not (out / "manifest.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)                         # as a terminal does: to all of them
        assert process.wait(30) == 130 and "--resume" in process.stderr.read()
    finally:
        process.kill()
    done = {Path(entry["output"]).name for entry in entries(out)}
    assert done and {file.name for file in out.iterdir()} == done | {"manifest.jsonl"}
