"""`python -m lipsync_core batch`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LipSyncError
from ..types import Hooks

if TYPE_CHECKING:
    from .jobs import Job

EXAMPLES = """examples:
  python -m lipsync_core batch jobs.csv -o dubbed/                     video,audio,output,strength,... in the first line
  python -m lipsync_core batch jobs.jsonl -o dubbed/ --resume          only what is missing or failed
  python -m lipsync_core batch videos/ --sounds german/ -o dubbed/     a sound for each video, by its name
  python -m lipsync_core batch jobs.csv -o dubbed/ --set preset=fast --set strength=1.1 --dry-run
"""


def add_parser(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommand `batch`."""
    batch = commands.add_parser("batch", parents=[common], help="dub a list of videos on all cores", epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                description="Dub many videos. JOBS is CSV or JSON Lines with video, audio, output and any option of dub "
                                "(- for standard input), or a folder of videos. What became of each job is appended to "
                                "OUT/manifest.jsonl as it ends.")
    batch.add_argument("jobs", metavar="JOBS")
    batch.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    batch.add_argument("--sounds", type=Path, metavar="FOLDER", help="where JOBS is a folder: the sounds, named as the videos")
    batch.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of dub for all jobs that don't say "
                       "otherwise")
    batch.add_argument("--workers", type=int, default=min(16, os.cpu_count() or 1), metavar="N",
                       help="processes (default: as many as cores, %(default)s here)")
    batch.add_argument("--resume", action="store_true", help="leave out what the manifest says is done and whose result is there")
    batch.add_argument("--force", action="store_true", help="overwrite results that exist")
    batch.add_argument("--retries", type=int, default=1, metavar="N", help="how often a job is tried again whose process died or had too "
                       "little memory (default 1)")
    batch.add_argument("--dry-run", action="store_true", help="check every job's files and options, and dub nothing")
    batch.set_defaults(run=run, stopped="stopped; what was done is in the manifest, --resume goes on from there")


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Raises `LipSyncError` where a job failed."""
    from .jobs import read_jobs

    if chosen.workers < 1 or chosen.retries < 0:
        raise LipSyncError("There must be 1 worker or more, and 0 retries or more.")
    usual = dict(_key_value(text) for text in chosen.set)
    text = sys.stdin.read() if chosen.jobs == "-" else None
    jobs = read_jobs(chosen.jobs, chosen.output, sounds=chosen.sounds, text=text, usual=usual)
    if chosen.dry_run:
        _check_all(jobs, hooks)
        return
    from .manifest import Manifest
    from .pool import Pool

    manifest = Manifest(chosen.output)
    done = manifest.done() if chosen.resume else set()
    left = [job for job in jobs if not (job.key in done and job.output.is_file())]
    failed, ended = 0, len(jobs) - len(left)
    pool = Pool(min(chosen.workers, max(1, len(left))), retries=chosen.retries, force=chosen.force)
    hooks.progress("batch", ended, len(jobs))
    for result in pool.run(left):
        manifest.add(result.job, result.status, error=result.error, seconds=round(result.seconds, 2), tries=result.tries,
                     report=result.report)
        ended += 1
        if result.status != "done":
            failed += 1
            hooks.warn(f"job {result.job.number} ({result.job.output.name}): {result.error.splitlines()[0]}")
        hooks.progress("batch", ended, len(jobs))
    sys.stdout.write(f"{len(left) - failed} dubbed, {failed} failed, {len(jobs) - len(left)} were done before: {manifest.file}\n")
    if failed:
        raise LipSyncError(f"{failed} of {len(left)} jobs failed: {manifest.file} says why, --resume tries them again.")


def _check_all(jobs: list[Job], hooks: Hooks) -> None:
    from ..audio import sound_blocks
    from ..dub_command import options_of
    from ..media import VideoSource
    from .jobs import dub_parser

    parser, wrong = dub_parser(), 0
    for number, job in enumerate(jobs, 1):
        try:
            chosen = parser.parse_args(["-o", str(job.output), "--force", *job.arguments])
            options = options_of(chosen)
            options.check()
            VideoSource(chosen.video)
            sounds = [chosen.audio] if chosen.audio is not None else [voice.speech for voice in options.voices]
            if not sounds:
                raise LipSyncError("There is nothing to say: give an audio, or a voice for each person.")
            for sound in sounds:
                next(sound_blocks(sound))
        except (LipSyncError, StopIteration) as error:
            wrong += 1
            hooks.warn(f"job {job.number} ({job.output.name}): {str(error) or 'its audio holds no sound'}")
        hooks.progress("check jobs", number, len(jobs))
    sys.stdout.write(f"{len(jobs) - wrong} of {len(jobs)} jobs can be done\n")
    if wrong:
        raise LipSyncError(f"{wrong} of {len(jobs)} jobs can't be done as they are.")


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LipSyncError(f"{text!r} is no option for all jobs: write KEY=VALUE, for example strength=1.1.")
    return key, value
