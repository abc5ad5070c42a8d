"""What tracking needs of a face model, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..types import Pixels


@dataclass(frozen=True)
class Detection:
    """A face found in a picture."""

    box: np.ndarray
    """float32 (4,), x0, y0, x1, y1 in picture pixels: brows to chin, jaw to jaw."""
    score: float
    """0..1."""


class FaceBackend(Protocol):
    """Finds faces and their landmarks."""

    name: str

    def begin(self, frame: int) -> None:
        """Told before a frame of a clip is looked at; backends that look at pixels don't care."""

    def detect(self, pictures: Sequence[Pixels], min_score: float = 0.5) -> list[list[Detection]]:
        """The faces of each picture, best first."""

    def landmarks(self, pictures: Sequence[Pixels], shapes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """iBUG landmarks (n, 68, 2) float32 in picture pixels and confidences (n,) 0..1 of the face that `shapes[i]` points to
        in `pictures[i]`: a box (4,) or the face's landmarks (68, 2) of a moment ago."""
