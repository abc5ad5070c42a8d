"""How honest a dub is: the second half of a clip, dubbed with the sound of its first half.

With a clip's own sound, whatever of the source's mouth stays in the picture counts as right: width and opening that were never
redrawn correlate with the truth, since they are the truth. Here the words are other ones, and still there is a clip of the same
person really saying them.
"""

from __future__ import annotations

import numpy as np

from .curves import Curves, corner_distance, resample
from .truth_measures import RATE, grid_of, moves, pearson

REACH = 0.12
"""Seconds by which the truth may be early or late: what clips are out of sync by themselves (README of the media: -20 to 110 ms)."""
KEYS = ("opening_truth", "width_truth", "lag_ms", "opening_left", "width_left", "width_range")


def shifted(dub: Curves, truth: Curves, source: Curves) -> dict[str, float | None]:
    """Pearson's r of the dubbed mouth with the one that really said the words (`truth`), and with the `source`'s own (left over).

    All three by times from their first frame. `opening_truth`, `width_truth`: -1..1, at the one lag within 0.12 s (`REACH`) at which
    the openings agree best, which is `lag_ms` (> 0: the dub comes late); `opening_left`, `width_left`: at no lag, 0 is wanted;
    `width_range`: range (5 % to 95 %) of the dub's width over the truth's. Widths are those of `corner_distance`. Frames without a
    face count nowhere; None where fewer than 20 samples of 10 ms are known. Over a few seconds chance alone reaches 0.3 either way:
    take medians of many clips, signs kept.
    """
    grid = grid_of(dub, truth, source)
    read = [(resample(c.times, c.opening, grid), resample(c.times, corner_distance(c.lips), grid)) for c in (dub, truth, source)]
    (opening, width), (true_opening, true_width), (old_opening, old_width) = read
    if not moves(opening):
        return dict.fromkeys(KEYS) | {"opening_truth": 0.0, "opening_left": 0.0}
    steps = round(REACH * RATE)
    scores = {lag: score for lag in range(-steps, steps + 1) if (score := pearson(*_late(opening, true_opening, lag))) is not None}
    best = max(scores, key=scores.__getitem__) if scores else None
    ranges = [float(np.diff(np.nanquantile(w, [0.05, 0.95]))[0]) if np.isfinite(w).any() else None for w in (width, true_width)]
    values = (None if best is None else scores[best], None if best is None else pearson(*_late(width, true_width, best)),
              None if best is None else 1000 * best / RATE, pearson(opening, old_opening), pearson(width, old_width),
              ranges[0] / ranges[1] if all(ranges) else None)
    return dict(zip(KEYS, values))


def _late(dub: np.ndarray, truth: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Both curves where they overlap when the dub comes `lag` samples late."""
    return (dub[lag:], truth[:len(truth) - lag]) if lag >= 0 else (dub[:lag], truth[-lag:])
