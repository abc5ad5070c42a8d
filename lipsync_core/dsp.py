"""Spectra of speech: the mel filters and frames that audio features and the built-in generator share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .types import SPEECH_RATE


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 steps to 6.4 kHz)."""
    hz = np.asarray(hz, np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


@lru_cache(maxsize=8)
def mel_filters(bands: int, n_fft: int, low: float, high: float, rate: int = SPEECH_RATE) -> Tensor:
    """Triangular filters of equal area (Slaney norm): float32 (bands, n_fft // 2 + 1)."""
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    edges = mel_to_hz(np.linspace(hz_to_mel(low), hz_to_mel(high), bands + 2))
    rising = (bins[None] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


def magnitudes(samples: np.ndarray, n_fft: int, hop: int, window: int | None = None) -> Tensor:
    """|STFT|, periodic Hann window, frame i centred on sample i * hop, zeros beyond the ends: float32 (n_fft // 2 + 1, frames)."""
    window = window or n_fft
    signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    signal = torch.nn.functional.pad(signal, (n_fft // 2, n_fft // 2))
    if len(signal) < n_fft:
        signal = torch.nn.functional.pad(signal, (0, n_fft - len(signal)))
    return torch.stft(signal, n_fft, hop, window, torch.hann_window(window), center=False, return_complex=True).abs()


LEVEL_WINDOW = 512
"""Samples that a row of `band_levels` looks at (25 ms of them weighted)."""


def frame_levels(samples: np.ndarray, bands: int, hop: int) -> np.ndarray:
    """Mel levels in dB of the windows of 512 samples that begin at 0, hop, 2 hop, … : float32 (frames, bands)."""
    signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    spectrum = torch.stft(signal, LEVEL_WINDOW, hop, 400, torch.hann_window(400), center=False, return_complex=True).abs()
    power = (mel_filters(bands, LEVEL_WINDOW, 60.0, 7600.0) @ spectrum**2).clamp_min(1e-10)
    return (10 * torch.log10(power)).T.numpy()


def band_levels(samples: np.ndarray, bands: int = 40, rate: float = 100.0, block: float = 6.0) -> np.ndarray:
    """Mel levels in dB, 60 to 7600 Hz, 25 ms windows: float32 (frames, bands), frame i at i / rate seconds."""
    return np.concatenate(list(level_blocks(samples, bands, rate, block)))


def level_blocks(samples: np.ndarray, bands: int = 40, rate: float = 100.0, block: float = 6.0) -> Iterator[np.ndarray]:
    """`band_levels` in blocks of `block` seconds: those of an hour are 58 MB."""
    hop, half = round(SPEECH_RATE / rate), LEVEL_WINDOW // 2
    total = len(samples) // hop + 1
    step = int(block * rate)
    for first in range(0, total, step):
        last = min(first + step, total)
        begin, end = first * hop - half, (last - 1) * hop + half
        part = np.asarray(samples[max(0, begin):max(0, end)], np.float32)
        part = np.pad(part, (max(0, -begin), max(0, end - begin - len(part) - max(0, -begin))))
        yield frame_levels(part, bands, hop)[:last - first]


STEADY = 5.0
"""dB: a whole recording that is steadier than this is a fan or a hum; speech rises and falls by 15 and more, over loud music by 6."""


def speech_activity(levels: np.ndarray, rate: float = 100.0) -> np.ndarray:
    """Who speaks when, from `band_levels` (frames, bands): float32 (frames,), 0..1, with soft flanks of about 60 ms.

    Energy between 150 Hz and 4 kHz against the recording's own noise floor, with hysteresis: speech begins `RISE` dB above
    the floor and ends below half of that; gaps under 120 ms are bridged, bursts under 40 ms dropped.
    """
    return active(voice_energy(levels), rate)


def voice_energy(levels: np.ndarray) -> np.ndarray:
    """dB (frames,) between 150 Hz and 4 kHz, of `band_levels` (frames, bands)."""
    centres = mel_to_hz(np.linspace(hz_to_mel(60), hz_to_mel(7600), levels.shape[1] + 2))[1:-1]
    band = (centres > 150) & (centres < 4000)
    return 10 * np.log10((10 ** (levels[:, band] / 10)).mean(1))


def active(energy: np.ndarray, rate: float) -> np.ndarray:
    """`speech_activity` of the `voice_energy` of all its levels."""
    energy = np.convolve(np.pad(energy, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    # Silence in files is often digital: a floor below -75 dB of full scale says nothing about the room.
    loud = float(np.quantile(energy, 0.95))
    floor = float(np.clip(np.quantile(energy, 0.1), -62, loud - 12))
    if loud < -55 or loud - float(np.quantile(energy, 0.05)) < STEADY:
        return np.zeros(len(energy), np.float32)
    rise = float(np.clip(0.35 * (loud - floor), 7, 18))
    on = _hysteresis(energy, floor + rise, floor + 0.5 * rise)
    on = _fill(on, True, round(0.12 * rate))
    on = _fill(~on, True, round(0.04 * rate))
    on = ~on
    sigma = 0.025 * rate
    kernel = np.exp(-0.5 * (np.arange(-round(3 * sigma), round(3 * sigma) + 1) / sigma) ** 2)
    padded = np.pad(on.astype(np.float64), len(kernel) // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)


def _hysteresis(values: np.ndarray, high: float, low: float) -> np.ndarray:
    """True from where `values` passes `high`, both ways out to where it falls under `low`."""
    above = values > low
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(int)))
    on = np.zeros(len(values), bool)
    for begin, end in zip(edges[::2], edges[1::2]):
        if values[begin:end].max() > high:
            on[begin:end] = True
    return on


def _fill(on: np.ndarray, value: bool, shortest: int) -> np.ndarray:
    """Runs of not-`value` shorter than `shortest`, between runs of it, become `value`."""
    result = on.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[value], on, [value]]).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2]):
        if end - begin < shortest and begin > 0 and end < len(on):
            result[begin:end] = value
    return result
