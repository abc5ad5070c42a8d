"""Folders of videos -> shards to train on: `python -m lipsync_core.training.lipsyncnet prepare FOLDER... -o SHARDS`.

Each clip is one task: it is looked at (faces tracked, mouth held against the sound), cut into segments, cropped, and left as one piece in
SHARDS/pieces with a record of what was kept and what was dropped and why. What needs all clips comes at the end: who is who, the split,
offsets of short clips, the shards. A clip whose piece is there is not done again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...audio import load_speech
from ...errors import LipSyncError, MediaError, OutputError
from ...faces import FaceBackend, Tracker, create_backend
from ...faces.align import steady_matrix, transform
from ...faces.geometry import eye_distance
from ...generators.morph.articulation import Articulation, NetArticulation
from ...media import FrameView, VideoSource, open_media
from ...threads import Prefetch
from ...types import FaceTrack, Hooks
from . import quality
from .quality import Glances, Limits, MouthCurve, Relation, SoundShape
from .shards import (
    SHARD_MB,
    TEST_SHARE,
    CropVideo,
    PackOptions,
    Piece,
    array_bytes,
    json_bytes,
    pack,
    piece_sound,
    relation_fields,
    table,
    write_whole,
)

log = logging.getLogger(__name__)

VERSION = 1
"""Of the pieces: another number, and all clips are done again."""
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".mxf")
LONGEST_NAME = 64
"""Of a clip within keys: a tar file's names end at 100."""
WINDOW = 6.0
"""Seconds about a segment in which several faces are compared."""
RIVAL = 0.35
"""Faces smaller than this share of a segment's own don't count as a second face."""


@dataclass(frozen=True)
class ClipOptions:
    """What decides how a piece turns out."""

    size: int = 288
    limits: Limits = field(default_factory=Limits)
    backend: str = "builtin"
    device: str = "cpu"

    def digest(self) -> str:
        return hashlib.sha256(json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ClipFile:
    """A video and its name in keys: `<folder>__<path in it>`, of [a-z0-9_-] only."""

    file: Path
    name: str
    shown: str
    """As the report names it."""


# -- which clips -----------------------------------------------------------------------------------------------------------------


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


# -- one clip --------------------------------------------------------------------------------------------------------------------


@dataclass
class Segment:
    """A stretch that is to become a sample."""

    track: int
    rows: tuple[int, int]
    number: int
    relation: Relation = field(default_factory=lambda: Relation(np.zeros(len(quality.LAGS)), 0.0))
    speech: float = 0.0


@dataclass
class ClipWork:
    """What is known of a clip while it is worked on."""

    tracks: list[FaceTrack]
    times: list[float]
    """Seconds, of every frame."""
    shots: list[int]
    """Frames that begin a shot, or at which one face becomes another."""
    verdicts: list[np.ndarray]
    cells: list[np.ndarray]
    step: float
    """Seconds from frame to frame."""
    sound: SoundShape
    mouths: list[MouthCurve]
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, track: int, rows: tuple[int, int], why: str, **detail: Any) -> None:
        times = self.tracks[track].times
        self.dropped.append({"start": round(float(times[rows[0]]), 3), "end": round(float(times[rows[1] - 1]) + self.step, 3),
                             "person": track, "why": why, **detail})


def prepare_clip(clip: ClipFile, folder: Path, options: ClipOptions, backend: FaceBackend, articulation: Articulation,
                 check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Work a clip through and leave `<name>.tar` and `<name>.json` in `folder`; returns the record. Frames are read twice and never kept.

    Raises `OutputError` where nothing can be written. What is wrong with the clip itself is said in the record.
    """
    record: dict[str, Any] = {"clip": clip.name, "file": clip.shown, "settings": options.digest(), "source": signature(clip.file),
                              "seconds": 0.0, "faces": 0, "cuts": [], "segments": [], "dropped": []}
    try:
        source = VideoSource(clip.file)
        record["fps"] = round(float(source.frame_rate), 4)
        try:
            samples, sound_start = load_speech(clip.file).samples, sound_begins(clip.file)
        except MediaError:
            samples, sound_start = None, 0.0
        if samples is None:
            record |= {"seconds": round(source.info.duration, 3), "dropped": [_whole(source.info.duration, "no sound")]}
        elif source.frame_rate < options.limits.fps:
            record |= {"seconds": round(source.info.duration, 3), "dropped": [_whole(source.info.duration, "slow")]}
        else:
            _work_through(source, samples, sound_start, clip, folder, options, backend, articulation, record, check)
    except LipSyncError as error:
        if isinstance(error, OutputError):
            raise
        record |= {"segments": [], "dropped": [_whole(0.0, "unreadable", says=str(error))]}
    if not record["segments"]:
        (folder / f"{clip.name}.tar").unlink(missing_ok=True)
    write_whole(folder / f"{clip.name}.json", json_bytes(record))
    return record


def signature(file: Path) -> list[int]:
    """By which a file that was changed is known: bytes and time of change."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def _whole(seconds: float, why: str, **detail: Any) -> dict[str, Any]:
    return {"start": 0.0, "end": round(seconds, 3), "person": None, "why": why, **detail}


def sound_begins(file: Path) -> float:
    """Seconds after its first picture at which a file's first sample is heard, as its own timestamps say (0 in most files)."""
    firsts = []
    for kind in ("audio", "video"):
        with open_media(file) as container:
            stream = getattr(container.streams, kind)[0]
            frame = next(container.decode(stream), None)
            firsts.append(float(frame.pts * stream.time_base) if frame is not None and frame.pts is not None else 0.0)
    return firsts[0] - firsts[1]


def _work_through(source: VideoSource, samples: np.ndarray, sound_start: float, clip: ClipFile, folder: Path, options: ClipOptions,
                  backend: FaceBackend, articulation: Articulation, record: dict[str, Any], check: Callable[[], None]) -> None:
    limits = options.limits
    work, seconds = _look(source, samples, sound_start, options, backend, articulation, check)
    record |= {"seconds": round(seconds, 3), "faces": len(work.tracks),
               "cuts": [round(work.times[frame], 3) for frame in work.shots if frame]}
    if not work.tracks:
        record["dropped"] = [_whole(seconds, "no face")]
        return
    relation, segments = _segments(work, limits)
    record |= relation_fields(relation)
    work.dropped += _nobody(work)
    with Piece(folder / f"{clip.name}.tar") as piece:
        for segment, parts, meta in _crops(source, segments, work, samples, sound_start, options, check):
            if meta["sharpness"] < limits.sharpness:
                work.drop(segment.track, segment.rows, "blurred", sharpness=meta["sharpness"])
                continue
            key = f"{clip.name}_p{segment.track}_{segment.number:04d}"
            piece.add(key, parts)
            record["segments"].append({"key": key, "person": segment.track, "places": piece.places[key], "meta": meta,
                                       **relation_fields(segment.relation)})
    record["segments"].sort(key=lambda entry: entry["key"])
    used = sorted({segment["person"] for segment in record["segments"]})
    record["looks"] = {str(k): [round(float(v), 2) for v in quality.look_of(work.tracks[k], work.cells[k], work.verdicts[k] == "")]
                       for k in used}
    record["dropped"] = sorted(work.dropped, key=lambda entry: (entry["start"], -1 if entry["person"] is None else entry["person"]))


def _nobody(work: ClipWork) -> list[dict[str, Any]]:
    """Stretches without a face, as they are reported."""
    empty = np.ones(len(work.times), bool)
    for track in work.tracks:
        empty[track.frames] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(int)))
    return [{"start": round(work.times[a], 3), "end": round(work.times[b - 1] + work.step, 3), "person": None, "why": "no face"}
            for a, b in zip(edges[::2].tolist(), edges[1::2].tolist())]


def _look(source: VideoSource, samples: np.ndarray, sound_start: float, options: ClipOptions, backend: FaceBackend,
          articulation: Articulation, check: Callable[[], None]) -> tuple[ClipWork, float]:
    """The first pass: faces, and what the sound asks of a mouth. And the clip's length in seconds."""
    tracker, glances = Tracker(backend), Glances()
    times: list[float] = []
    with Prefetch(source.frames(threads=1), 2) as frames:
        for item in frames:
            check()
            view = FrameView(item.frame, source.info.rotation)
            times.append(float(item.time))
            glances.add(item.index, view, tracker.feed(item.index, times[-1], view))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / float(source.frame_rate)
    seconds = times[-1] + step if times else 0.0
    sound = quality.sound_shape(articulation, samples, sound_start, seconds)
    work = ClipWork(tracker.finish(), times, list(tracker.shot_starts), [], [], step, sound, [])
    for track in work.tracks:
        jumps, cells = glances.of(track)
        work.shots += [int(track.frames[row]) for row in quality.face_changes(jumps)]
        verdict = quality.judge_rows(track, source.size, options.limits)
        work.verdicts.append(verdict)
        work.cells.append(cells)
        work.mouths.append(quality.mouth_curve(track, verdict == ""))
    work.shots = sorted(set(work.shots))
    return work, seconds


def _segments(work: ClipWork, limits: Limits) -> tuple[Relation, list[Segment]]:
    """What is to be cropped; what is not is dropped with its reason. And the clip's own relation of mouth and sound."""
    runs: list[tuple[int, int, int]] = []
    for number, track in enumerate(work.tracks):
        for begin, end, why in quality.stretches(track, work.shots, work.verdicts[number]):
            if why:
                work.drop(number, (begin, end), why)
            else:
                runs.append((number, begin, end))
    parts = _shot_relations(work)
    clip = quality.pooled([relation for _, _, relation in parts if relation is not None])
    offset = clip.offset if clip.sure else None
    segments: list[Segment] = []
    for number, begin, end in sorted(runs, key=lambda run: (work.tracks[run[0]].frames[run[1]], run[0])):
        pieces = quality.divide(work.tracks[number].times[begin:end], work.step, limits)
        if not pieces:
            work.drop(number, (begin, end), "short")
        for low, high in pieces:
            segment = Segment(number, (begin + low, begin + high), len(segments))
            segments.append(segment)
    return clip, [segment for segment in segments if _wanted(segment, work, clip, offset, limits)]


def _shot_relations(work: ClipWork) -> list[tuple[int, int, Relation | None]]:
    """(shot, track, relation) of whoever may be speaking in each shot: its only face, or the one that goes with the sound."""
    found: list[tuple[int, int, Relation | None]] = []
    for shot, (first, last) in enumerate(zip(work.shots, [*work.shots[1:], np.inf])):
        there = []
        for number, track in enumerate(work.tracks):
            rows = np.flatnonzero((track.frames >= first) & (track.frames < last))
            if len(rows):
                relation = quality.relate(work.mouths[number].part(track.times[rows[0]], track.times[rows[-1]]), work.sound)
                if relation.seconds:
                    there.append((shot, number, relation))
        if len(there) > 1:
            speaker = int(np.argmax([relation.peak for _, _, relation in there]))
            others = max(relation.peak for i, (_, _, relation) in enumerate(there) if i != speaker)
            there = [there[speaker]] if there[speaker][2].peak - others >= quality.AHEAD else []
        found += there
    return found


def _wanted(segment: Segment, work: ClipWork, clip: Relation, offset: float | None, limits: Limits) -> bool:
    """Whether a segment teaches, as far as its own clip tells; measures it. Else it is dropped."""
    track, (begin, end) = work.tracks[segment.track], segment.rows
    first, last = float(track.times[begin]), float(track.times[end - 1])
    mouth = work.mouths[segment.track].part(first, last)
    speaking = work.sound.speaking[mouth.first:mouth.first + len(mouth.opening)]
    segment.speech = float((speaking > 0.5).mean()) if len(speaking) else 0.0
    segment.relation = quality.relate(mouth, work.sound)
    if segment.speech < limits.speech:
        work.drop(segment.track, segment.rows, "no speech", speech=round(segment.speech, 3))
        return False
    rivals = _rivals(segment, work)
    if rivals:
        window = (max(0.0, (first + last - WINDOW) / 2), (first + last + WINDOW) / 2)
        window = (min(window[0], first), max(window[1], last))
        relations = [quality.relate(work.mouths[k].part(*window), work.sound) for k in (segment.track, *rivals)]
        speaker = quality.who_speaks(relations, offset)
        if speaker != 0:
            at = 0.0 if offset is None else offset
            scores = [round(relation.near(at, 0.3 if offset is None else 0.06), 3) for relation in relations]
            work.drop(segment.track, segment.rows, "two faces" if speaker is None else "another speaks", scores=scores)
            return False
    if mouth.range < quality.STILL:
        work.drop(segment.track, segment.rows, "still", range=round(mouth.range, 4))
        return False
    if clip.seconds >= limits.tell and offset is None:
        work.drop(segment.track, segment.rows, "no relation", best=round(clip.peak, 3), lag_ms=round(1000 * clip.offset),
                  confidence=round(clip.confidence, 3))
        return False
    if offset is not None and segment.relation.near(offset) < quality.AT_LEAST:
        work.drop(segment.track, segment.rows, "not speaking", relation=round(segment.relation.near(offset), 3))
        return False
    return True


def _rivals(segment: Segment, work: ClipWork) -> list[int]:
    """Other faces that are there for half of a segment, and not much smaller."""
    track, (begin, end) = work.tracks[segment.track], segment.rows
    mine = float(np.median(eye_distance(track.landmarks[begin:end])))
    result = []
    for number, other in enumerate(work.tracks):
        there = (other.frames >= track.frames[begin]) & (other.frames <= track.frames[end - 1])
        if number != segment.track and there.sum() >= 0.5 * (end - begin):
            if float(np.median(eye_distance(other.landmarks[there]))) >= RIVAL * mine:
                result.append(number)
    return result


def _crops(source: VideoSource, segments: Sequence[Segment], work: ClipWork, samples: np.ndarray, sound_start: float, options: ClipOptions,
           check: Callable[[], None]) -> Iterator[tuple[Segment, dict[str, bytes], dict[str, Any]]]:
    """The second pass: every segment's parts and its `meta`, in the order in which they end."""
    def frames_of(segment: Segment) -> np.ndarray:
        return work.tracks[segment.track].frames[slice(*segment.rows)]

    waiting = deque(sorted(segments, key=lambda segment: (int(frames_of(segment)[0]), segment.number)))
    running: list[_Cropping] = []
    if not waiting:
        return
    with Prefetch(source.frames(threads=1), 2) as frames:
        for item in frames:
            check()
            while waiting and frames_of(waiting[0])[0] == item.index:
                running.append(_Cropping(waiting.popleft(), work, options, source))
            if not running:
                if not waiting:
                    break
                continue
            view = FrameView(item.frame, source.info.rotation)
            for cropping in running:
                cropping.add(view)
            for cropping in [c for c in running if c.done]:
                running.remove(cropping)
                yield cropping.segment, *cropping.finish(samples, sound_start)
            if not running and not waiting:
                break


class _Cropping:
    """A segment on its way into a video."""

    def __init__(self, segment: Segment, work: ClipWork, options: ClipOptions, source: VideoSource) -> None:
        self.segment, self.work, self.size = segment, work, options.size
        self.track = work.tracks[segment.track]
        self.row = segment.rows[0]
        # What a file says of its rate can be far from its timestamps.
        rate = source.frame_rate if 0.5 < source.frame_rate * work.step < 2 else Fraction(1 / work.step)
        self.video = CropVideo(options.size, rate)
        self.points: list[np.ndarray] = []
        self.sharp: list[float] = []

    @property
    def done(self) -> bool:
        return self.row == self.segment.rows[1]

    def add(self, view: FrameView) -> None:
        landmarks = self.track.landmarks[self.row]
        matrix = steady_matrix(landmarks, self.size)
        crop = view.warp(matrix, (self.size, self.size))
        self.video.add(crop)
        self.points.append(transform(matrix, landmarks).astype(np.float32))
        if self.video.count % 5 == 1:
            self.sharp.append(quality.sharpness(crop))
        self.row += 1

    def finish(self, samples: np.ndarray, sound_start: float) -> tuple[dict[str, bytes], dict[str, Any]]:
        rows = slice(*self.segment.rows)
        times = self.track.times[rows]
        begin, last = float(times[0]), float(times[-1] - times[0])
        parts = {"video.mp4": self.video.finish(), "landmarks.npy": array_bytes(np.stack(self.points)),
                 "times.npy": array_bytes(times - begin), "audio.npy": array_bytes(piece_sound(samples, begin - sound_start, last))}
        return parts, {
            "start": round(begin, 4), "seconds": round(last + self.work.step, 3), "fps": round((len(times) - 1) / last, 4),
            "size": self.size,
            "face_px": round(float(np.median(eye_distance(self.track.landmarks[rows]))), 1),
            "yaw": round(float(np.median(np.abs(self.track.pose[rows, 0]))), 1), "sharpness": round(float(np.median(self.sharp)), 3),
            "speech": round(self.segment.speech, 3)}


# -- many clips ------------------------------------------------------------------------------------------------------------------

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
            "dropped": [_whole(0.0, why, says=says)]}


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


# -- command line ----------------------------------------------------------------------------------------------------------------

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
