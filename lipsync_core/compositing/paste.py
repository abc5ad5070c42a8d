"""Bring a generated face to the colours around it."""

from __future__ import annotations

import cv2
import numpy as np

from ..array_pixels import each_channel

MAX_SHIFT = 24.0
"""Largest colour correction, of 255: a bigger difference at the rim is a picture that does not belong there, not a tint."""


def match_colour(new: np.ndarray, old: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`new` (h, w, 3) float32 0..255, tinted so that along the rim of `mask` (h, w) 0..1 it continues `old`.

    The difference old - new is measured on the slope of the mask, where both show the same skin, and carried inwards as a
    smooth sheet (normalised convolution), so that one cheek may be brightened and the other darkened. Where the two agree
    already, `new` comes back unchanged.
    """
    # A sheet has no detail: a few dozen samples across are enough, whatever the size of the face, each the mean of some pixels.
    height, width = mask.shape
    shrink = max(1.0, max(height, width) / 48)
    size = (max(2, round(width / shrink)), max(2, round(height / shrink)))
    some = np.s_[::max(1, int(shrink / 2)), ::max(1, int(shrink / 2))]
    rim = ((mask[some] > 0.02) & (mask[some] < 0.6)).astype(np.float32)
    if not rim.any():
        return new
    difference = np.clip(old[some] - new[some], -MAX_SHIFT, MAX_SHIFT) * each_channel(rim)
    if cv2.norm(difference, cv2.NORM_L1) < 0.02 * difference.size:
        return new
    weight = cv2.resize(rim, size, interpolation=cv2.INTER_AREA)
    sheet = cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
    sigma = max(size) / 8
    weight = cv2.GaussianBlur(weight, (0, 0), sigma)
    sheet = cv2.GaussianBlur(sheet, (0, 0), sigma) / each_channel(np.maximum(weight, 1e-6))
    return new + cv2.resize(sheet, (width, height), interpolation=cv2.INTER_LINEAR)
