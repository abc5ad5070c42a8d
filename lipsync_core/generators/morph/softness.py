"""How soft a picture's own edges are: what is drawn into it must be no crisper."""

from __future__ import annotations

import cv2
import numpy as np

AGAIN = 1.0
"""Sigma, pixels, of the blur that the picture is given to see how much of its edges that takes."""
STRONGEST = 92
"""Percentile of the steepness of pixels from which they are edges."""
LEAST, MOST = 0.5, 6.0
"""Pixels."""


def softness_of(pixels: np.ndarray) -> float:
    """The Gaussian sigma, pixels, of the edges in an RGB crop (h, w, 3) of a face.

    A blur of sigma 1 leaves an edge that is a Gaussian's s / sqrt(s^2 + 1) of its steepness (Zhuo & Sim 2011, Defocus map estimation
    from a single image). The steepest pixels tell: noise makes a picture crisper, not softer, than it is."""
    grey = cv2.cvtColor(np.asarray(pixels, np.float32), cv2.COLOR_RGB2GRAY)
    steep, less = (cv2.magnitude(cv2.Sobel(p, cv2.CV_32F, 1, 0), cv2.Sobel(p, cv2.CV_32F, 0, 1))
                   for p in (grey, cv2.GaussianBlur(grey, (0, 0), AGAIN)))
    edges = steep >= max(float(np.percentile(steep[::2, ::2], STRONGEST)), 1e-3)
    if not edges.any():
        return MOST
    ratio = min(float(np.median(less[edges] / steep[edges])), 0.995)
    return float(np.clip(AGAIN * ratio / np.sqrt(1 - ratio**2), LEAST, MOST))
