"""How much of the effect each row of a track gets, switched on and off without a visible jump."""

from __future__ import annotations

import numpy as np

RAMP = 0.2
"""Seconds over which the effect is gone before it is off and comes back after, as where a face is lost (`faces.activation`)."""


def softened(gate: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`gate` (n,), 0..1, at `times` (n,) in seconds, ascending: nowhere higher than it was, and within `RAMP` of a lower value smoothly
    down to it. float32 (n,)."""
    gate = np.asarray(gate, np.float32)
    result = gate.copy()
    for step in range(1, len(gate)):
        away = times[step:] - times[:-step]
        if away.min() >= RAMP:
            break
        t = np.clip(away / RAMP, 0, 1)
        rise = (t * t * (3 - 2 * t)).astype(np.float32)
        result[step:] = np.minimum(result[step:], gate[:-step] + (1 - gate[:-step]) * rise)
        result[:-step] = np.minimum(result[:-step], gate[step:] + (1 - gate[step:]) * rise)
    return result


def widened(gate: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`gate` (n,), each value the highest within `RAMP` seconds: what is softened afterwards is on in full wherever it was."""
    gate = np.asarray(gate, np.float32)
    result = gate.copy()
    for step in range(1, len(gate)):
        near = times[step:] - times[:-step] <= RAMP
        if not near.any():
            break
        result[step:][near] = np.maximum(result[step:][near], gate[:-step][near])
        result[:-step][near] = np.maximum(result[:-step][near], gate[step:][near])
    return result
