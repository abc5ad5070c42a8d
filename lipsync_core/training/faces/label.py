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

from ...mesh import MESH_TO_68

MIRROR = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
          41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
CROP = 256
VIDEOS, PICTURES = (".mp4", ".mkv", ".mpg", ".avi", ".mov", ".webm"), (".jpg", ".jpeg", ".png")


class Teacher:
    """FaceMesh asked four times about a face: plain and mirrored, on the picture and on an enlarged crop; agreeing answers are
    averaged, which takes about a third off its noise."""

    def __init__(self, yunet: Path) -> None:
        import mediapipe

        mesh = mediapipe.solutions.face_mesh.FaceMesh
        self._one = mesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.5)
        self._many = mesh(static_image_mode=True, refine_landmarks=True, max_num_faces=6, min_detection_confidence=0.5)
        self._yunet = cv2.FaceDetectorYN.create(str(yunet), "", (640, 640), 0.6, 0.3, 500)

    def _mesh(self, mesh, image: np.ndarray) -> list[np.ndarray]:
        height, width = image.shape[:2]
        found = mesh.process(image).multi_face_landmarks or []
        # MediaPipe's 0 is the picture's edge; ours is the first pixel's centre.
        return [np.array([[p.x * width - 0.5, p.y * height - 0.5] for p in face.landmark], np.float32)[MESH_TO_68]
                for face in found]

    def faces(self, image: np.ndarray, several: bool) -> list[np.ndarray]:
        """Landmarks (68, 2) of the faces of an RGB picture; faces on which the answers disagree are left out."""
        result = []
        for points in self._mesh(self._many if several else self._one, image):
            low, high = points.min(0), points.max(0)
            scale = 640 / (2.2 * float((high - low).max()))
            shift = 320 - scale * (low + high) / 2
            crop = cv2.warpAffine(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (640, 640),
                                  flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
            plain, turned = self._mesh(self._one, crop), self._mesh(self._one, np.ascontiguousarray(crop[:, ::-1]))
            if not plain:
                continue
            answer = plain[0]
            unit = float(np.linalg.norm(answer[36] - answer[45])) + 1e-6
            if turned:
                other = turned[0][MIRROR]
                other[:, 0] = 639 - other[:, 0]
                if np.linalg.norm(answer - other, axis=1).mean() < 0.06 * unit:
                    answer = (answer + other) / 2
            answer = (answer - shift) / scale
            if np.linalg.norm(answer - points, axis=1).mean() < 0.15 * np.linalg.norm(points[36] - points[45]):
                result.append(answer.astype(np.float32))
        return result

    def others(self, image: np.ndarray, boxes: list[np.ndarray]) -> bool:
        """Add YuNet's sure faces that `boxes` lack; False where it found one it isn't sure of. `image` at most 640 pixels."""
        canvas = np.zeros((640, 640, 3), np.uint8)
        canvas[:image.shape[0], :image.shape[1]] = image[:, :, ::-1]
        found = self._yunet.detect(canvas)[1]
        for x, y, w, h, *_, score in found if found is not None else []:
            middle = np.array([x + w / 2, y + h / 2])
            if any((middle > box[:2]).all() and (middle < box[2:]).all() for box in boxes):
                continue
            if score < 0.85:
                return False
            boxes.append(np.array([x, y + 0.22 * h, x + w, y + h], np.float32))     # YuNet's box begins at the hair line
        return True


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
