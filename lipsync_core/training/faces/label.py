"""Teacher labels for clips and stills: MediaPipe FaceMesh landmarks, YuNet for who else is in the picture.

Runs in an environment with MediaPipe 0.10.21 (requirements-label.txt), so it imports nothing of this package that needs torch:

    labels/bin/python -m lipsync_core.training.faces.label MEDIA_FOLDER LABEL_FOLDER --yunet yunet_n_640_640.onnx
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ...evaluation.mediapipe_teacher import Teacher

CROP = 256
VIDEOS, PICTURES = (".mp4", ".mkv", ".mpg", ".avi", ".mov", ".webm"), (".jpg", ".jpeg", ".png")


def frames_of(file: Path) -> Iterator[np.ndarray]:
    """RGB pictures of a still or a video."""
    if file.suffix.lower() in PICTURES:
        yield cv2.imread(str(file))[:, :, ::-1]
        return
    video = cv2.VideoCapture(str(file))
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame[:, :, ::-1]


def face_crop(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square of twice the face's size as `CROP` pixels, and the landmarks in it."""
    low, high = points.min(0), points.max(0)
    scale = CROP / (2.0 * float((high - low).max()))
    if scale < 0.5:
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return face_crop(small, (points + 0.5) / 2 - 0.5)
    shift = (CROP - 1) / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return (cv2.warpAffine(image, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            points * scale + shift)


def label_file(file: Path, target: Path, teacher: Teacher, step: int, most: int) -> tuple[int, int]:
    """Label every `step`th frame, `most` at the most; returns frames looked at and faces found."""
    several = file.suffix.lower() in PICTURES
    crops, points, crop_points, rows, faceless, looked = [], [], [], [], [], 0
    thumbs, boxes, owner, thumb_rows = [], [], [], []
    for index, image in enumerate(frames_of(file)):
        if index % step:
            continue
        if looked == most:
            break
        looked += 1
        image = np.ascontiguousarray(image)
        faces = teacher.faces(image, several)
        if not faces:
            faceless.append(index)
        for face in faces:
            crop, inside = face_crop(image, face)
            crops.append(cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
            points.append(face)
            crop_points.append(inside)
            rows.append(index)
        if (looked - 1) % max(1, most // 30) == 0:
            scale = min(1.0, 640 / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            found = [np.concatenate([face.min(0), face.max(0)]) * scale for face in faces]
            if teacher.others(small, found):
                thumbs.append(cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1])
                owner += [len(thumbs) - 1] * len(found)
                boxes += found
                thumb_rows.append(index)
    empty = np.zeros(0, np.uint8)
    np.savez(target.with_suffix(".npz"), frames=np.array(rows, int), landmarks=np.array(points, np.float32).reshape(-1, 68, 2),
             crop_landmarks=np.array(crop_points, np.float32).reshape(-1, 68, 2), faceless=np.array(faceless, int),
             jpegs=np.concatenate(crops) if crops else empty, offsets=np.cumsum([0] + [len(c) for c in crops]), examined=looked)
    np.savez(target.with_suffix(".thumbs.npz"), jpegs=np.concatenate(thumbs) if thumbs else empty,
             offsets=np.cumsum([0] + [len(t) for t in thumbs]), boxes=np.array(boxes, np.float32).reshape(-1, 4),
             owner=np.array(owner, int), frames=np.array(thumb_rows, int))
    return looked, len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="a folder of folders of clips and stills")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--part", default="0/1", help="I/N: this process takes every Nth file from the Ith")
    chosen = parser.parse_args()
    chosen.labels.mkdir(parents=True, exist_ok=True)
    first, parts = (int(v) for v in chosen.part.split("/"))
    teacher = Teacher(chosen.yunet)
    files = sorted(f for f in chosen.media.glob("*/*") if f.suffix.lower() in VIDEOS + PICTURES)
    grid = [f for f in files if f.parent.name == "grid_s1"]
    files = [f for f in files if f.parent.name != "grid_s1"] + grid[::3]            # one person: a third is plenty
    for file in files[first::parts]:
        target = chosen.labels / f"{file.parent.name}__{file.stem}"
        if not target.with_suffix(".thumbs.npz").exists():
            step, most = (8, 10) if file.parent.name == "grid_s1" else ((10, 60) if file.parent.name == "negative" else (3, 260))
            looked, found = label_file(file, target, teacher, step, most)
            sys.stderr.write(f"{target.name}: {looked} frames, {found} faces\n")


if __name__ == "__main__":
    main()
