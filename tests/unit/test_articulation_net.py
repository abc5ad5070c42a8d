"""The trained articulation: one piece or many, any level, any language; lips that meet on m, b, p; rest in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_core.audio import load_speech
from lipsync_core.demo import SPEECH
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.generators.morph.articulation_net import BANDS, RATE, ArticulationNet, Loudness, normalise
from lipsync_core.generators.morph.ear import Ear
from lipsync_core.generators.morph.streaming import FILE, LOOK_AHEAD, Articulator, StreamState
from lipsync_core.hearing.listening import SHAPE_RATE

TIMES = np.arange(0, 3, 0.01)


@pytest.fixture(scope="module")
def articulator() -> Articulator:
    return Articulator()


@pytest.fixture(scope="module")
def articulation(articulator: Articulator) -> NetArticulation:
    return NetArticulation(Ear(articulator))


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    """flite's slt, which the networks know: a few seconds."""
    return load_speech(SPEECH).samples[:6 * 16_000]


def test_small_and_looking_ahead_less_than_200_ms() -> None:
    assert FILE.stat().st_size < 2_000_000
    assert LOOK_AHEAD < 0.2


@pytest.mark.parametrize("sizes", [(1600,), (7, 333, 16_001), (50_000, 160)])
def test_pieces_of_any_size_give_the_same_mouth(articulator: Articulator, sentence: np.ndarray, sizes: tuple[int, ...]) -> None:
    whole, _ = articulator.feed(sentence, StreamState(), last=True)
    parts, state, first, turn = [], StreamState(), 0, 0
    while first < len(sentence):
        size = sizes[turn % len(sizes)]
        found, state = articulator.feed(sentence[first:first + size], state, last=first + size >= len(sentence))
        parts.append(found)
        first, turn = first + size, turn + 1
    streamed = np.concatenate(parts)
    assert streamed.shape == whole.shape and np.abs(streamed - whole).max() < 1e-4


def test_a_stream_needs_only_its_look_ahead(articulator: Articulator, sentence: np.ndarray) -> None:
    for n in (8_000, 24_000, 40_123):
        shapes, state = articulator.feed(sentence[:n], StreamState())
        late = n / 16_000 - (len(shapes) - 1) / SHAPE_RATE
        assert late < LOOK_AHEAD + 1 / SHAPE_RATE + 1e-6
        assert len(state.levels) < 250                                  # what is kept does not grow


def test_nobody_speaks_and_the_mouth_rests(articulation: NetArticulation) -> None:
    rng = np.random.default_rng(0)
    for samples in (np.zeros(48_000, np.float32), (1e-3 * rng.standard_normal(48_000)).astype(np.float32), np.zeros(0, np.float32)):
        shape = articulation(samples, TIMES)
        assert (shape.opening * shape.activity).max() < 0.05


def test_pauses_in_speech_are_rests(articulation: NetArticulation, sentence: np.ndarray) -> None:
    quiet = np.concatenate([np.zeros(16_000, np.float32), sentence[:32_000], np.zeros(24_000, np.float32)])
    times = np.arange(0, 4.5, 0.01)
    shape = articulation(quiet, times)
    drawn = shape.opening * shape.activity
    assert drawn[(times < 0.6) | (times > 3.4)].max() < 0.05
    assert drawn[(times > 1.1) & (times < 2.9)].max() > 0.5 and shape.activity[(times > 1.2) & (times < 2.8)].mean() > 0.8


def test_loudness_does_not_matter(articulation: NetArticulation, sentence: np.ndarray) -> None:
    loud, soft = articulation(sentence, TIMES), articulation(sentence * 0.1, TIMES)
    assert np.abs(loud.opening - soft.opening).mean() < 0.02


def test_values_stay_in_range_and_do_not_depend_on_the_rate(articulation: NetArticulation, sentence: np.ndarray) -> None:
    fine, coarse = articulation(sentence, TIMES), articulation(sentence, TIMES[::4])
    for values, same, low, high in zip(fine.stack(), coarse.stack(), (0, -1, 0, 0, 0, 0, 0), (1.15, 1, 1.15, 1, 1, 1, 1)):
        assert values.dtype == np.float32 and values.min() >= low and values.max() <= high
        assert np.allclose(values[::4], same, atol=1e-6)


def test_remembered_loudness_rises_at_once_and_falls_slowly() -> None:
    levels = np.full((300, BANDS), -60.0)
    levels[100:120] = -20
    relative, state = normalise(levels, Loudness(-60))
    assert np.allclose(relative[100], 0, atol=1e-3) and relative[250].max() < -1
    assert -30 < state.peak < -20
    first, between = normalise(levels[:110], Loudness(-60))
    second, _ = normalise(levels[110:], between)
    assert np.allclose(np.concatenate([first, second]), relative)


def test_the_network_looks_no_further_than_it_says() -> None:
    torch.manual_seed(0)
    net = ArticulationNet(16).eval()
    x = torch.randn(1, BANDS, 400)
    changed = x.clone()
    changed[..., 300:] += 1
    with torch.inference_mode():
        same = (net(x)[0] - net(changed)[0]).abs().amax((0, 1)) < 1e-6
    first = int(torch.nonzero(~same)[0])
    assert 300 - 2 * first <= LOOK_AHEAD * RATE
