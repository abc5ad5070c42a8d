"""What a pool of workers gives and costs: throughput of two workers over one, and the overhead a job of many short ones.

    python benchmarks/batch.py [--jobs 8] [--seconds 8] [--short 50] [--workers 1 2]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from clips import make_clip, make_speech

from lipsync_core import dub
from lipsync_core.batch.jobs import Job, read_jobs
from lipsync_core.batch.pool import Pool


def listed(folder: Path, seconds: float, size: tuple[int, int], count: int) -> list[Job]:
    clip = make_clip(folder / f"{size[1]}_{seconds:g}.mp4", *size, seconds)
    speech = make_speech(folder / f"{seconds:g}.wav", seconds)
    lines = [json.dumps({"video": str(clip), "audio": str(speech), "output": f"{number}.mp4"}) for number in range(count)]
    return read_jobs("-", folder / "out", text="\n".join(lines))


def timed(jobs: list[Job], workers: int) -> float:
    begun = time.perf_counter()
    ended = [result.status for result in Pool(workers, force=True).run(jobs)]
    spent = time.perf_counter() - begun
    if ended != ["done"] * len(jobs):
        raise SystemExit(f"Not all jobs were done: {ended}")
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--short", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "out").mkdir()
        jobs = listed(work, chosen.seconds, (1280, 720), chosen.jobs)
        spent = {workers: timed(jobs, workers) for workers in chosen.workers}
        first = spent[chosen.workers[0]]
        for workers, seconds in spent.items():
            sys.stdout.write(f"{chosen.jobs} jobs of {chosen.seconds:g} s of 720p, {workers} worker(s): {seconds:.1f} s, "
                             f"{first / seconds:.2f} times as fast\n")
            sys.stdout.flush()
        short = listed(work, 0.4, (320, 240), chosen.short)
        begun = time.perf_counter()
        for job in short:
            dub(job.arguments[1], job.arguments[2], job.output)
        alone, pooled = time.perf_counter() - begun, timed(short, 1)
        sys.stdout.write(f"{chosen.short} jobs of 0.4 s: in this process {alone:.1f} s, by a pool of one {pooled:.1f} s: "
                         f"{1000 * (pooled - alone) / chosen.short:.0f} ms a job more, the start of the worker in it\n")


if __name__ == "__main__":
    main()
