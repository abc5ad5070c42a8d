"""How near a dubbed mouth comes to the one that really said the words."""

from __future__ import annotations

import numpy as np

from .curves import Curves, resample

RATE = 100.0
"""Hz, the common grid: finer than any frame rate, so that a lag can be read between frames."""
MAX_LAG = 0.3
"""Seconds, either way: beyond it the next syllable begins to match (syllables come 3 to 5 a second)."""
LEAST_RELATION = 0.3
"""A best correlation below this finds some lag in anything (a few seconds of unrelated speech reach 0.2 to 0.3 somewhere)."""
LEAST_RANGE = 0.01
"""Outer-eye distances: an opening whose range (5 % to 95 %) is smaller does not move; what is left is the landmarks' noise, which
correlates with anything by chance."""
CLOSURE_REACH = 0.06
"""Seconds by which a closure may be early or late: viewers notice a sound that is over 45 ms early or 125 ms late
(ITU-R BT.1359-1), and a closure lasts 60 to 120 ms."""
LONGEST_CLOSURE = 0.5
"""Seconds: a longer one is a pause, not a sound."""


def grid_of(*curves: Curves) -> np.ndarray:
    """Times (m,) at `RATE` that all of the curves cover."""
    begin = max((float(c.times[0]) for c in curves if len(c.times)), default=0.0)
    end = min((float(c.times[-1]) for c in curves if len(c.times)), default=0.0)
    return np.arange(np.ceil(begin * RATE), np.floor(end * RATE + 1e-6) + 1) / RATE


def pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    """Correlation of two curves where both are known; None where fewer than 20 samples are, or where one does not move."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 20:
        return None
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / size) if size > 1e-9 else None


def moves(values: np.ndarray) -> bool:
    """Whether an opening (n,) moves more than landmark noise does (`LEAST_RANGE`)."""
    return bool(np.isfinite(values).any()) and float(np.diff(np.nanquantile(values, [0.05, 0.95]))[0]) >= LEAST_RANGE


def correlation(dub: Curves, truth: Curves, name: str = "opening") -> float | None:
    """Pearson's r of the dub's and the truth's curve (`opening` or `width`) at no lag, -1..1.

    1 for the true clip itself; 0.6 and more is the aim; a mouth that only follows loudness reaches about 0.3, a frozen one has 0.
    Fooled by a constant lag (see `best_lag`) and by long pauses, which anything gets right; where the truth is the source itself,
    by whatever of its mouth was never redrawn (`shifted_measures`); blind to the size of the movement (see `range_ratio`).
    """
    times = grid_of(dub, truth)
    if not moves(dub.opening):
        return 0.0
    return pearson(resample(dub.times, getattr(dub, name), times), resample(truth.times, getattr(truth, name), times))


def best_lag(dub: Curves, truth: Curves) -> tuple[float | None, float | None]:
    """Lag in ms at which the openings agree best, within 0.3 s (`MAX_LAG`), and Pearson's r there. Positive: the dub's mouth comes late.

    Within 40 ms is good (a frame; viewers notice a mouth that is about 45 ms late or 125 ms early). The lag is None where the
    best r is below 0.3: a mouth that has nothing to do with the truth has no lag. Fooled by regular rhythms, whose next
    beat may fit better, and by a truth whose own sound is off.
    """
    if not moves(dub.opening):
        return None, 0.0
    times = grid_of(dub, truth)
    a, b = resample(dub.times, dub.opening, times), resample(truth.times, truth.opening, times)
    reach = round(MAX_LAG * RATE)
    lags = np.arange(-reach, reach + 1)
    scores = np.full(len(lags), np.nan)
    for i, lag in enumerate(lags):
        later, earlier = (a[lag:], b[:len(b) - lag]) if lag >= 0 else (a[:lag], b[-lag:])
        score = pearson(later, earlier) if len(later) else None
        scores[i] = np.nan if score is None else score
    if not np.isfinite(scores).any():
        return None, None
    best = int(np.nanargmax(scores))
    place, height = float(lags[best]), float(scores[best])
    if 0 < best < len(lags) - 1 and np.isfinite(scores[best - 1:best + 2]).all():
        left, middle, right = scores[best - 1:best + 2]
        bend = left - 2 * middle + right
        if bend < 0:
            step = 0.5 * (left - right) / bend
            place, height = place + step, float(middle - 0.25 * (left - right) * step)
    return (1000 * place / RATE if height >= LEAST_RELATION else None), min(height, 1.0)


def range_ratio(dub: Curves, truth: Curves) -> float | None:
    """Range of the dub's opening (5 % to 95 %) over the truth's: 1 is as lively as the person is, 0 a frozen mouth.

    0.7 to 1.4 looks natural. Fooled by a single wide yawn less than by landmark jitter, which has a range too.
    """
    times = grid_of(dub, truth)
    ranges = []
    for curve in (dub, truth):
        values = resample(curve.times, curve.opening, times)
        if not np.isfinite(values).any():
            return None
        ranges.append(float(np.diff(np.nanquantile(values, [0.05, 0.95]))[0]))
    return ranges[0] / ranges[1] if ranges[1] > 1e-6 else None


def lip_distance(dub: Curves, truth: Curves) -> tuple[float | None, np.ndarray]:
    """Mean distance of the 20 lip landmarks from the truth's at the same time, % of the outer-eye distance, after both faces are
    laid on each other by nose and eyes; and the same for every frame of the dub (n,), NaN where unknown.

    0 for the true clip; landmark noise alone is 1 to 2; 3 to 5 is good, 8 is another mouth shape altogether. Fooled by a head that
    is turned otherwise than the truth's, and by a constant difference such as a smile.
    """
    other = resample(truth.times, truth.lips, dub.times)
    frames = 100 * np.linalg.norm(dub.lips - other, axis=-1).mean(-1)
    seen = np.isfinite(frames)
    return (float(frames[seen].mean()) if seen.any() else None), frames


def closures(times: np.ndarray, values: np.ndarray, threshold: float) -> list[tuple[float, float]]:
    """Begin and end, seconds, of the stretches in which an open mouth shut and opened again within `LONGEST_CLOSURE`."""
    shut = np.isfinite(values) & (values <= threshold)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(int)))
    result = []
    for begin, end in zip(edges[::2], edges[1::2]):
        between = begin > 0 and end < len(values) and np.isfinite(values[begin - 1]) and np.isfinite(values[end])
        if between and times[end - 1] - times[begin] <= LONGEST_CLOSURE:
            result.append((float(times[begin]), float(times[end - 1])))
    return result


def closure_recall(dub: Curves, truth: Curves, threshold: float) -> tuple[float | None, int]:
    """Share of the truth's closures, in %, near which (within 60 ms, `CLOSURE_REACH`) the dub's lips are shut, and how many there
    are. A closure is a stretch of up to 0.5 s between two openings.

    70 and more is the aim; 100 for the true clip. Fooled by a mouth that is always shut: read with `closure_precision`.
    """
    grid = grid_of(dub, truth)
    events = closures(grid, resample(truth.times, truth.opening, grid), threshold)
    values = resample(dub.times, dub.opening, grid)
    hits, known = 0, 0
    for begin, end in events:
        near = values[(grid >= begin - CLOSURE_REACH - 1e-9) & (grid <= end + CLOSURE_REACH + 1e-9)]
        if np.isfinite(near).any():
            known += 1
            hits += bool((near[np.isfinite(near)] <= threshold).any())
    return (100 * hits / known if known else None), known


def closure_precision(dub: Curves, truth: Curves, threshold: float) -> tuple[float | None, int]:
    """Share of the dub's closures, in %, near which the truth's lips are shut, and how many there are.

    100 for the true clip. Fooled by a mouth that hardly ever shuts: read with `closure_recall`.
    """
    return closure_recall(truth, dub, threshold)
