"""Who is who, as far as landmarks and colours tell: rough, lists of people are better."""

from __future__ import annotations

import numpy as np

from ...generators.morph.geometry import STABLE, canonical_stable, fit_similarity, to_complex
from ...types import FaceTrack

_SHAPE_SPREAD = np.array([0.0095, 0.02, 0.024, 0.0057, 0.023, 0.027, 0.044, 0.006, 0.057, 0.069, 0.083, 0.014, 0.148, 0.031])
_LUMA_SPREAD, _CHROMA_SPREAD = 0.066, 0.057
"""How much the measures of one person differ between two recordings (the larger of halves of clips, and clips of GRID's speaker 1), and
0.15 of how much people differ added in squares."""
NEAR = 1.3
"""Distance of two looks under which they may be one person. On ../shared/media: two halves of a clip 0.3 (median) to 1.4; two clips of
GRID's speaker 1 (500 clips) 1.1, 90 % under 2.1, in odd colours up to 5.3; two people 3.1, 95 % over 1.9, two before the same wall 1.1.
So one person often counts as several, and now and then two as one."""


def look_of(track: FaceTrack, cells: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Float32 (50,): what a person looks like, for `looks_apart`; `rows` bool (n,) count.

    Logarithms of 14 distances of the face in its most frontal half, and the colours of 12 cells above the mouth (`Glance.cells`). Rough:
    it knows a face by its proportions, hair and light, not as a network taught on identities does. Lists of people are better.
    """
    yaw = np.abs(track.pose[:, 0])
    frontal = rows & (yaw <= np.quantile(yaw[rows], 0.5) + 1e-6)
    landmarks = track.landmarks[frontal]
    points = to_complex(landmarks)
    a, b = fit_similarity(canonical_stable(landmarks), points[:, STABLE])
    points = (points - b[:, None]) / a[:, None]
    p = np.median(points.real, 0) + 1j * np.median(points.imag, 0)
    eyes = (p[36:42].mean() + p[42:48].mean()) / 2
    shape = [abs(p[0] - p[16]), abs(p[3] - p[13]), abs(p[5] - p[11]), abs(p[36] - p[39]) + abs(p[42] - p[45]), abs(p[27] - p[33]),
             abs(p[31] - p[35]), abs(p[48] - p[54]), abs(p[39] - p[42]), abs((p[17:22].mean() + p[22:27].mean()) / 2 - eyes),
             abs(p[33] - p[51]), abs(p[37] - p[41]) + abs(p[44] - p[46]), abs(p[21] - p[22]), abs(p[51] - p[62]), abs(p[8] - p[27])]
    colour = np.log(np.median(cells[rows].astype(np.float32), axis=0) + 12)
    luma = colour[:, 1]
    chroma = np.concatenate([colour[:, 0] - luma, colour[:, 2] - luma])
    return np.concatenate([np.log(np.maximum(shape, 1e-3)) / _SHAPE_SPREAD, (luma - luma.mean()) / _LUMA_SPREAD,
                           chroma / _CHROMA_SPREAD]).astype(np.float32)


def looks_apart(looks: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances (n,) of looks (n, 50) from one (50,)."""
    return np.sqrt(np.square(looks - other).mean(-1))


def group_looks(looks: np.ndarray) -> list[int]:
    """For each of looks (n, 50) the number of its group: the nearest group's, if its mean is nearer than `NEAR`, else a new one's.
    Depends on the order, which `prepare` keeps fixed."""
    means = np.zeros((len(looks), looks.shape[1] if looks.ndim == 2 else 0), np.float32)
    counts: list[int] = []
    groups = []
    for look in looks:
        apart = looks_apart(means[:len(counts)], look)
        best = int(apart.argmin()) if len(counts) else -1
        if best < 0 or apart[best] > NEAR:
            best = len(counts)
            counts.append(0)
        counts[best] += 1
        means[best] += (look - means[best]) / counts[best]
        groups.append(best)
    return groups
