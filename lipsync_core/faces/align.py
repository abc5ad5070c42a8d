"""Crops of a face, and their inverse."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..types import CropRule, FaceCrop, FaceTrack, Pixels
from .pose import _TEMPLATE

TEMPLATE = np.array([[0.315, 0.345], [0.685, 0.345], [0.5, 0.555], [0.365, 0.735], [0.635, 0.735]])
"""Eye centres, nose tip and mouth corners in a face crop of side 1: the lower face down to below the chin stays inside."""


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip, mouth corners (5, 2) of landmarks (68, 2)."""
    p = np.asarray(landmarks, np.float64)
    return np.stack([p[36:42].mean(0), p[42:48].mean(0), p[30], p[48], p[54]])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rotation, uniform scale and shift (2, 3) of points (k, 2) onto points (k, 2) (Umeyama 1991, 2-D case)."""
    s, t = (np.asarray(p, np.float64) @ [1, 1j] for p in (source, target))
    sc, tc = s - s.mean(), t - t.mean()
    a = (tc * sc.conj()).sum() / max(float((np.abs(sc) ** 2).sum()), 1e-12)
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def similarity_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Affine (2, 3), picture -> upright face crop of `size` pixels by `TEMPLATE`."""
    return similarity(five_points(landmarks), TEMPLATE * (size - 1))


STEADY = np.r_[27:48]
"""Nose and eyes: what speech leaves in place."""
STEADY_SIDE, STEADY_EYES = 2.2, 0.27
"""Side of the 'steady' crop in outer-eye distances, and how far down it the eyes lie: a chin that drops by 0.25 stays inside."""


def steady_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Affine (2, 3), picture -> upright crop of `size` pixels that nose and eyes alone decide, so that it tells nothing of the mouth."""
    template = _TEMPLATE[STEADY, :2] / STEADY_SIDE + [0.5, STEADY_EYES]
    return similarity(np.asarray(landmarks, np.float64)[STEADY], template * size - 0.5)


def box_matrix(box: np.ndarray, size: int) -> np.ndarray:
    """Affine (2, 3) that stretches a box (4,) to a square of `size` pixels, edge to edge, as `cv2.resize` does."""
    x0, y0, x1, y1 = (float(v) for v in box)
    sx, sy = size / (x1 - x0), size / (y1 - y0)
    return np.array([[sx, 0, -x0 * sx + 0.5 * sx - 0.5], [0, sy, -y0 * sy + 0.5 * sy - 0.5]])


FOREHEAD, CHIN = 0.28, 0.05
"""What Wav2Lip's detector (S3FD) shows above the brows, and its usual padding of 10 pixels below the chin, as shares of the height from
brows to chin of a face of 200 pixels."""


def detector_box(landmarks: np.ndarray, chin: float = CHIN) -> np.ndarray:
    """Boxes (..., 4) x0, y0, x1, y1 like those of the detector that Wav2Lip was taught with, from landmarks (..., 68, 2)."""
    p = np.asarray(landmarks, np.float64)
    low, high = p.min(-2), p.max(-2)
    height = high[..., 1] - low[..., 1]
    return np.stack([low[..., 0], low[..., 1] - FOREHEAD * height, high[..., 0], high[..., 1] + chin * height], -1)


JAW_MARGIN = 0.04
"""MuseTalk 1.5 shows 10 pixels below the chin, of crops of about 256 pixels."""


def nose_box(landmarks: np.ndarray) -> np.ndarray:
    """Box (4,) of MuseTalk's crop: the middle of the nose is at half its height (architectures: MuseTalk, face crop)."""
    p = np.asarray(landmarks, np.float64)
    (x0, _), (x1, bottom) = p.min(0), p.max(0)
    middle = min(p[29, 1], bottom - 1.0)
    return np.array([x0, 2 * middle - bottom, x1, bottom + JAW_MARGIN * 2 * (bottom - middle)])


FFHQ_TEMPLATE = np.array([[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935], [201.26117, 371.41043],
                          [313.08905, 371.15118]]) / 512
"""Eye centres, nose tip and mouth corners in a picture of side 1 aligned as FFHQ is: what face restorers were taught on, and what facexlib
cuts out for them (whole head, 512 pixels)."""


def ffhq_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Affine (2, 3), picture -> upright crop of the whole head, `size` pixels, by `FFHQ_TEMPLATE`."""
    return similarity(five_points(landmarks), FFHQ_TEMPLATE * size)


CROPS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "face": similarity_matrix,
    "steady": steady_matrix,
    "detector": lambda landmarks, size: box_matrix(detector_box(landmarks), size),
    "nose": lambda landmarks, size: box_matrix(nose_box(landmarks), size),
    "ffhq": ffhq_matrix,
}
"""The crops that a `GeneratorSpec.crop` may name."""


def crop_matrix(kind: str | CropRule, track: FaceTrack, row: int, size: int) -> np.ndarray:
    """Affine (2, 3), picture -> crop of `size` pixels, that a `GeneratorSpec.crop` names (`CROPS`) or is. Raises `ValueError`."""
    if callable(kind):
        return kind(track, row, size)
    if kind not in CROPS:
        raise ValueError(f"there is no crop {kind!r}: use {', '.join(CROPS)}")
    return CROPS[kind](track.landmarks[row], size)


def window_matrix(box: tuple[int, int, int, int]) -> np.ndarray:
    """Affine (2, 3) of a window of native pixels: a shift by whole pixels, no resampling."""
    return np.array([[1.0, 0, -box[0]], [0, 1.0, -box[1]]])


def whole_face_box(landmarks: np.ndarray, picture: tuple[int, int], lower: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Integer box (x0, y0, x1, y1) of all pixels that a generator's crop may show, inside a picture of (w, h); holds the box `lower`."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * 256 - 0.5
    reach = np.concatenate([transform(invert(rule(landmarks, 256)), corners) for rule in CROPS.values()])
    low, high = np.floor(reach.min(0)).astype(int) - 2, np.ceil(reach.max(0)).astype(int) + 3
    return (max(0, min(lower[0], int(low[0]))), max(0, min(lower[1], int(low[1]))), min(picture[0], max(lower[2], int(high[0]))),
            min(picture[1], max(lower[3], int(high[1]))))


def invert(matrix: np.ndarray) -> np.ndarray:
    """Affine (2, 3), crop -> picture."""
    return cv2.invertAffineTransform(np.asarray(matrix, np.float64))


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) through an affine (2, 3), float64."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def crop(pixels: Pixels, landmarks: np.ndarray, matrix: np.ndarray, size: int, frame: int = 0) -> FaceCrop:
    """A square crop of `size` pixels, RGB uint8."""
    return FaceCrop(pixels.warp(matrix, (size, size)), matrix, transform(matrix, landmarks).astype(np.float32), frame)


def native_crop(pixels: Pixels, landmarks: np.ndarray, box: tuple[int, int, int, int], frame: int = 0) -> FaceCrop:
    """The window `box` (integers, inside the picture) in native pixels, RGB float32."""
    matrix = window_matrix(box)
    return FaceCrop(pixels.region(box), matrix, transform(matrix, landmarks).astype(np.float32), frame)
