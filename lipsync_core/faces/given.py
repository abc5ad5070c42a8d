"""Landmarks that somebody else found, as a face backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FaceError
from ..mesh import MESH_TO_68
from ..types import Pixels
from .backend import Detection
from .builtin import overlap

SAME = 0.2
"""Overlap (intersection over union) from which a given face is the one that is asked for."""


class GivenBackend:
    """See `FaceBackend`. `faces[i]`: the faces of frame i, landmarks (68, 2) in pixels."""

    name = "given"

    def __init__(self, faces: Sequence[Sequence[np.ndarray]]) -> None:
        self._faces = faces
        self._now: Sequence[np.ndarray] = ()

    @classmethod
    def from_host(cls, landmarks: Mapping[str, Any], count: int, size: tuple[int, int]) -> GivenBackend:
        """ComfyUI's FACE_LANDMARKS (MediaPipe's 478 points) of `count` frames of `size` (w, h). Raises `FaceError`."""
        frames = landmarks["frames"]
        if len(frames) != count:
            raise FaceError(f"The landmarks are of {len(frames)} frames, and these are {count}: connect the same frames to the landmarker "
                            f"and to Detect & Crop Faces.")
        height, width = landmarks.get("image_size", (size[1], size[0]))
        scale = np.array([size[0] / width, size[1] / height])
        # MediaPipe's 0 is the picture's edge; ours is the first pixel's centre.
        return cls([[(np.asarray(face["landmarks_xy"], np.float64)[MESH_TO_68, :2] * scale - 0.5).astype(np.float32) for face in frame]
                    for frame in frames])

    def begin(self, frame: int) -> None:
        self._now = self._faces[frame] if frame < len(self._faces) else ()

    def detect(self, pictures: Sequence[Pixels], min_score: float = 0.5) -> list[list[Detection]]:
        return [[Detection(_box(points), 1.0) for points in self._now] for _ in pictures]

    def landmarks(self, pictures: Sequence[Pixels], shapes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        found, scores = np.zeros((len(shapes), 68, 2), np.float32), np.zeros(len(shapes), np.float32)
        for i, shape in enumerate(shapes):
            wanted = np.asarray(shape, np.float32) if np.shape(shape) == (4,) else _box(np.asarray(shape))
            best = max(self._now, key=lambda points: overlap(wanted, _box(points)), default=None)
            if best is not None and overlap(wanted, _box(best)) > SAME:
                found[i], scores[i] = best, 1.0
            elif np.shape(shape) != (4,):
                found[i] = shape
        return found, scores


def _box(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
