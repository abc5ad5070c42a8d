"""68 landmarks of every frame of a video by MediaPipe FaceMesh, in a Python of its own.

MediaPipe 0.10.21 wants numpy below 2 and has no wheels for every Python, so the evaluation starts this file in the environment
that has it (numpy < 2, OpenCV, mediapipe; neither torch nor PyAV), from the folder that holds `lipsync_core`:

    PYTHON -m lipsync_core.evaluation.mediapipe_landmarks VIDEO TRACK.npz [--boxes BOXES.npz] [--first K] [--frames N]

TRACK.npz: `landmarks` float32 (n, 68, 2), pixels of the displayed picture, NaN where no face was found; `times` float64 (n,).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .mediapipe_teacher import MIRROR, Teacher

SIDE = 320
"""Side of the crop that FaceMesh is shown, pixels; its own network sees 192."""
REACH = 2.2
"""Side of that crop over the longer side of the face: FaceMesh detects the face anew and wants room about it."""
AGREE = 0.06
"""A plain and a mirrored look that differ by more (of the outer-eye distance) are not averaged."""


class Mesh(Protocol):
    """What `landmarks_of` asks: `_mesh(_one, image)` is a list of (68, 2), as `mediapipe_teacher.Teacher` has it."""

    _one: object

    def _mesh(self, mesh: object, image: np.ndarray) -> list[np.ndarray]: ...


class SingleFace(Teacher):
    """FaceMesh for one face, without the detector that labelling needs."""

    def __init__(self) -> None:
        import mediapipe

        self._one = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1,
                                                           min_detection_confidence=0.5)


def crop_matrix(points: np.ndarray) -> np.ndarray:
    """Affine (2, 3), picture -> crop of `SIDE` pixels around points (k, 2): landmarks, or two corners of a box."""
    low, high = points.min(0), points.max(0)
    scale = SIDE / (REACH * max(float((high - low).max()), 1.0))
    shift = SIDE / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def landmarks_of(teacher: Mesh, image: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
    """(68, 2) of one face of an RGB picture, or None: mean of a plain and a mirrored look at a crop around `last`
    (landmarks of a moment ago, or two corners of a box); without `last` the face is looked for in the whole picture."""
    if last is None:
        found = teacher._mesh(teacher._one, image)
        if not found:
            return None
        last = found[0]
    matrix = crop_matrix(last)
    crop = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA if matrix[0, 0] < 1 else cv2.INTER_CUBIC,
                          borderMode=cv2.BORDER_REPLICATE)
    plain = teacher._mesh(teacher._one, crop)
    if not plain:
        return None
    answer = plain[0]
    turned = teacher._mesh(teacher._one, np.ascontiguousarray(crop[:, ::-1]))
    if turned:
        other = turned[0][MIRROR]
        other[:, 0] = SIDE - 1 - other[:, 0]
        if np.linalg.norm(answer - other, axis=1).mean() < AGREE * np.linalg.norm(answer[36] - answer[45]):
            answer = (answer + other) / 2
    return ((answer - matrix[:, 2]) / matrix[0, 0]).astype(np.float32)


def _same_face(points: np.ndarray, corners: np.ndarray) -> bool:
    """Whether landmarks (68, 2) are those of the face that a box, corners (2, 2), points to."""
    return float(np.abs(points.mean(0) - corners.mean(0)).max()) < 0.6 * float((corners[1] - corners[0]).max())


def track(teacher: Mesh, file: Path, *, boxes: np.ndarray | None = None, first: int = 0, frames: int | None = None,
          progress: Callable[[int], None] = lambda done: None) -> tuple[np.ndarray, np.ndarray]:
    """times (n,) seconds, landmarks (n, 68, 2), NaN where no face was found, of `frames` frames from frame `first` on.

    `boxes` (n, 4) says which face is meant, frame by frame (NaN: unknown); it is only looked at where there is no face of the
    frame before, or where what was found is another one's. A lost face is looked for again there, then in the whole picture.
    Row i is the (first + i)th frame that the file decodes to; times are the container's, frames over the rate where it has none.
    """
    video = cv2.VideoCapture(str(file))
    times, shapes, last = [], [], None
    skip = first
    while frames is None or len(times) < frames:
        ok, image = video.read()
        if not ok:
            break
        # After `read` it is the time of the frame that was read; before it, of the one before (OpenCV 4.11 and 4.14).
        time = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if skip > 0:
            skip -= 1
            continue
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        row = len(times)
        box = boxes[row] if boxes is not None and row < len(boxes) and np.isfinite(boxes[row]).all() else None
        corners = None if box is None else box.reshape(2, 2)
        answer = landmarks_of(teacher, image, last) if last is not None else None
        if answer is not None and corners is not None and not _same_face(answer, corners):
            answer = None
        if answer is None and corners is not None:
            answer = landmarks_of(teacher, image, corners)
            if answer is not None and not _same_face(answer, corners):
                answer = None
        elif answer is None:
            answer = landmarks_of(teacher, image, None)
        last = answer
        times.append(row / (video.get(cv2.CAP_PROP_FPS) or 25) if time <= 0 and times else time)
        shapes.append(answer if answer is not None else np.full((68, 2), np.nan, np.float32))
        progress(len(times))
    video.release()
    return np.array(times), np.array(shapes, np.float32).reshape(-1, 68, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("track", type=Path)
    parser.add_argument("--boxes", type=Path, help="npz with `boxes` (n, 4): where the face is that is meant")
    parser.add_argument("--first", type=int, default=0, help="number of frames to skip")
    parser.add_argument("--frames", type=int, help="number of frames to look at (default: all)")
    chosen = parser.parse_args()
    boxes = np.load(chosen.boxes)["boxes"] if chosen.boxes else None

    def progress(done: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()

    times, shapes = track(SingleFace(), chosen.video, boxes=boxes, first=chosen.first, frames=chosen.frames, progress=progress)
    np.savez_compressed(chosen.track, times=times, landmarks=shapes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
