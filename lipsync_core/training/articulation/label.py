"""Mouths of real clips over time: the teacher's landmarks of every frame.

Runs in the environment of requirements-label.txt, from the repository's root:

    labels/bin/python -m lipsync_core.training.articulation.label MEDIA_FOLDER TRACK_FOLDER --yunet yunet_n_640_640.onnx
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from ..faces.label import MIRROR, Teacher

FOLDERS = ("talking", "expressions", "grid_s1")
SIDE = 320
REACH = 2.2
"""Side of the crop that the teacher is shown over the longer side of the face."""


def crop_matrix(points: np.ndarray) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    scale = SIDE / (REACH * float((high - low).max()))
    shift = SIDE / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def landmarks_of(teacher: Teacher, image: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
    """(68, 2) of the only face, or None: mean of a plain and a mirrored look at a crop around `last`."""
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
        if np.linalg.norm(answer - other, axis=1).mean() < 0.06 * np.linalg.norm(answer[36] - answer[45]):
            answer = (answer + other) / 2
    return ((answer - matrix[:, 2]) / matrix[0, 0]).astype(np.float32)


def track(teacher: Teacher, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """times (n,) seconds, landmarks (n, 68, 2), NaN where no face was found."""
    video = cv2.VideoCapture(str(file))
    times, shapes, last = [], [], None
    while True:
        # The time of the frame that comes next.
        time = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        ok, image = video.read()
        if not ok:
            break
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        answer = landmarks_of(teacher, image, last)
        if answer is None and last is not None:
            answer = landmarks_of(teacher, image, None)
        last = answer
        times.append(len(times) / (video.get(cv2.CAP_PROP_FPS) or 25) if time <= 0 and times else time)
        shapes.append(answer if answer is not None else np.full((68, 2), np.nan, np.float32))
    return np.array(times), np.array(shapes, np.float32).reshape(-1, 68, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--part", default="0/1", help="the Kth of N parts of the files, K/N, for several processes")
    chosen = parser.parse_args()
    chosen.tracks.mkdir(parents=True, exist_ok=True)
    part, parts = (int(v) for v in chosen.part.split("/"))
    teacher = Teacher(chosen.yunet)
    files = [f for folder in FOLDERS for f in sorted((chosen.media / folder).iterdir())]
    for file in files[part::parts]:
        target = chosen.tracks / f"{file.parent.name}__{file.stem}.npz"
        if target.exists():
            continue
        times, shapes = track(teacher, file)
        found = np.isfinite(shapes[:, 0, 0]).mean() if len(shapes) else 0.0
        if len(shapes):
            np.savez_compressed(target, times=times, landmarks=shapes)
        sys.stdout.write(f"{file.name}: {len(shapes)} frames, {100 * found:.0f} % with a face\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
