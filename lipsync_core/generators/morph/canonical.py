"""The canonical frame of a person: points after head position, roll and size are taken out, and what a turn of the head does to them.

The similarity that maps the person's own nose and eyes to a frame is taken out; x runs along the eye line to the picture's right, y
down the face, the unit is the distance of the outer eye corners. Points are complex numbers x + iy, which makes a similarity one
multiplication and one addition.
"""

from __future__ import annotations

import numpy as np
import torch

from ...faces.pose import estimate_pose, mean_face
from ...inference import inference

STABLE = np.array([27, 28, 29, 30, 31, 33, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47])
"""Nose and eyes: the points that speech leaves in place."""
JAW = np.arange(0, 17)
LIPS = np.arange(48, 68)
ROWS = 4096
"""Rows of a track that are worked on at a time: hours need no more memory than minutes."""


def to_complex(points: np.ndarray) -> np.ndarray:
    """(..., 2) real -> (...) complex128."""
    points = np.asarray(points, np.float64)
    return points[..., 0] + 1j * points[..., 1]


def to_real(points: np.ndarray) -> np.ndarray:
    """(...) complex -> (..., 2) float64."""
    return np.stack([points.real, points.imag], axis=-1)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares a, b of target = a * source + b; source (k,), target (..., k), complex; a, b (...)."""
    mean_s, mean_t = source.mean(), target.mean(axis=-1, keepdims=True)
    centred = source - mean_s
    a = ((target - mean_t) * centred.conj()).sum(-1) / (np.abs(centred) ** 2).sum()
    return a, mean_t[..., 0] - a * mean_s


def canonical_stable(landmarks: np.ndarray) -> np.ndarray:
    """The person's own nose and eyes, complex (k,), canonical units: mean over the track after removing similarity.

    `landmarks` (n, 68, 2). Frames seen from the front (widest eyes for their height) count most, since a turned head shortens x.
    """
    if len(landmarks) > ROWS:                                         # hours show no other nose than minutes of them
        landmarks = landmarks[np.linspace(0, len(landmarks) - 1, ROWS).round().astype(int)]
    points = to_complex(landmarks)
    eye = points[:, 45] - points[:, 36]
    canonical = (points - points[:, 30:31]) / eye[:, None]
    # A turned or lowered head shows a longer nose for the same eye distance.
    length = np.abs(canonical[:, 33] - (canonical[:, 36] + canonical[:, 45]) / 2)
    frontal = length <= np.quantile(length, 0.5) + 1e-9
    mean = canonical[frontal][:, STABLE].mean(0)
    for _ in range(2):
        a, b = fit_similarity(mean, points[frontal][:, STABLE])
        mean = ((points[frontal][:, STABLE] - b[:, None]) / a[:, None]).mean(0)
    left, right = np.flatnonzero(STABLE == 36)[0], np.flatnonzero(STABLE == 45)[0]
    unit = mean[right] - mean[left]
    return (mean - (mean[left] + mean[right]) / 2) / unit


MOUTH = np.append(LIPS, JAW[8])
"""Lips and chin."""


def turned(landmarks: np.ndarray) -> np.ndarray:
    """Lips and chin (`MOUTH`) of a mean face that is turned and nods as each row of `landmarks` (n, 68, 2): complex (n, 21), canonical.

    The similarity takes out roll and size, but a turn still brings the far corner of a mouth nearer, and a nod moves the chin by more
    than a syllable does. Differences between rows of this tell by how much.
    """
    front = to_complex(mean_face(np.zeros((1, 3))))[0, STABLE]
    face = to_complex(mean_face(estimate_pose(landmarks)))
    a, b = fit_similarity(front, face[:, STABLE])
    return (face[:, MOUTH] - b[:, None]) / a[:, None]


SMOOTHED = 128
"""Rows that are smoothed at a time: an hour needs no more memory than a minute."""


def smooth_over_time(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean of complex rows (n, k) over seconds, on irregular times, not across gaps of over half a second."""
    result = np.empty_like(values)
    cuts = np.flatnonzero(np.diff(times) > 0.5) + 1
    for part in np.split(np.arange(len(times)), cuts):
        for first in range(0, len(part), SMOOTHED):
            rows = part[first:first + SMOOTHED]
            low = np.searchsorted(times[part], times[rows[0]] - 3 * sigma)
            high = np.searchsorted(times[part], times[rows[-1]] + 3 * sigma, side="right")
            near = part[low:high]
            away = (times[near] - times[rows][:, None]) / sigma
            weight = np.exp(-0.5 * away ** 2) * (np.abs(away) <= 3)
            # Not NumPy's `@`: after a product of this size its BLAS keeps a core busy for a while, waiting for the next one.
            with inference():
                sums = torch.from_numpy(weight) @ torch.from_numpy(np.ascontiguousarray(values[near]).view(np.float64))
            result[rows] = sums.numpy().view(np.complex128) / weight.sum(1, keepdims=True)
    return result
