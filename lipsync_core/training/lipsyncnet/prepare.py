"""Folders of videos -> shards to train on: `python -m lipsync_core.training.lipsyncnet prepare FOLDER... -o SHARDS`.

Each clip is one task: it is looked at (faces tracked, mouth held against the sound), cut into segments, cropped, and left as one piece in
SHARDS/pieces with a record of what was kept and what was dropped and why. What needs all clips comes at the end: who is who, the split,
offsets of short clips, the shards. A clip whose piece is there is not done again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import torch

from ...errors import LipSyncError, MediaError, OutputError
from ...faces import FaceBackend, create_backend
from ...generators.morph.articulation import Articulation, NetArticulation
from ...types import Hooks
from .clip import ClipFile, ClipOptions, prepare_clip, signature, whole_clip
from .packing import TEST_SHARE, PackOptions, pack, table
from .quality import Limits
from .shards import SHARD_MB

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".mxf")
LONGEST_NAME = 64
"""Of a clip within keys: a tar file's names end at 100."""

# -- which clips ---------------------------------------------------------------------------------------------------------------


def find_clips(folders: Sequence[Path], limit: int = 0) -> list[ClipFile]:
    """All videos under the folders, in the order of their names; the first `limit` of each folder (0 = all). Raises `MediaError`."""
    found: list[tuple[Path, str]] = []
    for folder in folders:
        if not folder.is_dir():
            raise MediaError(f"There is no folder {folder}: name folders of videos.")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
        wanted = sorted(inside for inside, path in files.items() if path.is_file())[:limit or None]
        found += [(files[inside], f"{folder.resolve().name}/{inside}") for inside in wanted]
    if not found:
        raise MediaError(f"There is no video in {', '.join(map(str, folders))}: endings looked for are {', '.join(SUFFIXES)}.")
    plain = Counter(_slug(shown)[0] for _, shown in found)
    clips, taken = [], set()
    for file, shown in found:
        name, lost = _slug(shown)
        if lost or plain[name] > 1:
            tail = hashlib.sha256(shown.encode()).hexdigest()[:8]
            name = f"{name[:LONGEST_NAME - 9]}-{tail}".lstrip("-_")
        if name in taken:
            raise MediaError(f"Two of the folders hold {shown}: give folders of different names, or prepare them apart.")
        taken.add(name)
        clips.append(ClipFile(file, name, shown))
    return clips


def _slug(shown: str) -> tuple[str, bool]:
    """`talking/Anna 1.mp4` -> talking__anna-1; and whether too much was lost for it to be told from others."""
    stem = shown[:shown.rindex(".")].lower().replace("/", "__")
    name = re.sub(r"[^a-z0-9_-]+", "-", stem)
    kept = sum(c.isalnum() and c.isascii() for c in stem)
    return name[:LONGEST_NAME], len(name) > LONGEST_NAME or kept < sum(c.isalnum() for c in stem)


def read_prefixes(given: Sequence[str]) -> list[str]:
    """Prefixes as they are, commas part them; what is a file holds one a line, # begins a comment. Raises `LipSyncError`."""
    prefixes: list[str] = []
    for text in given:
        if Path(text).is_file():
            lines = Path(text).read_text(encoding="utf-8").splitlines()
            prefixes += [stripped for line in lines if (stripped := line.partition("#")[0].strip())]
        else:
            prefixes += [part.strip() for part in text.split(",") if part.strip()]
    if given and not prefixes:
        raise LipSyncError(f"There is no name in {' '.join(given)}: write one beginning of a clip's name a line.")
    return prefixes


# -- many clips ----------------------------------------------------------------------------------------------------------------

_models: dict[tuple[str, str], tuple[FaceBackend, Articulation]] = {}
"""Of this process, by backend and device."""


def _begin() -> None:
    """In a worker: networks this small gain nothing from threads, the workers are the threads."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    threading.Thread(target=_end_with_parent, name="openlipsync-parent", daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _task(clip: ClipFile, folder: Path, options: ClipOptions) -> dict[str, Any]:
    """One clip in a worker. An error that is not the clip's own is said in the record, which is not kept: the next run tries again."""
    try:
        wanted = (options.backend, options.device)
        if wanted not in _models:
            _models[wanted] = create_backend(*wanted), NetArticulation()
        return prepare_clip(clip, folder, options, *_models[wanted])
    except OutputError:
        raise
    except Exception as error:                                        # a bug, or memory: the other clips go on
        log.exception("%s", clip.shown)
        return _failed(clip, "error", f"{type(error).__name__}: {error}")


def _failed(clip: ClipFile, why: str, says: str) -> dict[str, Any]:
    return {"clip": clip.name, "file": clip.shown, "seconds": 0.0, "faces": 0, "cuts": [], "segments": [],
            "dropped": [whole_clip(0.0, why, says=says)]}


def done_record(clip: ClipFile, folder: Path, options: ClipOptions) -> dict[str, Any] | None:
    """What an earlier run left of a clip, if it is whole, of the same file and of the same settings."""
    try:
        record = json.loads((folder / f"{clip.name}.json").read_text(encoding="utf-8"))
        if record["settings"] != options.digest() or record["source"] != signature(clip.file) or record["file"] != clip.shown:
            return None
        if record["segments"]:
            end = max(sum(place) for entry in record["segments"] for place in entry["places"].values())
            if (folder / f"{clip.name}.tar").stat().st_size < end:
                return None
        return record
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare_pieces(clips: Sequence[ClipFile], folder: Path, options: ClipOptions, workers: int, hooks: Hooks) -> list[dict[str, Any]]:
    """The records of all clips, those of earlier runs included, in the order of `clips`.

    `workers` processes, 0 = this one. A clip that ends its process (out of memory, a bug in a decoder) is tried once more alone, then
    reported; the others go on. Raises `OutputError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} can't be made ({error.strerror}): choose another place.") from error
    for partial in folder.glob("*.partial"):
        partial.unlink()
    records = {clip.name: record for clip in clips if (record := done_record(clip, folder, options)) is not None}
    todo = [clip for clip in clips if clip.name not in records]
    hooks.progress("prepare", len(records), len(clips))

    def ready(clip: ClipFile, record: dict[str, Any]) -> None:
        records[clip.name] = record
        hooks.progress("prepare", len(records), len(clips))

    if workers < 1:
        for clip in todo:
            hooks.check_interrupt()
            ready(clip, _task(clip, folder, options))
    else:
        _in_processes(deque(todo), folder, options, workers, ready, hooks)
    return [records[clip.name] for clip in clips]


def _in_processes(todo: deque[ClipFile], folder: Path, options: ClipOptions, workers: int,
                  ready: Callable[[ClipFile, dict[str, Any]], None], hooks: Hooks) -> None:
    suspects: list[ClipFile] = []
    while todo or suspects:
        # Whoever was at work when a process ended is tried alone: the one that ends it again is the culprit.
        alone = bool(suspects)
        batch = deque(suspects[:1]) if alone else todo
        with ProcessPoolExecutor(1 if alone else workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin) as pool:
            running: dict[Future, ClipFile] = {}
            try:
                while batch or running:
                    while batch and len(running) < 2 * workers:
                        clip = batch.popleft()
                        running[pool.submit(_task, clip, folder, options)] = clip
                    for future in wait(running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                        record = future.result()
                        ready(running.pop(future), record)
                    hooks.check_interrupt()
            except BrokenProcessPool:
                if alone:
                    ready(suspects[0], _failed(suspects[0], "crashed", "the process that worked on it ended (memory?)"))
                else:
                    suspects = list(running.values())
                    continue
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        suspects = suspects[1:]


def prepare(folders: Sequence[Path], output: Path, clip_options: ClipOptions | None = None, pack_options: PackOptions | None = None, *,
            limit: int = 0, workers: int = 0, hooks: Hooks | None = None) -> dict[str, Any]:
    """Folders of videos -> shards in `output`; returns the report. Goes on where an earlier run stopped. Raises `LipSyncError`.

    `limit`: only the first so many clips of each folder; `workers`: processes, 0 = this one."""
    hooks = hooks or Hooks()
    clip_options, pack_options = clip_options or ClipOptions(), pack_options or PackOptions()
    if clip_options.size % 2 or not 64 <= clip_options.size <= 1024:
        raise LipSyncError(f"Crops of {clip_options.size} px can't be stored: choose an even size from 64 to 1024.")
    if not 0 < clip_options.limits.shortest <= clip_options.limits.longest:
        raise LipSyncError("Segments must be longer than 0 s, and the longest not shorter than the shortest: check --seconds.")
    clips = find_clips(folders, limit)
    pieces = output / "pieces"
    records = prepare_pieces(clips, pieces, clip_options, workers, hooks)
    report = pack(records, pieces, output, pack_options, hooks)
    splits = report["kept"]["splits"]
    if not splits:
        hooks.warn("Nothing was kept: the table says why, and what is good enough can be changed (--help).")
    elif len(splits) < 2:
        missing = "test" if "train" in splits else "training"
        hooks.warn(f"There is no {missing} split: name the people that are tested on with --test-people.")
    return report


# -- command line --------------------------------------------------------------------------------------------------------------

EXAMPLES = """examples:
  ... prepare grid/ interviews/ -o shards --test-people held_out.txt
  ... prepare clips/ -o shards --workers 16 --size 544 --shard-mb 1000
"""


def add_prepare(commands: argparse._SubParsersAction) -> None:
    """The subcommand `prepare`."""
    parser = commands.add_parser("prepare", help="folders of videos -> shards", epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    limits = Limits()
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="videos, in folders below it too")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SHARDS", help="folder; clips done before are not done again")
    parser.add_argument("--size", type=int, default=288, help="side of the crops, pixels (default 288: for a network of 256 px)")
    parser.add_argument("--workers", type=int, default=_cores(), metavar="N", help="processes (default: one a core; 0: this one)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N clips of each folder")
    who = parser.add_argument_group("who is who")
    who.add_argument("--test-people", nargs="+", default=[], metavar="LIST", help="beginnings of clips' names, or a file with one a line: "
                     "their people are tested on. Better than what happens without: people are told apart by a rough look at their faces")
    who.add_argument("--people", nargs="+", default=[], metavar="LIST", help="beginnings of clips' names that stand for one person each")
    who.add_argument("--test-share", type=float, default=TEST_SHARE, metavar="X", help="without --test-people: share of the seconds that "
                     f"is tested on (default {TEST_SHARE:g})")
    what = parser.add_argument_group("what is good enough")
    what.add_argument("--face", type=float, default=limits.face, metavar="PX", help="distance of the outer eye corners, at least "
                      f"(default {limits.face:g})")
    what.add_argument("--yaw", type=float, default=limits.yaw, metavar="DEG", help=f"at most (default {limits.yaw:g})")
    what.add_argument("--pitch", type=float, default=limits.pitch, metavar="DEG", help=f"at most (default {limits.pitch:g})")
    what.add_argument("--covered", type=float, default=limits.covered, metavar="X", help="how little of the usual mouth may be seen, 0..1 "
                      f"(default {limits.covered:g})")
    what.add_argument("--speech", type=float, default=limits.speech, metavar="X", help="share of a segment in which somebody speaks, at "
                      f"least (default {limits.speech:g})")
    what.add_argument("--sharpness", type=float, default=limits.sharpness, metavar="X", help=f"at least (default {limits.sharpness:g})")
    what.add_argument("--seconds", type=float, nargs=2, default=(limits.shortest, limits.longest), metavar=("MIN", "MAX"),
                      help=f"length of a segment (default {limits.shortest:g} {limits.longest:g})")
    what.add_argument("--tell", type=float, default=limits.tell, metavar="SEC", help="clips at least so long are dropped where mouth and "
                      f"sound don't go together (default {limits.tell:g})")
    what.add_argument("--unsure", choices=("keep", "drop"), default="keep", help="what to do with shorter ones of which that can't be told "
                      "(default keep)")
    parser.add_argument("--backend", default="builtin", choices=("builtin", "face-alignment"), help="face models (default builtin)")
    parser.add_argument("--device", default="cpu", help="torch device of the face models (default cpu)")
    parser.add_argument("--shard-mb", type=float, default=SHARD_MB, metavar="MB", help=f"size of a shard, at most (default {SHARD_MB:g})")
    parser.add_argument("--seed", type=int, default=0, help="of the order of samples and the choice of test people")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace, hooks: Hooks | None = None) -> None:
    """Prepare, and show the table. Raises `LipSyncError`."""
    limits = Limits(face=chosen.face, yaw=chosen.yaw, pitch=chosen.pitch, covered=chosen.covered, speech=chosen.speech,
                    sharpness=chosen.sharpness, shortest=chosen.seconds[0], longest=chosen.seconds[1], tell=chosen.tell)
    if not 0 <= chosen.test_share < 1 or chosen.shard_mb <= 0:
        raise LipSyncError("--test-share must be 0 or more and under 1, and --shard-mb above 0.")
    pack_options = PackOptions(tuple(read_prefixes(chosen.test_people)), tuple(read_prefixes(chosen.people)), chosen.test_share,
                               chosen.unsure, chosen.shard_mb, chosen.seed)
    clip_options = ClipOptions(chosen.size, limits, chosen.backend, chosen.device)
    report = prepare(chosen.folders, chosen.output, clip_options, pack_options, limit=chosen.limit, workers=chosen.workers,
                     hooks=hooks or Hooks(progress=_Told(), warn=log.warning))
    sys.stdout.write(table(report) + f"\nshards, index.json and report.json are in {chosen.output}\n")


class _Told:
    """Progress in the log: a line a minute, and the last of each stage."""

    def __init__(self) -> None:
        self.stage, self.begin, self.last, self.first = "", 0.0, 0.0, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.begin, self.last, self.first = stage, now, now, done
        if now - self.last >= 60 or done == total:
            log.info("%s: %d of %d, %.2f a second", stage, done, total, (done - self.first) / max(now - self.begin, 1e-3))
            self.last = now


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
