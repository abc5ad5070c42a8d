"""The first articulation model: opens on vowels, shuts in silence, whatever the level and the frame rate."""

from __future__ import annotations

import numpy as np

from lipsync_core.dsp import band_levels, speech_activity
from lipsync_core.generators.morph.articulation_bands import BandArticulation

TIMES = np.arange(0, 3, 0.01)


def test_silence_is_a_shut_mouth() -> None:
    for samples in (np.zeros(48_000, np.float32), (1e-4 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)):
        shape = BandArticulation()(samples, TIMES)
        assert not shape.opening.any() and not shape.activity.any()


def test_the_mouth_moves_with_the_syllables(babble: np.ndarray) -> None:
    shape = BandArticulation()(babble, TIMES)
    loud = np.sqrt(np.convolve(babble.astype(np.float64) ** 2, np.ones(640) / 640, mode="same"))[(TIMES * 16_000).astype(int)]
    lags = range(-15, 16)
    r = [np.corrcoef(shape.opening[20:-20], np.roll(loud, lag)[20:-20])[0, 1] for lag in lags]
    assert max(r) > 0.8 and abs(lags[int(np.argmax(r))]) <= 4         # hundredths of a second
    assert shape.opening[TIMES < 0.4].max() < 0.05 and shape.opening[(TIMES > 1.75) & (TIMES < 1.95)].max() < 0.05
    assert shape.opening.max() > 0.5


def test_loudness_does_not_matter(babble: np.ndarray) -> None:
    loud, soft = BandArticulation()(babble, TIMES), BandArticulation()(babble * 0.2, TIMES)
    assert np.abs(loud.opening - soft.opening).mean() < 0.05


def test_values_stay_in_range_and_do_not_depend_on_the_rate(babble: np.ndarray) -> None:
    fine, coarse = BandArticulation()(babble, TIMES), BandArticulation()(babble, TIMES[::4])
    for name, low in (("opening", 0), ("width", -1), ("closure", 0), ("activity", 0)):
        values = getattr(fine, name)
        assert values.dtype == np.float32 and values.min() >= low and values.max() <= 1
        assert np.allclose(values[::4], getattr(coarse, name), atol=1e-6)


def test_activity_under_noise(babble: np.ndarray) -> None:
    clean = speech_activity(band_levels(babble)) > 0.5
    noise = np.random.default_rng(1).standard_normal(len(babble)).astype(np.float32)
    level = np.sqrt((babble**2).mean()) * 10 ** (-15 / 20)
    noisy = speech_activity(band_levels(babble + level * noise)) > 0.5
    assert (clean == noisy).mean() > 0.9
    assert not clean[:45].any() and clean[60:150].mean() > 0.6


def test_long_speech_is_worked_through_in_blocks(babble: np.ndarray) -> None:
    long = np.tile(babble, 12)
    assert np.allclose(band_levels(long, block=30.0), band_levels(long, block=1000.0), atol=1e-3)
