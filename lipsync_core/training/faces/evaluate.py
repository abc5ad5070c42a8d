"""How good the built-in face models are on people that nothing was taught on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from ...array_pixels import ArrayPixels
from ...faces.backend import FaceBackend
from ...faces.geometry import eye_distance, mouth_opening
from ...media import FrameView, VideoSource
from ...types import Pixels
from .data import is_held_out, load_backgrounds


def pictures_of(file: Path, wanted: Iterable[int]) -> Iterable[tuple[int, Pixels]]:
    """The wanted frames of a clip or still."""
    wanted = set(wanted)
    if file.suffix.lower() in (".jpg", ".jpeg", ".png"):
        yield 0, ArrayPixels(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        return
    source = VideoSource(file)
    for item in source.frames():
        if item.index in wanted:
            yield item.index, FrameView(item.frame, source.info.rotation)
        if item.index >= max(wanted, default=-1):
            return


def evaluate(backend: FaceBackend, labels: Path, media: Path, stride: int = 1) -> list[dict]:
    """One row for each held-out clip or still: teacher's faces, recall, landmark error, correlation of the lip opening.

    Landmarks are found as tracking finds them: from the detection in the first frame, then each from the one before (reset to
    a detection where a label is over half a second away). Errors are means over 68 points, % of the outer-eye distance.
    """
    rows = []
    for file in sorted(labels.glob("*.npz")):
        if file.name.endswith(".thumbs.npz") or not is_held_out(file.stem):
            continue
        with np.load(file) as data:
            frames, truth = data["frames"], data["landmarks"]
        clip = next(media.glob(f"{file.stem.replace('__', '/', 1)}.*"), None)
        if clip is None or not len(frames):
            continue
        keep = np.unique(frames)[::stride]
        found, errors, lips, ours, theirs, last = 0, [], [], [], [], None
        total = 0
        for index, picture in pictures_of(clip, keep.tolist()):
            faces = truth[frames == index]
            detections = backend.detect([picture])[0]
            for face in faces:
                total += 1
                box = np.concatenate([face.min(0), face.max(0)])
                near = [d.box for d in detections if _covers(d.box, box)]
                if not near:
                    continue
                found += 1
                start = near[0] if last is None or len(faces) > 1 else last
                points, confidence = backend.landmarks([picture], [start])
                if last is None or confidence[0] < 0.5:
                    points, confidence = backend.landmarks([picture], [points[0] if last is None else near[0]])
                last = points[0] if len(faces) == 1 else None
                distance = np.linalg.norm(points[0] - face, axis=1) / eye_distance(face)
                errors.append(distance.mean())
                lips.append(distance[48:].mean())
                ours.append(mouth_opening(points[0]))
                theirs.append(mouth_opening(face))
        moving = len(ours) > 20 and np.std(theirs) > 0.01
        rows.append({"clip": file.stem, "faces": total, "recall": found / max(total, 1),
                     "error": 100 * float(np.mean(errors)) if errors else float("nan"),
                     "lips": 100 * float(np.mean(lips)) if lips else float("nan"),
                     "opening_r": float(np.corrcoef(ours, theirs)[0, 1]) if moving else float("nan")})
    return rows


def false_faces(backend: FaceBackend, pictures: Iterable[Pixels]) -> float:
    """Faces a picture that detector and landmark confidence together report, on pictures without any."""
    counts = []
    for picture in pictures:
        boxes = [d.box for d in backend.detect([picture])[0]]
        confidence = backend.landmarks([picture] * len(boxes), boxes)[1]
        counts.append(int((confidence >= 0.6).sum()))
    return float(np.mean(counts))


def faceless(labels: Path) -> list[Pixels]:
    """Pictures without a face that nothing was taught on: what surrounds the faces of the held-out clips and stills."""
    return [ArrayPixels(image) for image in load_backgrounds(labels, held_out=True)]


def _covers(found: np.ndarray, truth: np.ndarray) -> bool:
    from ...faces.builtin import overlap

    return overlap(found, truth) > 0.4


def table(rows: list[dict]) -> str:
    """The rows as text, with the totals that matter."""
    lines = [f"{'clip':48s} {'faces':>6s} {'recall':>7s} {'error %':>8s} {'lips %':>7s} {'opening r':>10s}"]
    lines += [f"{r['clip'][:48]:48s} {r['faces']:6d} {100 * r['recall']:6.1f}% {r['error']:8.2f} {r['lips']:7.2f} "
              f"{r['opening_r']:10.3f}" for r in rows]
    faces = sum(r["faces"] for r in rows)
    recall = sum(r["recall"] * r["faces"] for r in rows) / max(faces, 1)
    by_clip = np.array([r["error"] for r in rows])
    lines.append(f"{'all':48s} {faces:6d} {100 * recall:6.1f}% {np.nanmean(by_clip):8.2f} "
                 f"{np.nanmean([r['lips'] for r in rows]):7.2f} {np.nanmedian([r['opening_r'] for r in rows]):10.3f}   "
                 f"(error, lips: mean over people; opening: median)")
    return "\n".join(lines)
