"""Wav2Lip's crop as the authors' program makes it (architectures.md, 1.9)."""

from __future__ import annotations

import numpy as np

from ...faces.align import box_matrix, detector_box
from ...types import FaceTrack

WINDOW = 5
"""Frames whose boxes are averaged: this one and those after it."""
PAD = 10.0
"""Pixels of the picture below the chin, whatever the size of the face."""


def upstream_box(track: FaceTrack, row: int) -> np.ndarray:
    """float64 (4,) x0, y0, x1, y1: the mean of the boxes of five frames from `row` on, at the end of the last five, `PAD` added below.

    A frame that is not within five of this one (the face was away) is left out.
    """
    first = max(0, min(row, len(track) - WINDOW))
    rows = np.arange(first, min(first + WINDOW, len(track)))
    rows = rows[np.abs(track.frames[rows] - track.frames[row]) < WINDOW]
    return detector_box(track.landmarks[rows], chin=0).mean(0) + [0, 0, 0, PAD]


def upstream_matrix(track: FaceTrack, row: int, size: int) -> np.ndarray:
    """A `types.CropRule`: `upstream_box` stretched to a square of `size` pixels."""
    return box_matrix(upstream_box(track, row), size)
