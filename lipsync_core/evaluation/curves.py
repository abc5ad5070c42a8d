"""A mouth over time, as a few numbers a frame; all of them in outer-eye distances, after the head's own motion is taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..faces.align import similarity, transform
from ..faces.geometry import eye_distance, mouth_opening
from ..faces.pose import _TEMPLATE
from .landmarks import Mouths

STEADY = np.r_[27:48]
"""Nose and eyes: what speech does not move, so what a head is aligned by."""
LIPS = np.r_[48:68]
LONGEST_GAP = 0.15
"""Seconds without a face across which a curve is drawn on: about the shortest syllable."""
CANONICAL = _TEMPLATE[:, :2] / np.linalg.norm(_TEMPLATE[45, :2] - _TEMPLATE[36, :2])
"""A mean face from the front, outer-eye distance 1 (68, 2)."""
CLOSURE_SHARE = 0.12
"""Lips count as shut within this share of the person's own range of opening above their lowest."""
CLOSURE_NOISE = 0.012
"""... and at least within this of it: what MediaPipe and the built-in model say of a shut mouth stays under 0.003."""
CLOSURE_LOWEST = 0.045
"""A lowest opening above this is not of shut lips, but of a person who never shut them in the clip (models that see the
inner lips apart on shut mouths say up to 0.03)."""


@dataclass(frozen=True)
class Curves:
    """Rows are frames; NaN where there is no face."""

    times: np.ndarray
    """float64 (n,), seconds."""
    opening: np.ndarray
    """float64 (n,), see `opening`."""
    width: np.ndarray
    """float64 (n,), see `width`."""
    lips: np.ndarray
    """float64 (n, 20, 2), lip landmarks in a frame of nose and eyes, outer-eye distance of a mean face 1."""

    def shifted(self, seconds: float) -> Curves:
        """The same, later by `seconds`."""
        return Curves(self.times + seconds, self.opening, self.width, self.lips)


def curves_of(mouths: Mouths) -> Curves:
    """All curves of a clip's landmarks."""
    points = mouths.points.astype(np.float64)
    lips = np.full((len(points), len(LIPS), 2), np.nan)
    for i in np.flatnonzero(np.isfinite(points[:, 0, 0])):
        lips[i] = transform(similarity(points[i, STEADY], CANONICAL[STEADY]), points[i, LIPS])
    return Curves(mouths.times, opening(points), width(points), lips)


def opening(points: np.ndarray) -> np.ndarray:
    """Gap of the inner lips at their middle (points 62 and 66), in outer-eye distances (36 to 45), (n,) for (n, 68, 2).

    0 to 0.02 is shut, 0.1 to 0.2 a spoken vowel, 0.4 a yawn. Fooled by a turned head (the eyes come nearer), by teeth shown with
    shut jaws, and by landmark models that are never quite shut.
    """
    return mouth_opening(points)


def width(points: np.ndarray) -> np.ndarray:
    """Distance of the mouth's corners (48 and 54), in outer-eye distances, (n,) for (n, 68, 2).

    About 0.5 at rest, less for o and u, more for e, i and a smile. Fooled by a turned head.
    """
    return np.linalg.norm(points[..., 54, :] - points[..., 48, :], axis=-1) / np.maximum(eye_distance(points), 1e-6)


def corner_distance(lips: np.ndarray) -> np.ndarray:
    """Distance of the mouth's corners in the frame of nose and eyes, outer-eye distance of a mean face 1: (n,) for `Curves.lips`.

    As `width`, but by the whole upper face, whose nose a turn leaves as long as it is, so a turning head matters less. Fooled by a
    head that turns far, all the same.
    """
    return np.linalg.norm(lips[..., 6, :] - lips[..., 0, :], axis=-1)


def closure_threshold(values: np.ndarray) -> float:
    """The opening (outer-eye distances) at or below which this person's lips are shut, from the person's own curve (n,).

    A share of the person's range above their lowest opening, because models differ by person in what they say of shut lips. Give
    it the curve of the true or the source clip, never of a dub: a mouth that is frozen open would be 'shut' by its own measure.
    Fooled by a person who never shuts the lips within the clip; then the threshold is that of an average person.
    """
    seen = values[np.isfinite(values)]
    if not len(seen):
        return CLOSURE_NOISE
    low, high = np.quantile(seen, [0.03, 0.95])
    low = min(float(low), CLOSURE_LOWEST)
    return low + max(CLOSURE_NOISE, CLOSURE_SHARE * (float(high) - low))


def closure(values: np.ndarray, threshold: float) -> float | None:
    """Share of the frames with a face in which the lips are shut, in %.

    Speech has about 15 to 35 %; compare with the truth or the source. Fooled by long pauses, which are shut anyway.
    """
    seen = values[np.isfinite(values)]
    return 100 * float((seen <= threshold).mean()) if len(seen) else None


def resample(times: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A curve `values` (n, ...) at `times`, read at `grid` (m,): linear, NaN outside it and in gaps over `LONGEST_GAP`."""
    flat = values.reshape(len(values), -1)
    seen = np.isfinite(flat).all(1)
    result = np.full((len(grid), flat.shape[1]), np.nan)
    known = times[seen]
    if len(known) >= 2:
        after = np.clip(np.searchsorted(known, grid), 1, len(known) - 1)
        near = (grid >= known[0] - 1e-9) & (grid <= known[-1] + 1e-9)
        usual = float(np.median(np.diff(known)))
        near &= known[after] - known[after - 1] <= max(LONGEST_GAP, 1.5 * usual)
        for k in range(flat.shape[1]):
            result[near, k] = np.interp(grid[near], known, flat[seen, k])
    return result.reshape(len(grid), *values.shape[1:])
