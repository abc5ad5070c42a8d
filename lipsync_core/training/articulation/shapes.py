"""Phones with times -> curves of the mouth's channels, by dominance functions."""

from __future__ import annotations

import numpy as np

from ...generators.morph.articulation_net import CHANNELS
from .phones import CLOSURE, OPENING, SILENCE, TUCK, Phone, segments

RATE = 100
LEAD, LAG = 0.075, 0.055
"""Seconds over which a phone's hold on the lips falls to 1/e before it begins (lips move ahead) and after it ends."""
SHARP = 0.028
"""The same for lips that must meet: closures come and go fast."""


def parts_of(phones: list[tuple[float, float, str]]) -> list[tuple[float, float, Phone]]:
    """(start, end, symbol) -> (start, end, Phone), diphthongs and affricates split, unknown marks left to what precedes them."""
    result: list[tuple[float, float, Phone]] = []
    for start, end, symbol in phones:
        found = segments(symbol)
        if not found:
            if result:
                result[-1] = (result[-1][0], end, result[-1][2])
            continue
        step = (end - start) / len(found)
        result += [(start + i * step, start + (i + 1) * step, phone) for i, phone in enumerate(found)]
    return result


def curves(phones: list[tuple[float, float, str]], duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Channels (n, 6) float32 and class numbers (n,) int64 at `RATE` Hz."""
    n = max(1, int(duration * RATE))
    t = np.arange(n) / RATE
    total = np.full((n, len(CHANNELS)), 1e-4, np.float32)
    summed = np.zeros_like(total)
    kind = np.full(n, SILENCE.kind, np.int64)
    for start, end, phone in parts_of(phones):
        kind[(t >= start) & (t < end)] = phone.kind
        # A short vowel doesn't get as far: its hold shrinks with its length.
        full, least, most = (0.15, 0.1, 1.5) if phone is SILENCE else (0.09, 0.35, 1.0)
        reach = float(np.clip((end - start) / full, least, most))
        strong = phone.target[CLOSURE] > 0 or phone.target[TUCK] > 0
        before, after = np.clip(start - t, 0, None), np.clip(t - end, 0, None)
        wide = np.exp(-before / LEAD - after / LAG)
        sharp = np.exp(-((before + after) / SHARP) ** 1.5)
        for c in range(len(CHANNELS)):
            hold = sharp if (strong and c in (OPENING, CLOSURE, TUCK)) else wide
            hold = hold * phone.weight[c] * (1.0 if strong else reach)
            total[:, c] += hold
            summed[:, c] += hold * phone.target[c]
    result = summed / total
    # What is shut is shut, whatever the neighbours want.
    result[:, OPENING] *= 1 - np.clip(result[:, CLOSURE] * 1.15, 0, 1)
    return result, kind
