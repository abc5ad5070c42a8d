"""Where lips and jaw are in a frame, and where a mouth shape puts them.

Everything happens in a canonical frame of the person: the similarity that maps the person's own nose and eyes to the frame
is taken out, so that head position, roll and size are gone; x runs along the eye line to the picture's right, y down the
face, the unit is the distance of the outer eye corners. Points are complex numbers x + iy, which makes a similarity one
multiplication and one addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STABLE = np.array([27, 28, 29, 30, 31, 33, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47])
"""Nose and eyes: the points that speech leaves in place."""
JAW = np.arange(0, 17)
LIPS = np.arange(48, 68)
# Within LIPS (subtract 48): outer ring 0..11, inner ring 12..19; corners 0, 6 (outer) and 12, 16 (inner).
UPPER = np.array([1, 2, 3, 4, 5, 13, 14, 15])
LOWER = np.array([7, 8, 9, 10, 11, 17, 18, 19])
CORNERS = np.array([0, 6, 12, 16])
INNER_TOP = np.array([12, 13, 14, 15, 16])
INNER_BOTTOM = np.array([12, 19, 18, 17, 16])

GAP_Y = np.array([21, -10, -14, -17, -14, -10, 21, 71, 81, 85, 81, 71, 21, -20, -21, -20, 21, 77, 79, 77]) / 100
WIDTH_Y = np.array([-25, -13, -9, -8, -9, -13, -25, -18, -19, -19, -19, -18, -23, -14, -13, -14, -23, -13, -12, -13]) / 100
"""How far each lip point goes down for an opening of 1, and for a mouth twice as wide (a smile lifts its corners). Least squares
over 5,900 frames of 30 clips: `python -m lipsync_core.training.articulation basis TRACKS`."""
UPPER_SHARE = -GAP_Y[14]
"""Share of an opening that the upper lip makes; the rest is lower lip and jaw."""
WIDER = 0.12
"""Share of its width by which a mouth widens at width 1, narrows at -1, and narrows once more when rounded."""
JAW_SHARE = 0.55
"""How far the chin follows an opening of the inner lips: the lower lip makes the rest by itself."""
DEFAULT_RANGE = 0.17
"""Widest inner-lip opening of ordinary speech over the outer-eye distance, for people whose clip shows none of theirs."""
RANGE_LIMITS = (0.12, 0.24)
MOST_CLOSING = 0.32
"""By how much an opening may be closed, beyond the widest of speech: a shout stays partly open, since lips stretched over a whole
open mouth are no lips."""
SHOUT = (0.35, 0.42)
"""Openings of the source between which the effect goes out: beyond, landmarks are off and no lips can be drawn over the mouth."""
TUCK_LIFT, TUCK_SHOW = 0.022, 0.010
"""How far the upper lip lifts off and the lower lip's edge stays under the lip line for f and v, which lets the teeth show."""
INSET = 0.012
"""Canonical width of the lips' rim that a warp leaves out: where the source's mouth is open, so that no tooth sticks to a lip
that closes; where the target's is, so that the dark line between shut lips does not rim them when they part."""
SLACK, MOST_SLACK = 0.1, 0.01
"""What else it leaves out of an opening that closes, as a share of it and at most: landmarks read wide openings up to a fifth too
narrow; without, they don't quite shut, and lips move in silence."""
JAW_WEIGHT = np.array([0, 0, 0.04, 0.16, 0.36, 0.6, 0.82, 0.96, 1, 0.96, 0.82, 0.6, 0.36, 0.16, 0.04, 0, 0])
"""How much of the chin's drop each jaw point takes: the jaw turns about its hinge under the ears."""


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


def inner_gap(lips: np.ndarray) -> np.ndarray:
    """Openings (..., 5) of the inner lips at the left corner, three pairs and the right corner; lips (..., 20) complex."""
    gap = (lips[..., INNER_BOTTOM] - lips[..., INNER_TOP]).imag
    return np.maximum(gap, 0.0)


def _gap_at(lips: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The opening (20,) at the x of every lip point of one frame, 0 at and beyond the inner corners."""
    knots = ((lips[INNER_TOP] + lips[INNER_BOTTOM]) / 2).real
    order = np.argsort(knots)
    return np.interp(lips.real, knots[order], gap[order], left=0.0, right=0.0)


def close_lips(lips: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The lips (20,) of one frame brought together along the face: upper part down a little, lower part up the rest."""
    local = _gap_at(lips, gap)
    closed = lips.astype(complex).copy()
    closed[UPPER] += 1j * UPPER_SHARE * local[UPPER]
    closed[LOWER] -= 1j * (1 - UPPER_SHARE) * local[LOWER]
    # An open mouth's corners sit lower than a closed one's.
    closed[CORNERS] -= 1j * gap[2] * GAP_Y[CORNERS]
    meet = (closed[INNER_TOP].imag + closed[INNER_BOTTOM].imag) / 2
    closed[INNER_TOP[1:4]] = closed[INNER_TOP[1:4]].real + 1j * meet[1:4]
    closed[INNER_BOTTOM[1:4]] = closed[INNER_BOTTOM[1:4]].real + 1j * meet[1:4]
    return closed


def _smooth_over_time(values: np.ndarray, times: np.ndarray, frames: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean of complex rows (n, k) over seconds, on irregular times, not across gaps of over half a second."""
    result = np.empty_like(values)
    cuts = np.flatnonzero(np.diff(times) > 0.5) + 1
    for part in np.split(np.arange(len(times)), cuts):
        low = np.searchsorted(times[part], times[part] - 3 * sigma)
        high = np.searchsorted(times[part], times[part] + 3 * sigma, side="right")
        for i, (a, b) in enumerate(zip(low, high)):
            rows = part[a:b]
            weight = np.exp(-0.5 * ((times[rows] - times[part[i]]) / sigma) ** 2)
            result[part[i]] = weight @ values[rows] / weight.sum()
    return result


@dataclass(frozen=True)
class PersonMouth:
    """What the track tells about a person's mouth; row i belongs to row i of the track."""

    stable: np.ndarray
    """complex (k,): the person's nose and eyes in canonical units."""
    base: np.ndarray
    """complex (n, 20): closed lips, canonical, the source's own speech movements smoothed away."""
    closed_gap: float
    """The inner opening that the landmarks show when the mouth is shut, canonical units."""
    range: float
    """The opening that `MouthShape.opening` = 1 stands for, canonical units."""


def study_person(landmarks: np.ndarray, times: np.ndarray, frames: np.ndarray, sigma: float = 0.35) -> PersonMouth:
    """Learn a person's neutral mouth and range from a track: landmarks (n, 68, 2), times (n,) s, frames (n,).

    `sigma` (seconds) is how long a lip posture must last to count as the person's own rather than as the old speech.
    """
    stable = canonical_stable(landmarks)
    points = to_complex(landmarks)
    a, b = fit_similarity(stable, points[:, STABLE])
    lips = (points[:, LIPS] - b[:, None]) / a[:, None]
    gap = inner_gap(lips)
    low = float(np.quantile(gap[:, 2], 0.05))
    closed_gap = low if low < 0.03 else 0.0
    effective = np.maximum(gap - closed_gap, 0.0)
    base = np.stack([close_lips(row, g) for row, g in zip(lips, effective)])
    seen = float(np.quantile(effective[:, 2], 0.97))
    widest = float(np.clip(max(seen, DEFAULT_RANGE), *RANGE_LIMITS))
    return PersonMouth(stable, _smooth_over_time(base, np.asarray(times, float), frames, sigma), closed_gap, widest)


@dataclass(frozen=True)
class FrameMouth:
    """One frame's source and target points. Complex crop coordinates unless said otherwise."""

    a: complex
    b: complex
    source_lips: np.ndarray
    target_lips: np.ndarray
    source_jaw: np.ndarray
    target_jaw: np.ndarray
    source_gap: float
    """Effective opening of the source's mouth, canonical units."""
    target_gap: float

    @property
    def scale(self) -> float:
        """Crop pixels in a canonical unit (the outer-eye distance)."""
        return abs(self.a)

    def to_canonical(self, points: np.ndarray) -> np.ndarray:
        return (points - self.b) / self.a


def locate(landmarks: np.ndarray, mouth: PersonMouth) -> tuple[complex, complex, np.ndarray, np.ndarray]:
    """a, b of the frame's similarity, its lips (20,) canonical, and its effective gaps (5,). `landmarks` (68, 2)."""
    points = to_complex(landmarks)
    a, b = fit_similarity(mouth.stable, points[STABLE])
    lips = (points[LIPS] - b) / a
    return complex(a), complex(b), lips, np.maximum(inner_gap(lips) - mouth.closed_gap, 0.0)


def shape_lips(base: np.ndarray, gap: float, width: float = 0.0, closure: float = 0.0, tuck: float = 0.0,
               rounded: float = 0.0) -> np.ndarray:
    """Closed lips `base` (20,), canonical, opened by `gap`, narrow (width -1) or spread (1), pressed together by closure 0..1,
    the lower one tucked under the upper teeth by tuck 0..1, pushed forward by rounded 0..1."""
    centre = (base[0] + base[6]).real / 2
    wider = WIDER * (width - rounded)
    x = centre + (base.real - centre) * (1 + wider)
    seam = np.interp(base.real, base[INNER_TOP].real, base[INNER_TOP].imag)
    # Lips pushed forward look fuller to a camera in front; pressed, spread and tucked ones thin.
    fuller = np.full(20, 1 + 0.22 * rounded - 0.10 * max(width, 0) - 0.22 * closure)
    fuller[LOWER] -= 0.38 * tuck
    y = seam + (base.imag - seam) * fuller + gap * GAP_Y + wider * WIDTH_Y
    # The lower lip goes up to the teeth, whose edge shows under a lifted upper lip.
    half = max((base[16] - base[12]).real / 2, 1e-6)
    profile = np.clip(1 - ((base.real - centre) / half) ** 2, 0, 1)
    y[UPPER] -= TUCK_LIFT * tuck * profile[UPPER]
    y[INNER_BOTTOM[1:4]] += TUCK_SHOW * tuck * profile[INNER_BOTTOM[1:4]]
    return x + 1j * y


def place(landmarks: np.ndarray, row: int, mouth: PersonMouth, *, opening: float, width: float = 0.0, closure: float = 0.0,
          amount: float = 1.0, jaw: float | None = None, tuck: float = 0.0, rounded: float = 0.0) -> FrameMouth:
    """Source and target points of one frame.

    `landmarks` (68, 2) in crop coordinates; `row` of the track; `opening` 0..1 (more under a strength above 1), `jaw` the same
    (None: as the opening), `width` -1..1, `closure`, `tuck`, `rounded` 0..1; `amount` 0..1 moves from the frame's own mouth (0)
    to the new one (1).
    """
    a, b, lips, gaps = locate(landmarks, mouth)
    amount *= 1 - float(np.clip((gaps[2] - SHOUT[0]) / (SHOUT[1] - SHOUT[0]), 0, 1))
    gap = max(opening * mouth.range, float(gaps[2]) - MOST_CLOSING)
    target = shape_lips(mouth.base[row], gap, width, closure, tuck, rounded)
    gap = float(np.maximum(inner_gap(target)[2], 0))
    target = lips + amount * (target - lips)
    # The chin goes with the lips, and half with the jaw of its own: behind shut or rounded lips it may be low.
    chin = gap if jaw is None else 0.5 * (gap + jaw * mouth.range)
    drop = JAW_SHARE * amount * (chin - gaps[2])
    jaw_points = (to_complex(landmarks)[JAW] - b) / a
    new_jaw = jaw_points + 1j * drop * JAW_WEIGHT
    source_gap = float(gaps[2])
    rim = max(INSET, 1.3 / abs(a))                                     # a picture is never sharper than its pixels
    # Landmarks are wrong by about 0.01: lips that seem to touch may be a little apart, and must still meet.
    inset = rim * max(min(1.0, (source_gap + 0.01) / 0.03), min(1.0, amount * max(gap - source_gap, 0) / 0.04))
    inset += amount * min(SLACK * max(source_gap - gap, 0), MOST_SLACK)
    lips = lips.copy()
    lips[INNER_TOP[1:4]] -= 1j * inset
    lips[INNER_BOTTOM[1:4]] += 1j * inset
    return FrameMouth(a, b, a * lips + b, a * target + b, a * jaw_points + b, a * new_jaw + b, source_gap,
                      source_gap + amount * (gap - source_gap))
