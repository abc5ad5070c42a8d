"""Where a frame may change: a soft region in the shape of the lower face."""

from __future__ import annotations

import cv2
import numpy as np

FEATHER = 0.22
"""Width of the mask's slope over the distance of the outer eye corners."""


def _outline(points: np.ndarray, grow: float) -> tuple[np.ndarray, float]:
    """Polygon (16, 2) of nose tip, cheeks, jaw and a strip of neck, and the unit (outer-eye distance, pixels)."""
    unit = float(np.linalg.norm(points[45] - points[36]))
    down = points[8] - points[27]
    length = float(np.linalg.norm(down))
    # A turned head shortens the eyes but not the length of the face.
    unit = max(unit, 0.75 * length, 4.0)
    down = down / max(length, 1e-6)
    centre = points[48:60].mean(0)
    jaw = points[2:15]
    outward = jaw - centre
    outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    # Under the chin there must be room for the chin to come down.
    low = np.clip((jaw - centre) @ down / max(float((points[8] - centre) @ down), 1e-6), 0, 1)[:, None]
    jaw = jaw + outward * unit * (0.10 + grow) + down * unit * 0.38 * low**2
    top = np.stack([points[[15, 14]].mean(0), points[29] - down * unit * grow, points[[1, 2]].mean(0)])
    return np.concatenate([jaw, top]).astype(np.float32), unit


def lower_face_box(landmarks: np.ndarray, picture: tuple[int, int], *, grow: float = 0.0) -> tuple[int, int, int, int] | None:
    """Integer box (x0, y0, x1, y1) around the region of `lower_face_mask`, inside a picture of (w, h), on multiples of 4 where
    the picture allows (chroma samples stay whole); None where nothing of it is in the picture."""
    outline, unit = _outline(np.asarray(landmarks, np.float32), grow)
    low, high = np.floor(outline.min(0) - 2), np.ceil(outline.max(0) + 3)
    x0, y0 = (int(max(0, v // 4 * 4)) for v in low)
    x1, y1 = (int(min(limit, -(-v // 4) * 4)) for v, limit in zip(high, picture))
    return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 - y0 >= 8 else None


def lower_face_mask(landmarks: np.ndarray, size: tuple[int, int], *, grow: float = 0.0, feather: float = FEATHER) -> np.ndarray:
    """Soft mask (h, w) float32 0..1 of nose tip, cheeks, jaw and a strip of neck.

    `landmarks` (68, 2) iBUG in the pixels of the mask; `size` (w, h). `grow` widens the outline and `feather` is the width of
    its slope, both over the distance of the outer eye corners. The slope lies inside the outline: outside it is exactly 0. An outline
    that grows out of the crop slopes down to the crop's rim.
    """
    width, height = size
    outline, unit = _outline(np.asarray(landmarks, np.float32), grow)
    # The slope is smooth, so a quarter of the pixels is enough to draw it.
    shrink = max(1.0, unit / 64)
    w, h = max(2, int(np.ceil(width / shrink))), max(2, int(np.ceil(height / shrink)))
    border = int(np.ceil(feather * unit / shrink)) + 2
    canvas = np.zeros((h + 2 * border, w + 2 * border), np.uint8)
    scaled = (outline + 0.5) * [w / width, h / height] - 0.5 + border
    cv2.fillPoly(canvas, [np.rint(scaled).astype(np.int32)], 1)
    if grow > 0:
        # Beyond the crop nothing changes, so that a mask as wide as the crop must end at its rim (at a picture's edge, too).
        canvas[:border], canvas[-border:], canvas[:, :border], canvas[:, -border:] = 0, 0, 0, 0
    inside = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)[border:-border, border:-border]
    t = np.clip((inside - 1) / max(feather * unit / shrink, 1), 0, 1)
    slope = (t * t * (3 - 2 * t)).astype(np.float32)
    slope = cv2.GaussianBlur(slope, (0, 0), max(0.8, 0.12 * feather * unit / shrink)) * (inside > 0)
    return cv2.resize(slope, (width, height), interpolation=cv2.INTER_LINEAR)
