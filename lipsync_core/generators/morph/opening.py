"""The gap between the lips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import INNER_BOTTOM, INNER_TOP


def smoothstep(x: np.ndarray | float, low: float, high: float) -> np.ndarray | float:
    if isinstance(x, float):                                           # a tenth of an array's cost, and there are a dozen a frame
        share = min(max((x - low) / (high - low), 0.0), 1.0)
        return share * share * (3 - 2 * share)
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def contour(points: np.ndarray, samples: int = 8) -> np.ndarray:
    """Catmull-Rom curve through complex points (k,): ((k - 1) * samples + 1,)."""
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    t = np.arange(samples) / samples
    p0, p1, p2, p3 = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return np.append(curve.reshape(-1), points[-1])


BULGE = {-1: 0.05, 1: 0.2}
"""How far the upper (-1) and the lower (1) edge of an opening stand out half-way between a corner and the next inner landmark, over the
opening. An ellipse has 0.27 for both together. (Looked at on six people's widest frames; with less, lower teeth stuck to the lip beside
the corners, and painted mouths were diamonds.)"""


@dataclass(frozen=True)
class Opening:
    """The gap between the inner lips in canonical coordinates: upper and lower edge at places x, which are evenly spaced."""

    x: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    middle: float = 0.0
    """x of the upper lip's middle, below which the two large incisors meet."""

    @property
    def centre(self) -> float:
        return float(self.x[0] + self.x[-1]) / 2

    @property
    def half_width(self) -> float:
        return max(float(self.x[-1] - self.x[0]) / 2, 1e-3)

    def edges(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower edge at x, float32 of any shape; beyond the ends they go on level."""
        last = len(self.x) - 1
        at = np.clip((x - np.float32(self.x[0])) * np.float32(last / max(self.x[-1] - self.x[0], 1e-6)), 0, last)
        i = np.minimum(at.astype(np.intp), last - 1)
        share = at - i.astype(np.float32)
        top, bottom = (curve.astype(np.float32) for curve in (self.top, self.bottom))
        return top[i] + share * np.diff(top)[i], bottom[i] + share * np.diff(bottom)[i]

    @property
    def gap(self) -> float:
        return float((self.bottom - self.top).max())


def bulged(lips: np.ndarray, side: int, share: float = 1.0) -> np.ndarray:
    """The inner edge of the upper (`side` -1) or the lower lip (1) from corner to corner, complex (7,), of lips (20,): landmarks and,
    half-way between a corner and the next one, where a mouth is an ellipse rather than a diamond (`share` of the way to one)."""
    points = lips[INNER_TOP if side < 0 else INNER_BOTTOM]
    gap = max(float((lips[INNER_BOTTOM[2]] - lips[INNER_TOP[2]]).imag), 0.0)
    between = (points[[0, 4]] + points[[1, 3]]) / 2 + 1j * side * share * BULGE[side] * gap
    return np.array([points[0], between[0], *points[1:4], between[1], points[4]])


def opening_of(lips: np.ndarray, share: float = 1.0) -> Opening:
    """From lips (20,), complex canonical; `share` as `bulged` has it."""
    top, bottom = (contour(bulged(lips, side, share)) for side in (-1, 1))
    x = np.linspace(top.real.min(), top.real.max(), 48)
    edges = []
    for curve in (top, bottom):
        order = np.argsort(curve.real)
        edges.append(np.interp(x, curve.real[order], curve.imag[order]))
    upper, lower = edges
    middle = (upper + lower) / 2
    return Opening(x, np.minimum(upper, middle), np.maximum(lower, middle),
                   float(lips[INNER_TOP[2]].real))


VISIBLE = 0.9
"""Share of the inner lips' width in which an opening shows: landmarks put the corners where skin folds, and beside the opening proper
the lips still touch (looked at on clips; with 1, the rims of lips that touch were painted as parts of the mouth's inside)."""


ROUND_VISIBLE = 0.6
"""What rounded lips leave of that: they touch beside a hole in the middle."""


def visible(opening: Opening, rounded: float = 0.0) -> Opening:
    """The part of an opening that can be seen, rounded towards its ends; `rounded` 0..1 for lips that are pushed forward."""
    share = VISIBLE * (1 - (1 - ROUND_VISIBLE) * rounded)
    x = opening.centre + (opening.x - opening.centre) * share
    top, bottom = np.interp(x, opening.x, opening.top), np.interp(x, opening.x, opening.bottom)
    middle = (top + bottom) / 2
    keep = np.sqrt(1 - np.clip(np.abs(x - opening.centre) / (share * opening.half_width), 0, 1) ** (4 - 2 * rounded))
    return Opening(x, middle - (middle - top) * keep, middle + (bottom - middle) * keep, opening.middle)
