"""Whose mouth is measured and by which model: landmarks of every frame of a clip."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analysis import Analysis, analyse
from ..errors import FaceError
from ..faces import FaceBackend, FaceRule, choose, create_backend
from ..faces.builtin import overlap
from ..faces.smoothing import smooth_landmarks
from ..media import VideoSource, open_media
from ..types import FaceTrack, Hooks, Picture

OWN_NOTE = "landmarks: built-in, the same that the generator uses: read with care"
SAME_PLACE = 0.4
"""Overlap (intersection over union) from which two boxes are of one face: a chin that drops changes a box by a tenth."""
PACKAGE = Path(__file__).resolve().parents[2]
"""The folder that holds `lipsync_core`."""


@dataclass(frozen=True)
class Mouths:
    """Landmarks of one person, a row a frame of the clip (of its window), NaN where there is no face."""

    times: np.ndarray
    """float64 (n,), seconds from the first frame."""
    points: np.ndarray
    """float32 (n, 68, 2), iBUG order, pixels of the displayed picture."""


@dataclass(frozen=True)
class Person:
    """The person of a clip as the dubbing pipeline saw it: built-in tracks, from which region and activation follow."""

    mouths: Mouths
    track_rows: list[tuple[FaceTrack, int] | None]
    """For every frame the track and its row, None where the face is away."""
    others: list[FaceTrack]
    """All tracks that were chosen (one a shot, or all faces): nothing outside their regions may change."""

    @property
    def activation(self) -> np.ndarray:
        """float32 (n,), 0 where there is no face."""
        return np.array([0.0 if item is None else item[0].activation[item[1]] for item in self.track_rows], np.float32)

    @property
    def boxes(self) -> np.ndarray:
        """float32 (n, 4), NaN where there is no face."""
        empty = np.full(4, np.nan, np.float32)
        return np.array([empty if item is None else item[0].boxes[item[1]] for item in self.track_rows],
                        np.float32).reshape(-1, 4)


def check_landmarks(landmarks: str | Path) -> None:
    """Raise `FaceError` if `landmarks` is neither a model nor a file."""
    if str(landmarks) not in ("builtin", "face-alignment") and not Path(landmarks).is_file():
        raise FaceError(f"--landmarks {landmarks} is neither 'builtin' nor 'face-alignment' nor the path of a Python interpreter "
                        f"that has mediapipe: choose one of them.")


def model_name(landmarks: str | Path) -> tuple[str, str]:
    """What is written into reports: name of the model, and a note (empty, or why to read with care)."""
    if str(landmarks) == "builtin":
        return "builtin", OWN_NOTE
    return ("face-alignment", "") if str(landmarks) == "face-alignment" else ("mediapipe", "")


def find_person(source: VideoSource, face: FaceRule, hooks: Hooks, limit: float | None, backend: FaceBackend | None = None,
                beside: Person | None = None) -> Person:
    """The chosen person of a clip up to `limit` seconds by the built-in models (`backend`, where they are loaded already), as `dub`
    finds it. `beside`: the same person in the clip that this one was made from; then whoever is at the same place is meant."""
    clock = _Clock(source)
    return _person(analyse(clock, backend or create_backend(), hooks, limit=limit), face, clock.times, beside)


class _Clock:
    """A source that notes the times of its frames while they are read."""

    def __init__(self, source: VideoSource) -> None:
        self.source, self.times = source, []
        self.size, self.frame_rate, self.frame_count = source.size, source.frame_rate, source.frame_count

    def pictures(self) -> Iterator[Picture]:
        self.times.clear()
        for item in self.source.pictures():
            self.times.append(float(item.time))
            yield item


def _person(analysis: Analysis, face: FaceRule, times: Sequence[float], beside: Person | None = None) -> Person:
    chosen = choose(analysis.tracks, face, analysis.shot_starts) if beside is None else analysis.tracks
    rows: list[tuple[FaceTrack, int] | None] = [None] * analysis.frames
    # The first of the chosen is the larger one: it goes on top.
    for track in reversed(chosen):
        for row, frame in enumerate(track.frames):
            if beside is None or _at_place(beside, int(frame), track.boxes[row]):
                rows[int(frame)] = (track, row)
    points = np.full((analysis.frames, 68, 2), np.nan, np.float32)
    for frame, item in enumerate(rows):
        if item is not None:
            points[frame] = item[0].landmarks[item[1]]
    # Frames are read ahead of the analysis: more of them have a time than were looked at.
    return Person(Mouths(np.array(times[:analysis.frames]), points), rows, chosen)


def _at_place(person: Person, frame: int, box: np.ndarray) -> bool:
    """Whether a box (4,) of a frame is about where that person is in it."""
    place = person.track_rows[frame] if frame < len(person.track_rows) else None
    return place is not None and overlap(place[0].boxes[place[1]], box) > SAME_PLACE


def find_mouths(source: VideoSource, person: Person, landmarks: str | Path, face: FaceRule, hooks: Hooks,
                limit: float | None) -> Mouths:
    """The landmarks of that person by the chosen model, all smoothed alike. Raises `FaceError`."""
    if str(landmarks) == "builtin":
        return person.mouths
    if str(landmarks) == "face-alignment":
        analysis = analyse(source, create_backend("face-alignment"), hooks, limit=limit)
        return _person(analysis, face, person.mouths.times, person).mouths
    points = _run_mediapipe(Path(landmarks), source, person, hooks)
    times, seen = person.mouths.times, np.isfinite(points[:, 0, 0])
    if seen.any():
        # A head that jumps is a new shot: nothing is smoothed across it.
        middle, size = points[seen].mean(1), np.ptp(points[seen], axis=1).max(1)
        cuts = np.flatnonzero(np.linalg.norm(np.diff(middle, axis=0), axis=1) > 0.4 * size[1:]) + 1
        points[seen] = smooth_landmarks(points[seen], times[seen], cuts)
    return Mouths(times, points)


def _run_mediapipe(python: Path, source: VideoSource, person: Person, hooks: Hooks) -> np.ndarray:
    """Landmarks (n, 68, 2) of the window's frames by MediaPipe in another Python; NaN where it found nobody."""
    count = len(person.mouths.times)
    with tempfile.TemporaryDirectory(prefix="lipsync_") as folder:
        boxes, track = Path(folder) / "boxes.npz", Path(folder) / "track.npz"
        np.savez(boxes, boxes=person.boxes)
        # Absolute, but not resolved: a virtual environment's interpreter is a link, and its own place is what counts.
        command = [str(python.absolute()), "-m", "lipsync_core.evaluation.mediapipe_landmarks", str(Path(source.file).resolve()),
                   str(track), "--boxes", str(boxes), "--first", str(_frames_before(source)), "--frames", str(count)]
        with (Path(folder) / "errors.txt").open("w+", encoding="utf-8", errors="replace") as errors:
            try:
                process = subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE, stderr=errors, text=True)
            except OSError as error:
                raise FaceError(f"{python} can't be started ({error.strerror}): give --landmarks the path of a Python interpreter "
                                f"that has mediapipe.") from error
            try:
                for line in process.stdout or ():
                    hooks.check_interrupt()
                    if line.strip().isdigit():
                        hooks.progress("landmarks", int(line), count)
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            errors.seek(0)
            last = ([line.strip() for line in errors.read().splitlines() if line.strip()] or ["no message"])[-1]
        if status or not track.exists():
            raise FaceError(f"{python} could not find landmarks in {source.file} ({last.rstrip('.')}): it must have mediapipe 0.10.21, "
                            f"numpy below 2 and OpenCV; or use --landmarks builtin.")
        found = np.load(track)["landmarks"]
    if abs(len(found) - count) > 2:
        raise FaceError(f"OpenCV decodes {len(found)} frames of {source.file} where PyAV decodes {count}: convert the clip to MP4, or "
                        f"use --landmarks builtin.")
    points = np.full((count, 68, 2), np.nan, np.float32)
    points[:min(count, len(found))] = found[:count]
    return points


def _frames_before(source: VideoSource) -> int:
    """Number of frames of the file before the window begins."""
    if not source.start:
        return 0
    with open_media(source.file) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        stamps = [packet.pts if packet.pts is not None else packet.dts for packet in container.demux(stream)]
    zero = stream.start_time or 0
    return sum((stamp - zero) * base < source.start for stamp in stamps if stamp is not None)
