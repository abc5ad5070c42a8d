"""The speech encoder says what its original says; the reading of it gives one mouth for whole recordings, pieces and streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_core.audio import load_speech
from lipsync_core.demo import SPEECH
from lipsync_core.errors import LipSyncError
from lipsync_core.evaluation.curves import Curves
from lipsync_core.evaluation.witness import expected, heard_sync
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.generators.morph.ear import COLUMNS, Ear, EarState
from lipsync_core.generators.morph.generator import CURVE_RATE
from lipsync_core.generators.morph.live_ear import LiveEar
from lipsync_core.hearing.encoder import HOP, SpeechEncoder, rows_of, samples_for
from lipsync_core.hearing.listening import LIVE, WHOLE, heard, load_encoder, window_of

pytestmark = pytest.mark.usefixtures("one_thread")
ORIGINAL = Path(__file__).parent / "data" / "speech_encoder.npz"


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    return load_encoder()


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    return load_speech(SPEECH).samples[:6 * 16_000]


def test_features_are_those_of_the_original(encoder: SpeechEncoder) -> None:
    """What onnxruntime says of the same sound with the 8-bit original, kept by `training.articulation.moonshine compare -o`."""
    samples = np.round(np.clip(load_speech(SPEECH).samples[:3 * 16_000], -1, 1) * 32767) / 32768
    with np.load(ORIGINAL) as data:
        theirs = data["features"].astype(np.float32)
    with torch.inference_mode():
        ours = encoder(torch.from_numpy(samples.astype(np.float32))[None])[0].numpy()
    assert ours.shape == theirs.shape == (rows_of(len(samples)), 288)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: the speech encoder was NOT run on one; the CPU way is tested above")
def test_a_gpu_hears_the_same(sentence: np.ndarray) -> None:
    here, there = (Ear(device=device).feed(sentence, EarState(), last=True)[0] for device in ("cpu", "cuda"))
    assert np.abs(here - there).max() < 2e-2


def test_rows_and_samples_are_counted_alike() -> None:
    assert samples_for(1) == 895 and rows_of(894) == 0 and rows_of(895) == 1 and rows_of(895 + HOP) == 2
    assert all(rows_of(samples_for(k)) == k and rows_of(samples_for(k) - 1) == k - 1 for k in range(1, 50))


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3, 4.0, 4.02, 9.0])
def test_every_moment_is_heard_once_whatever_the_length(encoder: SpeechEncoder, seconds: float) -> None:
    samples = np.resize(load_speech(SPEECH).samples, int(16_000 * seconds))
    rows = int(50 * seconds)
    assert sum(len(part) for part in heard(encoder, samples, rows)) == rows


def test_windows_look_no_further_than_they_say() -> None:
    assert LIVE.look_ahead <= 0.3
    for windows in (LIVE, WHOLE):
        for step in (0, 1, 7):
            first, end = window_of(step, windows)
            assert first == max(0, round(16_000 * (windows.step * step - windows.past)))
            assert end == round(16_000 * (windows.step * step + windows.look_ahead))


def fed(ear: Ear, samples: np.ndarray, size: int) -> np.ndarray:
    parts, state = [], EarState()
    for first in range(0, len(samples), size):
        found, state = ear.feed(samples[first:first + size], state, last=first + size >= len(samples))
        parts.append(found)
    return np.concatenate(parts)


@pytest.mark.parametrize("windows", [WHOLE, LIVE])
def test_pieces_of_any_size_give_the_same_mouth(sentence: np.ndarray, windows) -> None:
    ear, samples = Ear(windows=windows), sentence[:3 * 16_000 + 77]
    whole = fed(ear, samples, len(samples))
    assert whole.shape == (150, len(COLUMNS))
    for size in (1_600, 23_457):
        streamed = fed(ear, samples, size)
        assert streamed.shape == whole.shape and np.abs(streamed - whole).max() < 1e-3


def test_a_stream_gives_nearly_the_mouth_of_the_recording(sentence: np.ndarray) -> None:
    """The stated tolerance: r above 0.95, a mean difference under 0.06 of the person's range."""
    live, whole = (fed(Ear(windows=windows), sentence, 16_000)[:, COLUMNS.index("read_opening")] for windows in (LIVE, WHOLE))
    assert np.corrcoef(live, whole)[0, 1] > 0.95 and np.abs(live - whole).mean() < 0.06


def test_a_stream_needs_only_its_look_ahead_and_keeps_little(sentence: np.ndarray) -> None:
    ear, state, count = Ear(windows=LIVE), EarState(), 0
    for first in range(0, 48_000, 1_600):
        found, state = ear.feed(sentence[first:first + 1_600], state)
        count += len(found)
        if first > 16_000:
            assert (first + 1_600) / 16_000 - (count - 1) / 50 < LIVE.look_ahead + LIVE.step + 1e-6
        assert len(state.samples) < 2.5 * 16_000 and len(state.rows) < 50


def test_the_listener_knows_a_mouth_that_follows_the_sound_from_one_that_does_not(sentence: np.ndarray) -> None:
    shape = NetArticulation()(sentence, np.arange(0, 6, 0.04))
    sound, times = expected(sentence), np.arange(0, 6, 0.04)

    def mouth(opening: np.ndarray, late: float = 0.0) -> Curves:
        return Curves(times + late, opening, np.zeros(len(times)), np.zeros((len(times), 20, 2)))

    follows, lag = heard_sync(mouth(0.2 * shape.opening), sound)
    assert follows > 0.6 and abs(lag) <= 30
    _, lag = heard_sync(mouth(0.2 * shape.opening, late=0.12), sound)
    assert 80 <= lag <= 160
    other, _ = heard_sync(mouth(0.2 * shape.opening[::-1]), sound)
    assert other < follows - 0.2
    assert heard_sync(mouth(np.zeros(len(times))), sound) == (0.0, None)


def lived(sentence: np.ndarray, size: int, look_ahead: float = 0.78) -> np.ndarray:
    """Mouth shapes of a stream in pieces of `size`, as they were when they were first complete: (n, 7), `CURVE_RATE` a second."""
    ear, rows, known = LiveEar(look_ahead, CURVE_RATE), [], 0.0
    for first in range(0, len(sentence), size):
        last = first + size >= len(sentence)
        ear.push(sentence[first:first + size], last=last)
        until = min(ear.until, len(sentence) / 16_000)
        heard, begin = ear.heard()
        low, high = (round((second - begin) * CURVE_RATE) for second in (known, until))
        rows.append(heard[:, low:high].T)
        known = max(known, until)
    return np.concatenate(rows)


def test_a_stream_s_mouth_is_nearly_that_of_the_recording(sentence: np.ndarray) -> None:
    live, whole = lived(sentence, 640), NetArticulation()(sentence, np.arange(0, len(sentence) / 16_000 - 0.05, 0.01)).stack().T
    count = min(len(live), len(whole))
    for column, least in ((0, 0.9), (1, 0.85)):
        assert np.corrcoef(live[50:count, column], whole[50:count, column])[0, 1] > least
    assert np.abs(live[50:count, 6] - whole[50:count, 6]).mean() < 0.1


def test_pieces_of_any_size_give_the_same_stream(sentence: np.ndarray) -> None:
    small, large = lived(sentence[:48_000], 320), lived(sentence[:48_000], 16_000)
    count = min(len(small), len(large))
    assert count > 280 and np.abs(small[60:count] - large[60:count]).max() < 0.05


@pytest.mark.parametrize("look_ahead", [0.78, 0.58])
def test_a_live_ear_is_as_quick_as_it_says(sentence: np.ndarray, look_ahead: float) -> None:
    ear = LiveEar(look_ahead, CURVE_RATE)
    for first in range(0, 64_000, 320):
        ear.push(sentence[first:first + 320])
        known = (first + 320) / 16_000
        assert known < 1.2 or known - ear.until <= look_ahead + 0.24 + 1e-6
    with pytest.raises(LipSyncError, match="look-ahead"):
        LiveEar(0.3, CURVE_RATE)


def test_silence_at_the_beginning_of_a_stream_is_rest(sentence: np.ndarray) -> None:
    quiet = np.random.default_rng(0).normal(0, 3e-4, 24_000).astype(np.float32)
    live = lived(np.concatenate([quiet, sentence]), 640)
    assert live[:110, 6].max() < 0.05 and live[170:250, 6].max() > 0.9
