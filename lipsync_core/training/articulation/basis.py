"""How lip points move when a mouth opens or widens, from real tracks: `GAP_Y` and `WIDTH_Y` of `generators.morph.geometry`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...generators.morph.geometry import LIPS, STABLE, canonical_stable, fit_similarity, inner_gap, to_complex

MIRROR = np.array([54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]) - 48
WIDEST = 0.18
"""Openings beyond those of speech are left out: yawns and shouts move the corners and the upper lip otherwise."""
MOST, MOST_GRID = 400, 12
"""Frames that a clip may give; GRID's speaker 1 has hundreds of clips."""


def moves(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Opening and relative width (n, 2), and how far each lip point moved from the person's rest (n, 20) complex, made symmetric;
    None for a clip that never shows the mouth both shut and open."""
    stable = canonical_stable(landmarks)
    points = to_complex(landmarks)
    a, b = fit_similarity(stable, points[:, STABLE])
    lips = (points[:, LIPS] - b[:, None]) / a[:, None]
    gap = inner_gap(lips)[:, 2]
    shut = gap < max(float(np.quantile(gap, 0.1)), 0.015)
    if shut.sum() < 8 or gap.max() < 0.06:
        return None
    rest = np.median(lips[shut].real, 0) + 1j * np.median(lips[shut].imag, 0)
    width = np.abs(lips[:, 6] - lips[:, 0]) / np.abs(rest[6] - rest[0]) - 1
    moved = lips - rest
    return np.stack([gap, width], 1), (moved - moved[:, MIRROR].conj()) / 2


def fit(tracks: Path) -> dict[str, np.ndarray]:
    """Least squares over all clips that may teach: down per opening of 1 at the middle, down per mouth twice as wide."""
    rng = np.random.default_rng(0)
    known, moved = [], []
    for file in sorted(tracks.glob("*.npz")):
        grid = file.stem.startswith("grid_s1")
        if "testonly" in file.stem or (grid and not file.stem.endswith("2p")):
            continue
        with np.load(file) as data:
            landmarks = data["landmarks"]
        landmarks = landmarks[np.isfinite(landmarks[:, 0, 0])]
        if len(landmarks) < 60 or (found := moves(landmarks)) is None:
            continue
        spoken = np.flatnonzero(found[0][:, 0] < WIDEST)
        chosen = rng.choice(spoken, min(len(spoken), MOST_GRID if grid else MOST), replace=False)
        known.append(found[0][chosen])
        moved.append(found[1][chosen])
    slopes = np.linalg.lstsq(np.concatenate(known), np.concatenate(moved).imag, rcond=None)[0]
    return {"GAP_Y": slopes[0] / (slopes[0, 18] - slopes[0, 14]), "WIDTH_Y": slopes[1]}
