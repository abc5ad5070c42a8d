"""Other voices, rooms, microphones and noises, made on mel levels: hundreds of times cheaper than on samples.

Everything takes and gives levels (B, T, BANDS) in dB, float32, RATE a second.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...dsp import hz_to_mel, mel_to_hz

LOW, HIGH = 60.0, 7600.0
"""Range of `dsp.band_levels`, Hz."""


def _centres(bands: int) -> np.ndarray:
    return mel_to_hz(np.linspace(hz_to_mel(LOW), hz_to_mel(HIGH), bands + 2))[1:-1]


def other_throats(levels: Tensor, rng: np.random.Generator, reach: float = 0.22) -> Tensor:
    """Vocal tract length perturbation: each row's frequencies times a factor around 1, as a longer or shorter throat does."""
    batch, _, bands = levels.shape
    factors = np.exp(rng.uniform(-reach, reach, batch))
    mel = hz_to_mel(_centres(bands)[None, :] / factors[:, None])
    position = (mel - hz_to_mel(LOW)) / (hz_to_mel(HIGH) - hz_to_mel(LOW)) * (bands + 1) - 1
    position = torch.from_numpy(np.clip(position, 0, bands - 1.001).astype(np.float32))
    below = position.floor().long()
    share = (position - below)[:, None, :]
    index = below[:, None, :].expand_as(levels)
    return levels.gather(2, index) * (1 - share) + levels.gather(2, index + 1) * share


def microphones(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """A random smooth frequency response of some dB, and now and then a telephone or a dull recording."""
    batch, _, bands = levels.shape
    x = np.linspace(-1, 1, bands)
    response = rng.normal(0, 4, (batch, 1)) * x + rng.normal(0, 3, (batch, 1)) * (x**2 - 0.33)
    for _ in range(3):
        centre, width = rng.uniform(-1, 1, (batch, 1)), rng.uniform(0.1, 0.4, (batch, 1))
        response += rng.normal(0, 3, (batch, 1)) * np.exp(-(((x - centre) / width) ** 2))
    hz = _centres(bands)
    for row in range(batch):
        kind = rng.random()
        if kind < 0.12:
            response[row] -= 25 * ((hz < rng.uniform(200, 350)) | (hz > rng.uniform(3000, 4000)))
        elif kind < 0.3:
            response[row] -= 30 * np.clip((hz - rng.uniform(3500, 6500)) / 600, 0, 1)
    return levels + torch.from_numpy(response.astype(np.float32))[:, None, :]


def rooms(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """An exponential tail of 0.15 to 0.7 s under half of the rows."""
    batch, frames, _ = levels.shape
    power = 10 ** (levels / 10)
    decay = torch.from_numpy(10 ** (-6 / (100 * rng.uniform(0.15, 0.7, (batch, 1)))).astype(np.float32))
    gain = 10 ** (rng.uniform(-22, -7, (batch, 1)) / 10) * (rng.random((batch, 1)) < 0.5)
    gain = torch.from_numpy(gain.astype(np.float32)) * (1 - decay) * 6
    tail = torch.zeros_like(power[:, 0])
    tails = []
    for t in range(frames):
        tails.append(tail)
        tail = tail * decay + power[:, t]
    return 10 * torch.log10(power + gain[:, :, None] * torch.stack(tails, 1) + 1e-10)


def noises(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """Steady coloured noise, and other rows' speech as babble, 0 to 45 dB under the speech."""
    batch, frames, bands = levels.shape
    power = 10 ** (levels / 10)
    loud = power.mean(2).quantile(0.9, dim=1)[:, None, None]
    x = np.linspace(-1, 1, bands)
    colour = rng.normal(0, 5, (batch, 1)) * x + rng.normal(0, 3, (batch, 1)) * x**2
    ratio = np.where(rng.random((batch, 1)) < 0.6, rng.uniform(8, 45, (batch, 1)), 60)
    steady = torch.from_numpy((10 ** ((colour - ratio) / 10)).astype(np.float32))[:, None, :]
    # A band's power in 25 ms of noise is gamma distributed.
    ripple = torch.from_numpy(rng.gamma(4.0, 0.25, (batch, frames, bands)).astype(np.float32))
    power = power + loud * steady * ripple
    other = torch.roll(power, int(rng.integers(1, batch)), 0).roll(int(rng.integers(frames)), 1)
    other_loud = other.mean(2).quantile(0.9, dim=1)[:, None, None]
    babble = np.where(rng.random((batch, 1, 1)) < 0.25, rng.uniform(8, 25, (batch, 1, 1)), 80)
    power = power + other * (loud / other_loud.clamp_min(1e-9)) * torch.from_numpy((10 ** (-babble / 10)).astype(np.float32))
    return 10 * torch.log10(power + 1e-10)


def no_speech(frames: int, bands: int, rng: np.random.Generator) -> np.ndarray:
    """(frames, bands) dB in which nobody speaks: room tone and fans, or something like music (chords and beats)."""
    x = np.linspace(-1, 1, bands)
    power = 10 ** ((rng.uniform(-80, -30) + rng.normal(0, 6) * x) / 10) * rng.gamma(4.0, 0.25, (frames, bands))
    if rng.random() < 0.4:
        loud, first = 10 ** (rng.uniform(-45, -15) / 10), 0
        while first < frames:
            length = int(rng.integers(12, 70))
            notes = rng.integers(2, bands - 4, int(rng.integers(2, 7)))
            chord = sum(np.exp(-((np.arange(bands) - note) / 0.8) ** 2) * rng.uniform(0.2, 1) for note in notes)
            fading = np.exp(-np.arange(min(length, frames - first)) / rng.uniform(15, 80))
            power[first:first + length] += loud * fading[:, None] * chord
            if rng.random() < 0.5:
                power[first:first + 8] += loud * np.exp(-np.arange(min(8, frames - first)) / 2)[:, None] * rng.uniform(0.1, 1, bands)
            first += length
    return 10 * np.log10(power + 1e-10)


def gaps(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """A short hole in time or in frequency, at the row's own low level (SpecAugment)."""
    result = levels.clone()
    for row in range(len(levels)):
        if rng.random() < 0.3:
            first, size = int(rng.integers(levels.shape[2] - 6)), int(rng.integers(1, 6))
            result[row, :, first:first + size] = levels[row].mean()
    return result


def augment(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """All of the above, and a random gain."""
    for step in (other_throats, rooms, microphones, noises, gaps):
        levels = step(levels, rng)
    return (levels + torch.from_numpy(rng.uniform(-18, 12, (len(levels), 1, 1)).astype(np.float32))).clamp(-100, 30)
