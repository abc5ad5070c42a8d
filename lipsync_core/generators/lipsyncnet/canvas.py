"""The upright picture of a mouth that the network is shown and draws on, in the person's canonical frame (see morph/canonical.py)."""

from __future__ import annotations

import math

import cv2
import numpy as np

SIDE = 128
"""Pixels in which lips are told, whatever size a network draws at."""
SPAN = 0.9
"""Outer-eye distances of the side: mouth, folds and chin are in, and a tooth is 12 pixels wide."""
ABOVE = 0.4
"""Share of the side above the lip line of the mouth at rest."""
MAPS = 4
"""Planes that tell lips: inside the inner rim, inside the outer one, and down from the inner rims, upper and lower."""
FAR = 16
"""Pixels from the rims at which the last two end."""
RIM = 10
"""Pixels over which what is drawn fades at the picture's sides."""
EDGE = 0.7
"""Sigma, in a frame's pixels, of the Gaussian that what is drawn for a face smaller than the picture goes through: without, teeth were
speckles. Edges in clips have 1.2 to 1.9 (morph/softness.py)."""


def matrix_to_window(a: complex, b: complex, centre: complex, side: int = SIDE) -> np.ndarray:
    """Affine (2, 3) from the picture's pixels to the window's; a, b map canonical points to the window, `centre` is the mouth's."""
    unit = SPAN / side
    step = a * unit
    origin = a * (centre - unit * (side / 2 + 1j * ABOVE * side)) + b
    return np.array([[step.real, -step.imag, origin.real], [step.imag, step.real, origin.imag]])


def placed(pixels: np.ndarray, a: complex, b: complex, centre: complex, side: int = SIDE) -> np.ndarray:
    """A window's pixels -> RGB uint8 (side, side, 3), turned upright and scaled, `centre` (canonical) at a fixed place."""
    step = abs(a) * SPAN / side
    pixels = np.asarray(pixels, np.float32)
    if step > 1.2:                                                    # shrinking is filtered, not aliased
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * step)
    made = cv2.warpAffine(pixels, matrix_to_window(a, b, centre, side), (side, side), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def laid_back(picture: np.ndarray, a: complex, b: complex, centre: complex, size: tuple[int, int]) -> np.ndarray:
    """What is to be added, float32 (side, side, c) -> (h, w, c) of a window of `size` (w, h); 0 beyond the picture."""
    side = len(picture)
    ramp = np.clip((np.arange(side) + 0.5) / (RIM * side / SIDE), 0, 1)
    ramp = np.minimum(ramp, ramp[::-1])
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    step = abs(a) * SPAN / side
    if step < 0.99:
        picture = cv2.GaussianBlur(picture, (0, 0), EDGE * math.sqrt(1 / step**2 - 1))
    return cv2.warpAffine(picture * (ramp[:, None] * ramp)[..., None], matrix_to_window(a, b, centre, side), size, flags=cv2.INTER_CUBIC)


def in_picture(points: np.ndarray, centre: complex) -> np.ndarray:
    """Canonical points -> pixels of a picture of SIDE, complex."""
    return (points - centre) * (SIDE / SPAN) + SIDE / 2 + 1j * ABOVE * SIDE


def lip_maps(lips: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Lips complex (n, 20), pixels of a picture of SIDE -> float32 (n, MAPS, side, side), soft at the rims."""
    scale = side / SIDE
    x = np.arange(side, dtype=np.float32)
    y = np.arange(side, dtype=np.float32)[:, None]
    maps = np.zeros((len(lips), MAPS, side, side), np.float32)
    for i, points in enumerate((lips + 0.5 + 0.5j) * scale - 0.5 - 0.5j):
        rims = []
        for top, bottom in (((12, 13, 14, 15, 16), (12, 19, 18, 17, 16)), ((0, 1, 2, 3, 4, 5, 6), (0, 11, 10, 9, 8, 7, 6))):
            upper = np.interp(x, points[list(top)].real, points[list(top)].imag)
            lower = np.interp(x, points[list(bottom)].real, points[list(bottom)].imag)
            across = np.clip(x - points[top[0]].real + 0.5, 0, 1) * np.clip(points[top[-1]].real - x + 0.5, 0, 1)
            rims.append((upper, lower, across))
        for k, (upper, lower, across) in enumerate(rims):
            maps[i, k] = np.clip(y - upper + 0.5, 0, 1) * np.clip(lower - y + 0.5, 0, 1) * across
        maps[i, 2] = np.clip((y - rims[0][0]) / (FAR * scale), -1, 1)
        maps[i, 3] = np.clip((rims[0][1] - y) / (FAR * scale), -1, 1)
    return maps
