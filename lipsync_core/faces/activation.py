"""How much of the effect a frame gets: 1 for a face that can be dubbed well, falling smoothly to 0 where it can't."""

from __future__ import annotations

import numpy as np

CONFIDENCE = (0.35, 0.65)
"""No effect below, full effect above."""
YAW = (32.0, 48.0)
PITCH = (25.0, 38.0)
"""Degrees: full effect up to the first, none from the second (the reference system is rated to 30 and 15)."""
HEIGHT = (20.0, 32.0)
"""Pixels from brows to chin: a smaller face has no mouth to speak of."""
COVERED = (0.36, 0.46)
"""Full effect up to the first, none from the second, of what `occlusion.covered` says. Between what uncovered and covered frames
measure, see there."""
ARRIVAL = 0.08
"""Seconds by which the effect is gone before the mouth is covered, and still gone after: a hand is at the chin before it is there."""
RAMP = 0.2
"""Seconds over which the effect goes out before a face is lost and comes in after it is found."""


def _ramp(values: np.ndarray, none: float, full: float) -> np.ndarray:
    t = np.clip((values - none) / (full - none), 0, 1)
    return t * t * (3 - 2 * t)


def _windows(values: np.ndarray, reach: int) -> np.ndarray:
    """(n, 2 reach + 1): every value (n,) with its neighbours; beyond the ends the last one repeats."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)


def activation(frames: np.ndarray, times: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray, scores: np.ndarray,
               pose: np.ndarray, picture: tuple[int, int], shots: np.ndarray, last_frame: int,
               covered: np.ndarray | None = None) -> np.ndarray:
    """float32 (n,) 0..1 for a track's rows.

    `picture` (w, h); `shots` (n,) the number of the shot each row lies in; `last_frame` the last frame in which the
    face could have been seen (of the clip, or of its shot); `covered` (n,) what `occlusion.covered` says. Ramps run before
    and after every gap inside a shot; where a shot or the clip begins or ends there is nothing to ramp from.
    """
    raw = _ramp(scores, *CONFIDENCE)
    raw = raw * _ramp(-np.abs(pose[:, 0]), -YAW[1], -YAW[0]) * _ramp(-np.abs(pose[:, 1]), -PITCH[1], -PITCH[0])
    raw = raw * _ramp(boxes[:, 3] - boxes[:, 1], *HEIGHT)
    mouth = landmarks[:, 48:60]
    limit = np.array(picture, np.float32) - 1
    inside = ((mouth >= 0) & (mouth <= limit)).all(-1).mean(1)
    raw = raw * _ramp(inside, 0.7, 1.0)
    step = max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 1.0
    parts = np.split(np.arange(len(times)), np.flatnonzero(np.diff(shots)) + 1)
    if covered is not None and len(times):
        free = _ramp(-covered, -COVERED[1], -COVERED[0])
        for part in parts:
            raw[part] *= _windows(free[part], round(ARRIVAL / step)).min(-1)
    # Distance in time to the nearest moment without the face, within the shot.
    result = raw.copy()
    gap_after = np.flatnonzero(np.diff(frames) > 1)
    edges = [times[i + 1] for i in gap_after if shots[i] == shots[i + 1]]
    ends = [times[i] for i in gap_after if shots[i] == shots[i + 1]]
    quiet = [*edges, *ends]
    if len(frames) and frames[-1] < last_frame:
        quiet.append(times[-1])
    for moment in quiet:
        result = np.minimum(result, _ramp(np.abs(times - moment), 0.0, RAMP))
    # A dip is taken down slowly and up slowly: the lowest value nearby, then a soft edge.
    if len(times) > 2:
        reach = max(1, round(0.5 * RAMP / step))
        for part in parts:
            low = _windows(result[part], reach).min(-1)
            result[part] = np.minimum(result[part], _windows(low, reach).mean(-1))
    return np.clip(result, 0, 1).astype(np.float32)

