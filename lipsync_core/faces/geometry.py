"""Simple measures on 68 landmarks."""

from __future__ import annotations

import numpy as np


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners, pixels: (...,) for landmarks (..., 68, 2)."""
    return np.linalg.norm(landmarks[..., 45, :] - landmarks[..., 36, :], axis=-1)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Gap of the inner lips at their middle over the outer-eye distance: (...,) for landmarks (..., 68, 2)."""
    return np.linalg.norm(landmarks[..., 66, :] - landmarks[..., 62, :], axis=-1) / np.maximum(eye_distance(landmarks), 1e-6)


def mouth_box(landmarks: np.ndarray, picture: tuple[int, int], margin: float = 0.35) -> tuple[int, int, int, int] | None:
    """Integer box around the lips of landmarks (68, 2), widened by `margin` outer-eye distances, inside a picture (w, h)."""
    lips, pad = landmarks[48:68], margin * float(eye_distance(landmarks))
    x0, y0 = (max(0, int(v)) for v in lips.min(0) - pad)
    x1, y1 = (min(limit, int(v) + 1) for v, limit in zip(lips.max(0) + pad, picture))
    return (x0, y0, x1, y1) if x1 - x0 > 7 and y1 - y0 > 7 else None
