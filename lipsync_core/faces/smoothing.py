"""Landmarks without jitter and without lag: smoothed from both sides, the head by how fast it moves, the mouth hardly at all."""

from __future__ import annotations

import numpy as np

STILL = 0.10
"""Smoothing width for a head at rest, seconds (standard deviation of the weights of a local parabola)."""
MOVING = 0.03
"""The same for a moving head."""
SHAPE = 0.026
"""The same for lips and jaw: a parabola of this width passes 95 % of a mouth that opens five times a second."""
FEATURES = 0.07
"""The same for brows, nose and eyes, which hardly change their shape."""

ROWS, AROUND = 4096, 0.5
"""Rows that are worked on at a time, so that hours need no more memory than minutes, and the seconds around them that are looked at: five
times the largest width."""


def local_parabola(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """`values` (n, k) at `times` (n,), each replaced by the value of a parabola fitted around it with Gaussian weights.

    Zero lag at any spacing of times; a mean would shrink peaks, a parabola does not. Ends use what there is.
    """
    n = len(times)
    if n < 3:
        return values.copy()
    spacing = float(np.median(np.diff(times)))
    reach = int(np.ceil(3 * sigma / max(spacing, 1e-6)))
    if reach < 1:
        return values.copy()
    offsets = np.arange(-reach, reach + 1)
    index = np.clip(np.arange(n)[:, None] + offsets, 0, n - 1)
    inside = (np.arange(n)[:, None] + offsets == index)
    t = (times[index] - times[:, None]) / sigma
    weight = np.exp(-0.5 * t * t) * inside
    basis = np.stack([np.ones_like(t), t, t * t], -1)
    normal = np.einsum("nw,nwi,nwj->nij", weight, basis, basis) + 1e-6 * np.eye(3)
    row = np.linalg.solve(normal, np.broadcast_to(np.array([[1.0], [0.0], [0.0]]), (n, 3, 1)))[..., 0]
    kernel = np.einsum("ni,nwi,nw->nw", row, basis, weight)
    result = np.zeros_like(values)
    for j in range(len(offsets)):
        result += kernel[:, j, None] * values[index[:, j]]
    return result


def repair_outliers(values: np.ndarray, limit: float) -> np.ndarray:
    """Single rows of (n, k) complex that stand off both neighbours' middle by over `limit`, while these agree, take the middle."""
    result = values.copy()
    if len(values) < 3:
        return result
    middle = (values[:-2] + values[2:]) / 2
    apart = np.abs(values[1:-1] - middle)
    agree = np.abs(values[2:] - values[:-2])
    bad = (apart > limit) & (agree < 0.35 * apart)
    result[1:-1][bad] = middle[bad]
    return result


def smooth_landmarks(landmarks: np.ndarray, times: np.ndarray, cuts: np.ndarray | None = None, strength: float = 1.0) -> np.ndarray:
    """Landmarks (n, 68, 2) at `times` (n,) s -> the same, smoothed. Never across gaps of over 0.25 s, nor across `cuts`
    (indices of rows that begin a new shot). `strength` multiplies all widths in time; 0 leaves the landmarks as they are."""
    if strength <= 0:
        return np.asarray(landmarks, np.float32).copy()
    borders = set(np.flatnonzero(np.diff(times) > 0.25) + 1) | set(np.asarray(cuts if cuts is not None else [], int).tolist())
    result = np.empty(np.shape(landmarks), np.float32)
    places = sorted(b for b in borders if 0 < b < len(result))
    for begin, end in zip([0, *places], [*places, len(result)]):
        part, time = landmarks[begin:end], np.asarray(times, np.float64)[begin:end] / strength
        template = _template(part[np.linspace(0, len(part) - 1, min(len(part), ROWS)).round().astype(int)]) if len(part) else None
        for first in range(0, len(part), ROWS):
            last = min(first + ROWS, len(part))
            low, high = np.searchsorted(time, [time[first] - AROUND, time[last - 1] + AROUND])
            low, high = max(0, min(int(low), first - 4)), min(len(part), max(int(high), last + 4))
            result[begin + first:begin + last] = _smooth_part(part[low:high], time[low:high], template)[first - low:last - low]
    return result


_STEADY = np.ones(68)
_STEADY[48:], _STEADY[:17] = 0.1, 0.3                                 # speech must not move the head
_STEADY /= _STEADY.sum()


def _complex(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[..., 0] + 1j * points[..., 1]


def _template(points: np.ndarray) -> np.ndarray:
    """The face of a part, complex (68,), its steady middle at 0."""
    z = _complex(points)
    mean = (z - z.mean(1, keepdims=True))
    scale = np.sqrt((np.abs(mean) ** 2).mean(1, keepdims=True))
    template = (mean / scale).mean(0)
    return template - (_STEADY * template).sum()


def _smooth_part(points: np.ndarray, times: np.ndarray, centred: np.ndarray) -> np.ndarray:
    if len(points) < 3:
        return points
    z, steady = _complex(points), _STEADY
    # Head: position, size and turn as two complex numbers a frame. Face: what is left, in units of the head.
    middle = (z * steady).sum(1)
    turn = ((z - middle[:, None]) * centred.conj() * steady).sum(1) / (np.abs(centred) ** 2 * steady).sum()
    shape = (z - middle[:, None]) / turn[:, None]
    head = np.stack([middle, turn], 1)
    head[:, :1] = repair_outliers(head[:, :1], 0.15 * float(np.abs(turn).mean()))
    slow, fast = local_parabola(head, times, STILL), local_parabola(head, times, MOVING)
    moved = np.abs(slow - fast).max(1) / np.abs(turn)
    moved = np.convolve(np.pad(moved, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    t = np.clip((moved - 0.006) / 0.02, 0, 1)
    mix = (t * t * (3 - 2 * t))[:, None]
    head = slow + mix * (fast - slow)
    shape = repair_outliers(shape, 0.25)
    speech = np.r_[0:17, 48:68]
    calm = local_parabola(shape, times, FEATURES)
    calm[:, speech] = local_parabola(shape[:, speech], times, SHAPE)
    shape = calm
    z = shape * head[:, 1:] + head[:, :1]
    return np.stack([z.real, z.imag], -1)
