"""The crop that the landmark network is shown: one rule for training and for tracking."""

from __future__ import annotations

import numpy as np

LANDMARK_SIZE = 128
"""Side of the landmark network's input, pixels."""
REACH = 1.4
"""Side of the crop over the longer side of the face's box."""


def landmark_matrix(shape: np.ndarray, size: int = LANDMARK_SIZE, reach: float = REACH) -> np.ndarray:
    """Affine (2, 3), picture -> crop of `size` pixels, float64.

    `shape` is a box (4,) x0, y0, x1, y1 (upright crop) or landmarks (68, 2) (the eye line is turned level).
    """
    shape = np.asarray(shape, np.float64)
    if shape.shape == (4,):
        centre, longer, direction = (shape[:2] + shape[2:]) / 2, float((shape[2:] - shape[:2]).max()), np.array([1.0, 0.0])
    else:
        direction = shape[42:48].mean(0) - shape[36:42].mean(0)
        direction = direction / max(float(np.linalg.norm(direction)), 1e-6)
        turn = np.array([[direction[0], direction[1]], [-direction[1], direction[0]]])
        turned = shape @ turn.T
        low, high = turned.min(0), turned.max(0)
        centre, longer = (low + high) / 2 @ turn, float((high - low).max())
    scale = size / (reach * max(longer, 1.0))
    rotation = scale * np.array([[direction[0], direction[1]], [-direction[1], direction[0]]])
    return np.hstack([rotation, ((size - 1) / 2 - rotation @ centre)[:, None]])
