"""`python -m lipsync_core batch`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LipSyncError
from ..types import Hooks
from . import places

if TYPE_CHECKING:
    from .cluster import Cluster
    from .jobs import Job
    from .pool import Pool

EXAMPLES = """examples:
  python -m lipsync_core batch jobs.csv -o dubbed/                     video,audio,output,strength,... in the first line
  python -m lipsync_core batch jobs.jsonl -o dubbed/ --resume          only what is missing or failed
  python -m lipsync_core batch videos/ --sounds german/ -o dubbed/     a sound for each video, by its name
  python -m lipsync_core batch jobs.csv -o dubbed/ --set preset=fast --set strength=1.1 --dry-run
  python -m lipsync_core batch films.csv -o dubbed/ --split            long films in pieces, on all cores at once
  python -m lipsync_core batch jobs.csv -o s3://bucket/dubbed --ray auto --cpus-per-worker 2
"""
PIECE = 60.0
"""Seconds of a piece where --split says nothing else."""


def add_parser(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommand `batch`."""
    batch = commands.add_parser("batch", parents=[common], help="dub a list of videos on all cores, or on a Ray cluster", epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                description="Dub many videos. JOBS is CSV or JSON Lines with video, audio, output and any option of dub "
                                "(- for standard input), or a folder of videos. What became of each job is appended to "
                                "OUT/manifest.jsonl as it ends. Files may be URLs that fsspec knows (s3://, gs://, ...).")
    batch.add_argument("jobs", metavar="JOBS")
    batch.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the results: a path, or a URL")
    batch.add_argument("--sounds", type=Path, metavar="FOLDER", help="where JOBS is a folder: the sounds, named as the videos")
    batch.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of dub for all jobs that don't say "
                       "otherwise")
    batch.add_argument("--manifest", type=Path, metavar="FILE", help="default: manifest.jsonl in OUT; where that is a URL, in this folder")
    batch.add_argument("--resume", action="store_true", help="leave out what the manifest says is done and whose result is there; of films "
                       "in pieces make only those that are missing")
    batch.add_argument("--force", action="store_true", help="overwrite results that exist")
    batch.add_argument("--retries", type=int, default=1, metavar="N", help="how often a job is tried again whose process died or had too "
                       "little memory (default 1)")
    batch.add_argument("--split", type=float, nargs="?", const=PIECE, default=0.0, metavar="SEC", help="make films in pieces of about SEC "
                       f"seconds (default {PIECE:g}), which end at cuts where there are some; they are joined without encoding again")
    batch.add_argument("--dry-run", action="store_true", help="check every job's files and options, and dub nothing")
    where = batch.add_argument_group("workers")
    where.add_argument("--workers", type=int, metavar="N", help="processes (default: as many as cores, at most 16; with --ray as many as "
                       "the cluster has room for)")
    where.add_argument("--ray", metavar="auto|ADDRESS", help="work on a Ray cluster: the one that this machine is part of, or "
                       "ray://HOST:PORT (needs: pip install -r requirements-cluster.txt)")
    where.add_argument("--cpus-per-worker", type=float, default=1.0, metavar="N", help="cores of the cluster that a worker takes (default "
                       "1)")
    where.add_argument("--gpus-per-worker", type=float, default=0.0, metavar="N", help="GPUs of the cluster that a worker takes, also a "
                       "part of one such as 0.5 (default 0)")
    batch.set_defaults(run=run, stopped="stopped; what was done is in the manifest, --resume goes on from there")


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Raises `LipSyncError` where a job failed."""
    from .jobs import read_jobs

    if (chosen.workers or 1) < 1 or chosen.retries < 0:
        raise LipSyncError("There must be 1 worker or more, and 0 retries or more.")
    if not (chosen.split == 0 or 1 <= chosen.split < float("inf")):
        raise LipSyncError(f"Pieces of {chosen.split:g} s are none: use 1 s or more, for example --split 60.")
    usual = dict(_key_value(text) for text in chosen.set)
    text = sys.stdin.read() if chosen.jobs == "-" else None
    jobs = read_jobs(chosen.jobs, chosen.output, sounds=chosen.sounds, text=text, usual=usual)
    if chosen.dry_run:
        _check_all(jobs, hooks)
        return
    from .manifest import NAME, Manifest
    from .schedule import DONE, Schedule

    manifest = Manifest(chosen.manifest or (Path(NAME) if places.is_url(chosen.output) else Path(chosen.output, NAME)))
    done = manifest.done() if chosen.resume else set()
    left = [job for job in jobs if not (job.key in done and places.exists(job.output))]
    schedule = Schedule(left, retries=chosen.retries, force=chosen.force, split=chosen.split, resume=chosen.resume)
    failed, ended = 0, len(jobs) - len(left)

    def tell(running: float) -> None:
        hooks.progress("batch", round(ended + running, 1), len(jobs))

    hooks.progress("batch", ended, len(jobs))
    for result in _workers(chosen, len(left)).run(schedule, tell):
        manifest.add(result.job, result.status, error=result.error, seconds=round(result.seconds, 2), tries=result.tries,
                     report=result.report)
        ended += 1
        if result.status != DONE:
            failed += 1
            hooks.warn(f"job {result.job.number} ({places.name_of(result.job.output)}): {(result.error or 'failed').splitlines()[0]}")
        hooks.progress("batch", ended, len(jobs))
    sys.stdout.write(f"{len(left) - failed} dubbed, {failed} failed, {len(jobs) - len(left)} were done before: {manifest.file}\n")
    if failed:
        raise LipSyncError(f"{failed} of {len(left)} jobs failed: {manifest.file} says why, --resume tries them again.")


def _workers(chosen: argparse.Namespace, count: int) -> Pool | Cluster:
    """Who works `count` jobs off."""
    if chosen.ray is not None:
        from .cluster import Cluster

        return Cluster(chosen.ray, workers=chosen.workers, cpus=chosen.cpus_per_worker, gpus=chosen.gpus_per_worker)
    from .pool import Pool

    workers = chosen.workers or min(16, os.cpu_count() or 1)
    return Pool(workers if chosen.split else min(workers, max(1, count)))


def _check_all(jobs: list[Job], hooks: Hooks) -> None:
    wrong = 0
    for number, job in enumerate(jobs, 1):
        try:
            _check(job)
        except (LipSyncError, StopIteration) as error:
            wrong += 1
            hooks.warn(f"job {job.number} ({places.name_of(job.output)}): {str(error) or 'its audio holds no sound'}")
        hooks.progress("check jobs", number, len(jobs))
    sys.stdout.write(f"{len(jobs) - wrong} of {len(jobs)} jobs can be done\n")
    if wrong:
        raise LipSyncError(f"{wrong} of {len(jobs)} jobs can't be done as they are.")


def _check(job: Job) -> None:
    from ..audio import sound_blocks
    from ..dub_command import options_of
    from ..media import VideoSource
    from .jobs import dub_parser

    urls = [url for argument in job.arguments if (url := places.url_of(argument))]
    for url in urls:
        if not places.exists(url):
            raise LipSyncError(f"There is no file {url}.")
    chosen = dub_parser().parse_args(["-o", "out.mp4" if places.is_url(job.output) else job.output, "--force", *job.arguments])
    if urls:                                                          # what is in them is seen by whoever fetches them
        return
    options = options_of(chosen)
    options.check()
    VideoSource(chosen.video)
    sounds = [chosen.audio] if chosen.audio is not None else [voice.speech for voice in options.voices]
    if not sounds:
        raise LipSyncError("There is nothing to say: give an audio, or a voice for each person.")
    for sound in sounds:
        next(sound_blocks(sound))


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LipSyncError(f"{text!r} is no option for all jobs: write KEY=VALUE, for example strength=1.1.")
    return key, value
