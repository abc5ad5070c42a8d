"""The sound as SyncNet hears it: mel-frequency cepstral coefficients."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..types import SPEECH_RATE

COEFFICIENTS = 13
WINDOW, HOP = 400, 160
"""Samples: 25 ms every 10 ms."""
N_FFT, FILTERS, PRE_EMPHASIS, LIFTER = 512, 26, 0.97, 22
"""Defaults of the package python_speech_features 0.6, which SyncNet was taught with (architectures, section 4)."""
BLOCK = 3000
"""Windows that are worked on at a time (30 s): an hour of sound needs no more memory than a minute."""


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Sound (n,), float -1..1 at 16 kHz -> float64 (windows, 13); window i begins at 10 i ms and lasts 25 ms, the last ones run into zeros.

    The samples are rounded to 16 bits first, as in the files that SyncNet was taught on. Windows are rectangular, filters are triangles
    on O'Shaughnessy's mel scale (2595 log10(1 + Hz / 700)) from 0 to 8000 Hz, coefficients are those of an orthonormal cosine transform
    of the log energies, lifted; the first one is replaced by the log of the window's energy.
    """
    total = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    result = np.empty((total, COEFFICIENTS))
    filters, transform = _filters().T, _cosines().T * _lifter()
    for first in range(0, total, BLOCK):
        last = min(total, first + BLOCK)
        power = np.abs(np.fft.rfft(_windows(samples, first, last), N_FFT)) ** 2 / N_FFT
        result[first:last] = np.log(_never_zero(power @ filters)) @ transform
        result[first:last, 0] = np.log(_never_zero(power.sum(1)))
    return result


def _windows(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    """Windows first .. last - 1 of the pre-emphasised signal on the scale of 16-bit numbers, (last - first, 400)."""
    begin, end = first * HOP, (last - 1) * HOP + WINDOW
    part = np.clip(np.rint(np.asarray(samples[max(0, begin - 1):end], np.float64) * 32768), -32768, 32767)
    before = np.zeros(1) if begin == 0 else part[:1]
    signal = part if begin == 0 else part[1:]
    emphasised = signal - PRE_EMPHASIS * np.concatenate([before, signal[:-1]])[:len(signal)]
    padded = np.concatenate([emphasised, np.zeros(end - begin - len(emphasised))])
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _never_zero(energy: np.ndarray) -> np.ndarray:
    return np.where(energy == 0, np.finfo(np.float64).eps, energy)


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    """(26, 257); corners lie on whole bins."""
    mels = np.linspace(0, 2595 * np.log10(1 + SPEECH_RATE / 2 / 700), FILTERS + 2)
    corners = np.floor((N_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SPEECH_RATE)
    bins = np.arange(N_FFT // 2 + 1)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """Orthonormal cosine transform of the second kind, its first 13 rows: (13, 26)."""
    rows = np.arange(COEFFICIENTS)[:, None]
    matrix = np.sqrt(2 / FILTERS) * np.cos(np.pi * rows * (2 * np.arange(FILTERS) + 1) / (2 * FILTERS))
    matrix[0] /= np.sqrt(2)
    return matrix


def _lifter() -> np.ndarray:
    return 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
