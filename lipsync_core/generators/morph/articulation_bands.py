"""Mouth shapes without a trained model: the first version, kept as the baseline of every comparison (`--generator morph-bands`).

How much energy there is where open vowels have their first formant says how far the mouth is open, the balance between high and
low formants whether it is spread or rounded, dips between syllables that it shuts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...dsp import band_levels, hz_to_mel, mel_to_hz, speech_activity
from .articulation import MouthShape, largest_nearby

BANDS = 40
RATE = 100.0
DEPTH, CURVE = 33.0, 1.5
"""How many dB under the loudest vowels the mouth is shut, and the power of the way there."""
MURMUR = 18.0
"""dB by which the voice bar of a shut mouth outweighs everything above 500 Hz."""
LEAD = 0.03
"""Seconds that mouths move ahead of the sound they make (median over the clips with sound of their own)."""


class BandArticulation:
    """Mouth shapes from mel bands. Independent of level; no weights."""

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: Callable[[], None] = lambda: None) -> MouthShape:
        levels = band_levels(samples, BANDS, RATE)
        active = speech_activity(levels, RATE)
        centres = mel_to_hz(np.linspace(hz_to_mel(60), hz_to_mel(7600), BANDS + 2))[1:-1]

        def band(low: float, high: float) -> np.ndarray:
            chosen = (centres >= low) & (centres < high)
            return 10 * np.log10((10 ** (levels[:, chosen] / 10)).mean(1))

        # Vowels are loud from 350 to 1300 Hz in the measure in which the mouth is open; murmur of m and n stays below.
        vowel = _smooth(band(350, 1300), 0.018)
        speaking = active > 0.5
        if not speaking.any():
            zero = np.zeros(len(times), np.float32)
            return MouthShape(zero, zero, zero, zero, zero, zero, zero)
        top = float(np.quantile(vowel[speaking], 0.92))
        # Loudness drifts: the scale follows the neighbourhood of two seconds, but never far from the recording's own.
        near = np.clip(_smooth(largest_nearby(np.where(speaking, vowel, top - 30), round(0.8 * RATE)), 0.5), top - 8, top + 4)
        opening = np.clip((vowel - near + DEPTH) / DEPTH, 0, 1.15) ** CURVE
        fricative = np.clip((band(3500, 7600) - vowel - 0) / 12, 0, 1)
        opening = _smooth(opening * (1 - 0.6 * fricative) * active, 0.022)
        spread = _smooth(band(1700, 3200) - band(400, 1000), 0.03)
        voiced = speaking & (vowel > near - 16)
        middle = float(np.median(spread[voiced])) if voiced.any() else 0.0
        scale = float(np.std(spread[voiced])) + 3.0 if voiced.any() else 6.0
        width = _smooth(np.tanh((spread - middle) / scale) * active * np.clip((vowel - near + 22) / 14, 0, 1), 0.035)
        # A shut mouth lets low murmur through but hardly anything above.
        murmur = band(120, 350) - _smooth(band(500, 7600), 0.012)
        shut = np.clip((murmur - MURMUR) / 10, 0, 1) * np.clip((near - vowel - 10) / 10, 0, 1)
        closure = _smooth(np.clip(shut, 0, 1) * active, 0.02)
        opening = np.clip(opening * (1 - 0.9 * closure), 0, 1)
        grid = np.arange(len(levels)) / RATE
        times = np.asarray(times, np.float64) + LEAD
        none = np.zeros_like(opening)
        return MouthShape(*(np.interp(times, grid, curve, left=0.0, right=0.0).astype(np.float32)
                            for curve in (opening, width, opening, closure, none, np.maximum(-width, 0), active)))


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of `sigma` seconds along time."""
    s = sigma * RATE
    reach = max(1, round(3 * s))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / s) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")
