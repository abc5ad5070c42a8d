"""The recipe of the articulation model runs from phones to a file that the generator takes, and its parts mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_core.audio import load_speech
from lipsync_core.demo import SPEECH
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.generators.morph.articulation_net import BANDS, CLASSES
from lipsync_core.generators.morph.ear import Ear
from lipsync_core.generators.morph.streaming import Articulator, Ensemble
from lipsync_core.hearing.reading import CHANNELS as READ_CHANNELS
from lipsync_core.hearing.reading import NEAR, load_reading
from lipsync_core.training.articulation import corpus, evaluate, fit, reading, real, shapes
from lipsync_core.training.articulation.augment import augment
from lipsync_core.training.articulation.basis import moves
from lipsync_core.training.articulation.export import export
from lipsync_core.training.articulation.phones import ARPABET, CLOSURE, FESTIVAL, OPENING, TABLE, TUCK, WIDTH, segments
from lipsync_core.training.articulation.synthesis import Utterance

pytestmark = pytest.mark.usefixtures("one_thread")     # networks this small hardly gain from threads, and lose where other work runs
MAMA = [(0.0, 0.2, ""), (0.2, 0.3, "m"), (0.3, 0.5, "a"), (0.5, 0.6, "m"), (0.6, 0.8, "a"), (0.8, 1.2, "")]


def test_lips_shut_on_m_and_open_between() -> None:
    curves, kinds = shapes.curves(MAMA, 1.2)
    at = {name: int(100 * time) for name, time in (("pause", 0.02), ("m", 0.55), ("a", 0.42))}
    assert curves[at["m"], OPENING] < 0.05 < 0.4 < curves[at["a"], OPENING]
    assert curves[at["m"], CLOSURE] > 0.7 and curves[at["a"], CLOSURE] < 0.2
    assert [CLASSES[kinds[i]] for i in at.values()] == ["silence", "bilabial", "open"]


@pytest.mark.parametrize(("symbol", "channel", "sign"), [("f", TUCK, 1), ("u", WIDTH, -1), ("i", WIDTH, 1), ("p", CLOSURE, 1)])
def test_each_phone_does_what_it_is_known_for(symbol: str, channel: int, sign: int) -> None:
    curves, _ = shapes.curves([(0.0, 0.3, "ə"), (0.3, 0.45, symbol), (0.45, 0.75, "ə")], 0.75)
    assert sign * curves[37, channel] > 0.4
    assert sign * curves[37, channel] > sign * curves[5, channel] + 0.2


def test_every_symbol_of_the_engines_is_known() -> None:
    for table in (ARPABET, *FESTIVAL.values()):
        for symbol, ipa in table.items():
            assert not ipa or segments(ipa), symbol
    assert len(segments("aʊ")) == 2 and len(segments("aː")) == 1 and segments("ˈ") == []
    assert all(phone.target.shape == (6,) and 0 <= phone.kind < len(CLASSES) for phone in TABLE.values())


def test_augmented_speech_is_still_speech() -> None:
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.normal(-50, 4, (6, 200, BANDS)).astype(np.float32))
    levels[:, 80:120, 5:20] += 40
    changed = augment(levels, rng)
    assert changed.shape == levels.shape and torch.isfinite(changed).all()
    energy = changed.mean(2)
    assert (energy[:, 85:115].mean(1) > energy[:, :60].mean(1) + 2).all() and not torch.equal(changed, levels)


def speech() -> Utterance:
    samples = load_speech(SPEECH).samples[:3 * 16_000]
    return Utterance((samples * 32767).astype(np.int16), [(a, b, s) for a, b, s in MAMA] + [(1.2, 3.0, "ə")], "test")


def test_a_corpus_survives_its_file(tmp_path: Path) -> None:
    item = speech()
    assert corpus.save(iter([item, item]), tmp_path / "corpus.npz") == 2
    again = corpus.load(tmp_path / "corpus.npz")
    assert len(again) == 2 and np.array_equal(again[1].samples, item.samples)
    assert [s for *_, s in again[1].phones] == [s for *_, s in item.phones]


def test_from_a_corpus_to_a_file_that_the_generator_takes(tmp_path: Path) -> None:
    corpus.save(iter([speech()] * 3), tmp_path / "corpus.npz")
    spoken = fit.prepare(tmp_path / "corpus.npz")
    nets = [fit.train(fit.Batches(spoken, [], 4, 0.0, seed), 1, width=16, steps=3, seed=seed) for seed in (0, 1)]
    export(nets, tmp_path / "a.safetensors")
    articulation = NetArticulation(Ear(Articulator(tmp_path / "a.safetensors")))
    found = evaluate.closures(articulation, [speech()])
    assert found["bilabials"] == 2 and 0 <= found["met"] <= 1
    # Half precision on disk: near, not equal.
    together = Ensemble((16, 16)).eval()
    for member, net in zip(together.members, nets):
        member.load_state_dict(net.state_dict())
    x = torch.from_numpy(np.random.default_rng(0).uniform(-3, 0, (1, BANDS, 120)).astype(np.float32))
    with torch.inference_mode():
        assert (together(x) - articulation.ear.networks.networks(x)).abs().max() < 0.02


def test_training_learns(tmp_path: Path) -> None:
    corpus.save(iter([speech()]), tmp_path / "corpus.npz")
    batches = fit.Batches(fit.prepare(tmp_path / "corpus.npz"), [], 4, 0.0, 0)
    fresh = fit.train(batches, 1, width=16, steps=1)
    taught = fit.train(batches, 1, width=16, steps=120, rate=5e-3)
    losses = []
    for net in (fresh, taught):
        rng = np.random.default_rng(5)
        batches.rng = np.random.default_rng(6)
        losses.append(fit.loss_of(net, batches(), rng)[0].item())
    assert losses[1] < 0.9 * losses[0]


def test_a_face_that_only_turns_and_comes_nearer_does_not_open_its_mouth(face_points: np.ndarray) -> None:
    turns = np.linspace(-0.3, 0.3, 40)
    zooms = np.linspace(0.7, 1.6, 40)
    track = np.stack([zoom * face_points @ np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for t, zoom in zip(turns, zooms)])
    values = real.measure(track)
    assert np.ptp(values["gap"]) < 1e-6 and np.ptp(values["width"]) < 1e-6 and np.ptp(values["chin"]) < 1e-6
    opened = track.copy()
    opened[20:, 65:68, 1] += 0.1 * np.linalg.norm(track[20:, 45] - track[20:, 36], axis=1)[:, None]
    found = moves(opened)
    assert found is not None and found[0][:20, 0].max() < 0.02 < 0.05 < found[0][25:, 0].min()


@pytest.fixture()
def face_points(astronaut: np.ndarray) -> np.ndarray:
    """Landmarks (68, 2) of a face, lips made to meet."""
    from lipsync_core.array_pixels import ArrayPixels
    from lipsync_core.faces import create_backend

    backend, picture = create_backend(), ArrayPixels(astronaut)
    first, _ = backend.landmarks([picture], [backend.detect([picture])[0][0].box])
    points = backend.landmarks([picture], list(first))[0][0].astype(np.float64)
    points[[67, 66, 65]] = points[[61, 62, 63]]
    return points


def test_the_best_lag_is_found() -> None:
    rng = np.random.default_rng(0)
    curve = np.convolve(rng.random(520), np.ones(6) / 6, mode="same").astype(np.float32)
    clip = real.RealClip("x", np.zeros((1000, BANDS), np.float16), curve[10:510], curve[10:510], curve[10:510], np.ones(500, bool),
                         np.ones(500, np.float32))
    none, best, lag = real.best_lag(curve[6:506], clip)
    assert best > 0.99 > none and lag == pytest.approx(0.08)


def taught(person: str, seed: int, late: int, size: int = 24) -> reading.Taught:
    """Sound whose first input is what the lips did `late` rows before."""
    rng = np.random.default_rng(seed)
    lips = np.convolve(rng.normal(size=640), np.hanning(9), mode="same").astype(np.float32)[20:620]
    inputs = rng.normal(size=(600, size)).astype(np.float32)
    inputs[late:, 0] = lips[:600 - late] + 0.3 * rng.normal(size=600 - late)
    raw = np.zeros((600, 7), np.float32)
    raw[:, 0] = inputs[:, 0]
    clip = real.RealClip(f"talking__{person}", np.zeros((1200, BANDS), np.float16), 0.4 + 0.1 * lips, 0.1 * lips, 0.1 * lips,
                         np.ones(600, bool), np.ones(600, np.float32))
    return reading.Taught(person, clip, (inputs.astype(np.float16),), raw)


def test_a_reading_is_taught_with_the_offset_taken_out_and_tested_on_people_left_out() -> None:
    clips = [taught("a", 0, 3), taught("b", 1, 0), taught("c", 2, 6)]
    stranger = taught("d", 3, 2)
    reading.RIDGE, before = 20.0, reading.RIDGE
    try:
        _, read, lags = reading.teach(clips, [stranger])
    finally:
        reading.RIDGE = before
    assert lags == {"talking__a": 3, "talking__b": 0, "talking__c": 6, "talking__d": 2}
    for item, late in ((clips[2], 120), (stranger, 40)):
        found = reading.scores(item, read[item.clip.name])
        assert found["opening"] > 0.85 and found["width"] > 0.85 and found["lag_ms"] == late


def test_an_exported_reading_reads_what_was_taught(tmp_path: Path) -> None:
    channels = (2 * NEAR + 1) * READ_CHANNELS
    item = taught("a", 0, 0, reading.FEATURES + channels)
    sums = reading.Sums([item], {"talking__a": 0}, {"a"})
    reading.export(sums, tmp_path / "reading.safetensors")
    x = torch.from_numpy(item.inputs[0][:50].astype(np.float32))
    with torch.inference_mode():
        ours = load_reading(tmp_path / "reading.safetensors")(x[:, :reading.FEATURES].unflatten(1, (9, -1)),
                                                              x[:, reading.FEATURES:].unflatten(1, (2 * NEAR + 1, -1))).numpy()
    assert np.abs(ours - sums.standard(item.inputs[0][:50]) @ sums.solve()).max() < 1e-2
