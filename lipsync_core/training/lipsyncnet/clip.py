"""One clip: looked at, cut into stretches, cropped, and left as a piece with a record of what was dropped and why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...audio import load_speech
from ...errors import LipSyncError, MediaError, OutputError
from ...faces import FaceBackend, Tracker
from ...faces.align import steady_matrix, transform
from ...faces.geometry import eye_distance
from ...generators.morph.articulation import Articulation
from ...media import FrameView, VideoSource, open_media
from ...threads import Prefetch
from ...types import FaceTrack
from . import quality
from .likeness import look_of
from .pieces import CropVideo, Piece, array_bytes, json_bytes, piece_sound, relation_fields, write_whole
from .quality import Glances, Limits
from .relation import AHEAD, AT_LEAST, LAGS, STILL, MouthCurve, Relation, SoundShape, mouth_curve, pooled, relate, sound_shape, who_speaks

VERSION = 1
"""Of the pieces: another number, and all clips are done again."""
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


@dataclass
class ClipSegment:
    """A stretch that is to become a sample."""

    track: int
    rows: tuple[int, int]
    number: int
    relation: Relation = field(default_factory=lambda: Relation(np.zeros(len(LAGS)), 0.0))
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
            record |= {"seconds": round(source.info.duration, 3), "dropped": [whole_clip(source.info.duration, "no sound")]}
        elif source.frame_rate < options.limits.fps:
            record |= {"seconds": round(source.info.duration, 3), "dropped": [whole_clip(source.info.duration, "slow")]}
        else:
            _work_through(source, samples, sound_start, clip, folder, options, backend, articulation, record, check)
    except LipSyncError as error:
        if isinstance(error, OutputError):
            raise
        record |= {"segments": [], "dropped": [whole_clip(0.0, "unreadable", says=str(error))]}
    if not record["segments"]:
        (folder / f"{clip.name}.tar").unlink(missing_ok=True)
    write_whole(folder / f"{clip.name}.json", json_bytes(record))
    return record


def signature(file: Path) -> list[int]:
    """By which a file that was changed is known: bytes and time of change."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def whole_clip(seconds: float, why: str, **detail: Any) -> dict[str, Any]:
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
        record["dropped"] = [whole_clip(seconds, "no face")]
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
    record["looks"] = {str(k): [round(float(v), 2) for v in look_of(work.tracks[k], work.cells[k], work.verdicts[k] == "")]
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
    sound = sound_shape(articulation, samples, sound_start, seconds)
    work = ClipWork(tracker.finish(), times, list(tracker.shot_starts), [], [], step, sound, [])
    for track in work.tracks:
        jumps, cells = glances.of(track)
        work.shots += [int(track.frames[row]) for row in quality.face_changes(jumps)]
        verdict = quality.judge_rows(track, source.size, options.limits)
        work.verdicts.append(verdict)
        work.cells.append(cells)
        work.mouths.append(mouth_curve(track, verdict == ""))
    work.shots = sorted(set(work.shots))
    return work, seconds


def _segments(work: ClipWork, limits: Limits) -> tuple[Relation, list[ClipSegment]]:
    """What is to be cropped; what is not is dropped with its reason. And the clip's own relation of mouth and sound."""
    runs: list[tuple[int, int, int]] = []
    for number, track in enumerate(work.tracks):
        for begin, end, why in quality.stretches(track, work.shots, work.verdicts[number]):
            if why:
                work.drop(number, (begin, end), why)
            else:
                runs.append((number, begin, end))
    parts = _shot_relations(work)
    clip = pooled([relation for _, _, relation in parts if relation is not None])
    offset = clip.offset if clip.sure else None
    segments: list[ClipSegment] = []
    for number, begin, end in sorted(runs, key=lambda run: (work.tracks[run[0]].frames[run[1]], run[0])):
        pieces = quality.divide(work.tracks[number].times[begin:end], work.step, limits)
        if not pieces:
            work.drop(number, (begin, end), "short")
        for low, high in pieces:
            segment = ClipSegment(number, (begin + low, begin + high), len(segments))
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
                relation = relate(work.mouths[number].part(track.times[rows[0]], track.times[rows[-1]]), work.sound)
                if relation.seconds:
                    there.append((shot, number, relation))
        if len(there) > 1:
            speaker = int(np.argmax([relation.peak for _, _, relation in there]))
            others = max(relation.peak for i, (_, _, relation) in enumerate(there) if i != speaker)
            there = [there[speaker]] if there[speaker][2].peak - others >= AHEAD else []
        found += there
    return found


def _wanted(segment: ClipSegment, work: ClipWork, clip: Relation, offset: float | None, limits: Limits) -> bool:
    """Whether a segment teaches, as far as its own clip tells; measures it. Else it is dropped."""
    track, (begin, end) = work.tracks[segment.track], segment.rows
    first, last = float(track.times[begin]), float(track.times[end - 1])
    mouth = work.mouths[segment.track].part(first, last)
    speaking = work.sound.speaking[mouth.first:mouth.first + len(mouth.opening)]
    segment.speech = float((speaking > 0.5).mean()) if len(speaking) else 0.0
    segment.relation = relate(mouth, work.sound)
    if segment.speech < limits.speech:
        work.drop(segment.track, segment.rows, "no speech", speech=round(segment.speech, 3))
        return False
    rivals = _rivals(segment, work)
    if rivals:
        window = (max(0.0, (first + last - WINDOW) / 2), (first + last + WINDOW) / 2)
        window = (min(window[0], first), max(window[1], last))
        relations = [relate(work.mouths[k].part(*window), work.sound) for k in (segment.track, *rivals)]
        speaker = who_speaks(relations, offset)
        if speaker != 0:
            at = 0.0 if offset is None else offset
            scores = [round(relation.near(at, 0.3 if offset is None else 0.06), 3) for relation in relations]
            work.drop(segment.track, segment.rows, "two faces" if speaker is None else "another speaks", scores=scores)
            return False
    if mouth.range < STILL:
        work.drop(segment.track, segment.rows, "still", range=round(mouth.range, 4))
        return False
    if clip.seconds >= limits.tell and offset is None:
        work.drop(segment.track, segment.rows, "no relation", best=round(clip.peak, 3), lag_ms=round(1000 * clip.offset),
                  confidence=round(clip.confidence, 3))
        return False
    if offset is not None and segment.relation.near(offset) < AT_LEAST:
        work.drop(segment.track, segment.rows, "not speaking", relation=round(segment.relation.near(offset), 3))
        return False
    return True


def _rivals(segment: ClipSegment, work: ClipWork) -> list[int]:
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


def _crops(source: VideoSource, segments: Sequence[ClipSegment], work: ClipWork, samples: np.ndarray, sound_start: float,
           options: ClipOptions, check: Callable[[], None]) -> Iterator[tuple[ClipSegment, dict[str, bytes], dict[str, Any]]]:
    """The second pass: every segment's parts and its `meta`, in the order in which they end."""
    def frames_of(segment: ClipSegment) -> np.ndarray:
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

    def __init__(self, segment: ClipSegment, work: ClipWork, options: ClipOptions, source: VideoSource) -> None:
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


