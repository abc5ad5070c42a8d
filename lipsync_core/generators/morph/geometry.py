"""Where lips and jaw are in a frame, and where a mouth shape puts them; all in the canonical frame (canonical.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canonical import JAW, LIPS, MOUTH, ROWS, STABLE, canonical_stable, fit_similarity, smooth_over_time, to_complex, turned

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
WIDER, ROUNDED = 0.14, 0.10
"""Shares of its width by which a mouth widens at width 1 and narrows at -1, and narrows besides when rounded. The ear was taught
that 1 is 0.12; with this, widths in the picture range over 1.3 of the truth's, and with less they follow what is asked for less well
(`benchmarks/quality.py`, `width_range`, `width_drawn`)."""
OPEN_WIDER = 0.3
"""By how much of its opening a mouth widens. Without, MediaPipe sees drawn mouths 0.16 of it narrower the wider they open (median of 16
clips), and people's 0.13 of it wider (mean)."""
RELAXED = 0.88
"""Width of a relaxed mouth over the mean face's: 0.55 of the outer-eye distance, median of 48 clips, where the mean face, of
portraits mostly, smiles."""
MOST_SPREAD, GIVES = 0.4, 0.5
"""Most that a smile widens a mouth, and the share of it that gives way under fully rounded or narrow lips."""
MOST_NARROW, FLATTENS = 0.36, 2.0
"""Most that a mouth narrows, as a share of its width (a kiss from a broad smile: 0.70 to 0.45 of the outer-eye distance), and how much of a
smile's bow is straightened for each unit of spread that gives way."""
TURNS, PLACE, SHAPE = 0.12, 0.35, 2.0
"""Seconds (sigma) over which are learned: the head's turns; where the mouth is in the face and how full the lips are, which are not
redrawn; how the lips lie along their width, which must outlast words (with 0.35 the source's vowels stayed: r 0.7 of the drawn width with
the source's own)."""
AROUND = 3.25
"""Of `SHAPE`, how far around a block of rows is looked: the means reach 3 of it, and what goes into them `TURNS`."""
MOST_DROP = 0.15
"""Most that a chin is moved, canonical units; see `warp.NECK`."""
JAW_SHARE = 0.55
"""How far the chin follows an opening of the inner lips: the lower lip makes the rest by itself."""
DEFAULT_RANGE = 0.17
"""Widest inner-lip opening of ordinary speech over the outer-eye distance, for people whose clip shows none of theirs."""
RANGE_LIMITS = (0.12, 0.24)
STEP = 0.003
"""Canonical units by which a person's figures change at most from one look at a stream to the next, a fifth of a second later."""
LOOKS = 50
"""Looks at a stream over which the shape of a person's nose and eyes is averaged: ten seconds, more than a stream remembers at once. A head
that is turned for some seconds else changes the unit that lips are measured in."""
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
UNSEEN_WIDTH = 0.35
"""What is added to a corner's distance from where the person has it: the built-in landmarks move by 0.8 of what MediaPipe's do (median
slope over nine clips, 0.47 to 0.97)."""
FULLEST = 1.5
"""How many times as full as the frame shows it a lip may get: thin lips, stretched over a wide mouth, else come out in stripes."""
JAW_WEIGHT = np.array([0, 0, 0.04, 0.16, 0.36, 0.6, 0.82, 0.96, 1, 0.96, 0.82, 0.6, 0.36, 0.16, 0.04, 0, 0])
"""How much of the chin's drop each jaw point takes: the jaw turns about its hinge under the ears."""


def inner_gap(lips: np.ndarray) -> np.ndarray:
    """Openings (..., 5) of the inner lips at the left corner, three pairs and the right corner; lips (..., 20) complex."""
    gap = (lips[..., INNER_BOTTOM] - lips[..., INNER_TOP]).imag
    return np.maximum(gap, 0.0)


def close_lips(lips: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Lips (..., 20) brought together, as `shape_lips` would open them: upper part down a little, lower part up the rest; `gap` (..., 5).

    By the points' numbers and not by where they are: in a half profile the far half of the lips is seen at the corner.
    """
    closed = lips - 1j * gap[..., 2:3] * GAP_Y
    meet = (1 - UPPER_SHARE) * closed[..., INNER_TOP].imag + UPPER_SHARE * closed[..., INNER_BOTTOM].imag
    for inner in (INNER_TOP[1:4], INNER_BOTTOM[1:4]):
        closed[..., inner] = closed[..., inner].real + 1j * meet[..., 1:4]
    return closed


@dataclass(frozen=True)
class PersonMouth:
    """What the track tells about a person's mouth; row i belongs to row i of the track."""

    stable: np.ndarray
    """complex (k,): the person's nose and eyes in canonical units."""
    base: np.ndarray
    """complex (n, 20): closed lips, canonical, as the person's at rest in each frame's pose; what the source says is taken out."""
    chin: np.ndarray
    """float64 (n,): height of the chin below a shut mouth, canonical, in each frame's pose."""
    spread: np.ndarray
    """float64 (n,): by which share `base` is wider than a relaxed mouth; a smile."""
    closed_gap: float
    """The inner opening that the landmarks show when the mouth is shut, canonical units."""
    range: float
    """The opening that `MouthShape.opening` = 1 stands for, canonical units."""

    looks: int = 1
    """How often the person was studied, in a stream."""


def study_person(landmarks: np.ndarray, times: np.ndarray, frames: np.ndarray, before: PersonMouth | None = None) -> PersonMouth:
    """Learn a person's neutral mouth and range from a track: landmarks (n, 68, 2), times (n,) s, frames (n,). In a stream `before` is what
    was known a moment ago, of which what is the person's own changes slowly."""
    times = np.asarray(times, float)
    stable, looks = canonical_stable(landmarks), 1
    if before is not None:
        looks = min(before.looks + 1, LOOKS)
        stable = before.stable + (stable - before.stable) / looks
    blocks = [(first, min(first + ROWS, len(times))) for first in range(0, len(times), ROWS)]
    gap = np.concatenate([inner_gap(_face(landmarks[first:last], stable)[:, :20])[:, 2] for first, last in blocks])
    low = float(np.quantile(gap, 0.05))
    closed_gap = _near(low if low < 0.03 else 0.0, None if before is None else before.closed_gap)
    base, chin, spread = (np.concatenate(parts) for parts in zip(*(_at_rest(landmarks, times, block, stable, closed_gap)
                                                                   for block in blocks)))
    seen = float(np.quantile(np.maximum(gap - closed_gap, 0.0), 0.97))
    widest = _near(float(np.clip(max(seen, DEFAULT_RANGE), *RANGE_LIMITS)), None if before is None else before.range)
    return PersonMouth(stable, base, chin, spread, closed_gap, widest, looks)


def _face(landmarks: np.ndarray, stable: np.ndarray) -> np.ndarray:
    """Lips and chin (`MOUTH`), complex (n, 21), canonical."""
    points = to_complex(landmarks)
    a, b = fit_similarity(stable, points[:, STABLE])
    return (points[:, MOUTH] - b[:, None]) / a[:, None]


def _at_rest(landmarks: np.ndarray, times: np.ndarray, block: tuple[int, int], stable: np.ndarray,
             closed_gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`PersonMouth.base`, `chin` and `spread` of the rows of `block` (the first, the one after the last)."""
    low = int(np.searchsorted(times, times[block[0]] - AROUND * SHAPE))
    high = int(np.searchsorted(times, times[block[1] - 1] + AROUND * SHAPE, side="right"))
    landmarks, times, rows = landmarks[low:high], times[low:high], slice(block[0] - low, block[1] - low)
    face = _face(landmarks, stable)
    lips, chin = face[:, :20], face[:, 20:]
    effective = np.maximum(inner_gap(lips) - closed_gap, 0.0)
    closed = close_lips(lips, effective)
    # What a turning head does to a mouth is what it does to a mean face's; taken out, only the person's own is left.
    mean = smooth_over_time(turned(landmarks), times, TURNS)
    mean_lips = close_lips(mean[:, :20], inner_gap(mean[:, :20]))
    seam, mean_seam = _seam(closed), _seam(mean_lips)
    place = smooth_over_time(seam - mean_seam, times, PLACE)
    own = (closed - seam) - (mean_lips - mean_seam)
    shape = smooth_over_time(own, times, SHAPE).real + 1j * smooth_over_time(own, times, PLACE).imag
    base = (place + shape + mean_lips)[rows]
    chin = (smooth_over_time(chin - mean[:, 20:] - 1j * JAW_SHARE * effective[:, 2:3], times, SHAPE) + mean[:, 20:])[rows, 0].imag
    relaxed = RELAXED * np.abs(mean_lips[rows, 6] - mean_lips[rows, 0])
    return base, chin, np.clip(np.abs(base[:, 6] - base[:, 0]) / relaxed - 1, 0, MOST_SPREAD)


def _near(value: float, before: float | None) -> float:
    """`value`, or `STEP` towards it from what was known."""
    return value if before is None else before + float(np.clip(value - before, -STEP, STEP))


def _seam(lips: np.ndarray) -> np.ndarray:
    """Middle of the lip line of closed lips (n, 20): (n, 1)."""
    return (lips[:, 14:15] + lips[:, 18:19]) / 2


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
    rounded: float = 0.0
    """0..1: how far the target's lips are pushed forward."""

    @property
    def scale(self) -> float:
        """Crop pixels in a canonical unit (the outer-eye distance)."""
        return abs(self.a)

    def to_canonical(self, points: np.ndarray) -> np.ndarray:
        return (points - self.b) / self.a

    def canonical_pixels(self, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """x and y, float32 (h, w) each, of the pixels of `box` (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = box
        across, down = self.to_canonical(np.arange(x0, x1)), np.arange(y0, y1) * 1j / self.a
        x, y = (np.add.outer(one.astype(np.float32), other.astype(np.float32))
                for one, other in ((down.real, across.real), (down.imag, across.imag)))
        return x, y


def locate(landmarks: np.ndarray, mouth: PersonMouth) -> tuple[complex, complex, np.ndarray, np.ndarray]:
    """a, b of the frame's similarity, its lips (20,) canonical, and its effective gaps (5,). `landmarks` (68, 2)."""
    points = to_complex(landmarks)
    a, b = fit_similarity(mouth.stable, points[STABLE])
    lips = (points[LIPS] - b) / a
    return complex(a), complex(b), lips, np.maximum(inner_gap(lips) - mouth.closed_gap, 0.0)


def shape_lips(base: np.ndarray, gap: float, width: float = 0.0, closure: float = 0.0, tuck: float = 0.0,
               rounded: float = 0.0, spread: float = 0.0) -> np.ndarray:
    """Closed lips `base` (20,), canonical, opened by `gap`, narrow (width -1) or spread (1), pressed together by closure 0..1,
    the lower one tucked under the upper teeth by tuck 0..1, pushed forward by rounded 0..1; `spread` (`PersonMouth.spread`) is how
    much wider `base` is than a relaxed mouth."""
    centre = (base[0] + base[6]).real / 2
    gives = spread * float(np.clip(max(rounded, -width), 0, 1))
    wider = max(WIDER * width - ROUNDED * rounded - GIVES * gives, -MOST_NARROW)
    x = centre + (base.real - centre) * (1 + wider + OPEN_WIDER * gap / max(abs(base[6] - base[0]), 1e-6))
    seam = np.interp(base.real, base[INNER_TOP].real, base[INNER_TOP].imag)
    # A smile's lip line is a bow, that of pushed lips is not.
    level = seam + min(FLATTENS * gives, 1.0) * (base[14].imag - seam)
    # Lips pushed forward look fuller to a camera in front; pressed, spread and tucked ones thin.
    fuller = np.full(20, 1 + 0.22 * rounded - 0.10 * max(width, 0) - 0.22 * closure)
    fuller[LOWER] -= 0.38 * tuck
    y = level + (base.imag - seam) * fuller + gap * GAP_Y + wider * WIDTH_Y
    # The lower lip goes up to the teeth, whose edge shows under a lifted upper lip.
    half = max((base[16] - base[12]).real / 2, 1e-6)
    profile = np.clip(1 - ((base.real - centre) / half) ** 2, 0, 1)
    y[UPPER] -= TUCK_LIFT * tuck * profile[UPPER]
    y[INNER_BOTTOM[1:4]] += TUCK_SHOW * tuck * profile[INNER_BOTTOM[1:4]]
    return x + 1j * y


def _no_fuller(target: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """`target` (20,) with its lips at most `FULLEST` times as full as those of `lips`, whose pixels have to fill them."""
    target = target.copy()
    for outer, inner, sign in ((slice(1, 6), INNER_TOP, -1), (slice(11, 6, -1), INNER_BOTTOM, 1)):
        have = max(float(np.mean(sign * (lips[outer][1:4] - lips[inner][1:4]).imag)), 0.01)
        want = float(np.mean(sign * (target[outer][1:4] - target[inner][1:4]).imag))
        if want > FULLEST * have:
            target[outer] -= 1j * sign * (want - FULLEST * have) * np.array([0.5, 1, 1, 1, 0.5])
    return target


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
    target = shape_lips(mouth.base[row], gap, width, closure, tuck, rounded, float(mouth.spread[row]))
    gap = float(np.maximum(inner_gap(target)[2], 0))
    target = _no_fuller(target, lips)
    # Landmarks follow a mouth's corners by four fifths: what they leave would stay in the picture.
    away = lips.real - mouth.base[row].real
    lips = lips + UNSEEN_WIDTH * (away - away.mean())
    target = lips + amount * (target - lips)
    # The chin goes with the lips, and half with the jaw of its own: behind shut or rounded lips it may be low.
    chin = gap if jaw is None else 0.5 * (gap + jaw * mouth.range)
    jaw_points = (to_complex(landmarks)[JAW] - b) / a
    drop = amount * float(np.clip(mouth.chin[row] + JAW_SHARE * chin - jaw_points[8].imag, -MOST_DROP, MOST_DROP))
    return _between(a, b, lips, target, jaw_points, jaw_points + 1j * drop * JAW_WEIGHT, float(gaps[2]), gap, amount, rounded)


def place_lips(landmarks: np.ndarray, mouth: PersonMouth, target: np.ndarray, chin: float) -> FrameMouth:
    """As `place`, for lips that are known: `target` complex (20,) and the height of the chin, canonical."""
    a, b, lips, gaps = locate(landmarks, mouth)
    gap = float(np.maximum(inner_gap(target)[2] - mouth.closed_gap, 0))
    jaw_points = (to_complex(landmarks)[JAW] - b) / a
    drop = float(np.clip(chin - jaw_points[8].imag, -MOST_DROP, MOST_DROP))
    return _between(a, b, lips, target, jaw_points, jaw_points + 1j * drop * JAW_WEIGHT, float(gaps[2]), gap, 1.0, 0.0)


def _between(a: complex, b: complex, lips: np.ndarray, target: np.ndarray, jaw_points: np.ndarray, new_jaw: np.ndarray, source_gap: float,
             gap: float, amount: float, rounded: float) -> FrameMouth:
    """The points of a frame whose lips and jaw (canonical) go to others."""
    rim = max(INSET, 1.3 / abs(a))                                     # a picture is never sharper than its pixels
    # Landmarks are wrong by about 0.01: lips that seem to touch may be a little apart, and must still meet.
    inset = rim * max(min(1.0, (source_gap + 0.01) / 0.03), min(1.0, amount * max(gap - source_gap, 0) / 0.04))
    inset += amount * min(SLACK * max(source_gap - gap, 0), MOST_SLACK)
    lips = lips.copy()
    lips[INNER_TOP[1:4]] -= 1j * inset
    lips[INNER_BOTTOM[1:4]] += 1j * inset
    return FrameMouth(a, b, a * lips + b, a * target + b, a * jaw_points + b, a * new_jaw + b, source_gap,
                      source_gap + amount * (gap - source_gap), amount * rounded)
