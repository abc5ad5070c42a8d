"""What many workers give and cost.

    python benchmarks/batch.py                two workers against one, the overhead a short job, a film in pieces
    python benchmarks/batch.py --ray          the same 50 short jobs on a Ray cluster of this machine (requirements-cluster.txt), and a node
                                              killed in the middle of as many
    python benchmarks/batch.py --hour         an hour of 1080p by one worker with one thread, worked out from a minute
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from clips import make_clip, make_speech

from lipsync_core import dub
from lipsync_core.batch.jobs import Job, read_jobs
from lipsync_core.batch.pool import Pool
from lipsync_core.batch.schedule import Result, Schedule


def listed(folder: Path, seconds: float, size: tuple[int, int], count: int, **options: object) -> list[Job]:
    clip = folder / f"{size[1]}_{seconds:g}.mp4"
    if not clip.exists():
        make_clip(clip, *size, seconds)
        make_speech(clip.with_suffix(".wav"), seconds)
    lines = [json.dumps({"video": str(clip), "audio": str(clip.with_suffix(".wav")), "output": f"{number}.mp4", **options})
             for number in range(count)]
    return read_jobs("-", folder / "out", text="\n".join(lines))


def timed(results: Iterator[Result], count: int) -> float:
    begun = time.perf_counter()
    ended = [(result.status, result.error) for result in results]
    spent = time.perf_counter() - begun
    if [status for status, _ in ended] != ["done"] * count:
        raise SystemExit(f"Not all jobs were done: {ended}")
    return spent


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def throughput(work: Path, count: int, seconds: float) -> None:
    jobs, first = listed(work, seconds, (1280, 720), count), 0.0
    for workers, threads, what in ((1, 1, "one thread each"), (2, 1, "one thread each"), (1, 0, "all its threads")):
        before = children()
        spent = timed(Pool(workers, threads=threads).run(Schedule(jobs, force=True)), count)
        first, busy = first or spent, children() - before
        say(f"{count} jobs of {seconds:g} s of 720p, {workers} worker(s) with {what}: {spent:.1f} s, {first / spent:.2f} times as fast; "
            f"{busy:.0f} s of a core, {busy / spent:.2f} cores busy of {os.cpu_count()}")


def overhead(work: Path, count: int) -> None:
    short = listed(work, 0.4, (320, 240), count)
    begun = time.perf_counter()
    for job in short:
        dub(job.arguments[1], job.arguments[2], job.output)
    alone, pooled = time.perf_counter() - begun, timed(Pool(1).run(Schedule(short, force=True)), count)
    say(f"{count} jobs of 0.4 s: in this process {alone:.1f} s, by a pool of one {pooled:.1f} s: "
        f"{1000 * (pooled - alone) / count:.0f} ms a job more, the start of the worker in it")


def split(work: Path, seconds: float) -> None:
    (job,) = listed(work, seconds, (1280, 720), 1, lossless=True, preset="ultrafast")
    before = children()
    whole = timed(Pool(1, threads=1).run(Schedule([job], force=True)), 1)
    alone, before = children() - before, children()
    kept = Path(job.output).rename(work / "whole.mp4")
    pieces = timed(Pool(2, threads=1).run(Schedule([job], force=True, split=seconds / 6)), 1)
    say(f"a film of {seconds:g} s of 720p, lossless: whole {whole:.1f} s and {alone:.0f} s of a core, in six pieces by two workers "
        f"{pieces:.1f} s and {children() - before:.0f} s; {compared(kept, Path(job.output))}")


def compared(one: Path, other: Path) -> str:
    frames = apart = 0
    with av.open(str(one)) as a, av.open(str(other)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True):
            same = x.pts * x.time_base == y.pts * y.time_base and np.array_equal(x.to_ndarray(), y.to_ndarray())
            frames, apart = frames + 1, apart + (not same)
    return f"{frames} frames, {apart} of them with other samples or another time"


def on_ray(work: Path, count: int) -> None:
    import ray
    from ray.cluster_utils import Cluster as Machines

    from lipsync_core.batch.cluster import Cluster

    short = listed(work, 0.4, (320, 240), count)
    pooled = timed(Pool(2, threads=1).run(Schedule(short, force=True)), count)
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [machines.add_node(num_cpus=1) for _ in range(2)]
    begun = time.perf_counter()
    cluster = Cluster(machines.address)
    joined = time.perf_counter() - begun
    spent = timed(cluster.run(Schedule(short, force=True)), count)
    say(f"{count} jobs of 0.4 s by two workers: a pool {pooled:.1f} s, Ray {spent:.1f} s and {joined:.1f} s to join the cluster: "
        f"{1000 * (spent - pooled) / count:.0f} ms a job more")
    ended = []
    for result in cluster.run(Schedule(short, force=True)):
        ended.append(result)
        if len(ended) == count // 3:
            machines.remove_node(nodes[0], allow_graceful=False)
            machines.add_node(num_cpus=1)
    states = Counter(result.status for result in ended)
    left = sorted(file.name for file in Path(short[0].output).parent.iterdir())
    again = sum(result.tries > 1 for result in ended)
    half = [name for name in left if name not in {Path(job.output).name for job in short}]
    say(f"{count} jobs, one of two nodes killed after a third of them: {dict(states)}, {again} begun again, "
        f"{len({result.job.number for result in ended})} different ones of {len(ended)} answers, {len(half)} files that are no result")
    ray.shutdown()
    machines.shutdown()


def hour(work: Path) -> None:
    jobs = listed(work, 60, (1920, 1080), 1)
    before = children()
    spent = timed(Pool(1, threads=1).run(Schedule(jobs, force=True)), 1)
    busy = children() - before
    say(f"a minute of 1080p at 25 frames a second by a worker with one thread: {spent:.0f} s, {busy:.0f} s of a core: "
        f"{busy / 60:.1f} core-hours an hour of film")


def children() -> float:
    """CPU seconds of all processes that this one has seen end."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--short", type=int, default=50)
    parser.add_argument("--film", type=float, default=48)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--hour", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "out").mkdir()
        if chosen.ray:
            on_ray(work, chosen.short)
        elif chosen.hour:
            hour(work)
        else:
            throughput(work, chosen.jobs, chosen.seconds)
            overhead(work, chosen.short)
            split(work, chosen.film)


if __name__ == "__main__":
    main()
