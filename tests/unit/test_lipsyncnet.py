"""LipSyncNet: its size, that it never sees the mouth, that pieces give what the whole gives, and that files bring it back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lipsync_core.errors import CheckpointError, FaceError
from lipsync_core.generators import create_generator
from lipsync_core.generators.lipsyncnet import PRESETS, LipSyncNet, LipSyncNetConfig, build, checkpoint, preset
from lipsync_core.generators.lipsyncnet.audio import DELAY, LOOK_AHEAD, STEP_RATE
from lipsync_core.generators.lipsyncnet.generator import LipSyncNetGenerator
from lipsync_core.generators.lipsyncnet.region import hidden_region
from lipsync_core.types import Drive, FaceCrop, FaceTrack, GeneratorItem, Hooks, Person, Speech

SMALL = preset("tiny", size=64)


@pytest.fixture(scope="module")
def network() -> LipSyncNet:
    """A small one with random weights in every layer, the ones that begin as zero too."""
    torch.manual_seed(3)
    net = build(SMALL)
    for parameter in net.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net.eval().requires_grad_(False)


def inputs(network: LipSyncNet, batch: int) -> tuple:
    config = network.config
    generator = torch.Generator().manual_seed(5)
    faces, references = (torch.rand(batch, *shape, config.size, config.size, generator=generator)
                         for shape in ((3,), (config.references, 3)))
    return faces, hidden_region(config.size), torch.randn(batch, config.embedding, generator=generator), references


def run(network: LipSyncNet, faces: torch.Tensor, region: torch.Tensor, embedding: torch.Tensor, references: torch.Tensor) -> tuple:
    return network(faces, region, embedding, references, network.encode_references(references))


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_table_of_sizes_is_right(name: str) -> None:
    row = re.search(rf"\| {name} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", LipSyncNetConfig.__doc__)
    parameters, *work = (float(value) for value in row.groups())
    for size, said in zip((128, 256, 512), work):
        config = preset(name, size=size)
        with torch.device("meta"):
            net = build(config)
            faces, references = torch.empty(1, 3, size, size), torch.empty(1, config.references, 3, size, size)
            features = net.encode_references(references)
            with FlopCounterMode(display=False) as counter:
                net(faces, torch.empty(1, 1, size, size), torch.empty(1, config.embedding), references, features)
        assert counter.get_total_flops() / 2e9 == pytest.approx(said, abs=0.06)
        assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)


def test_presets_are_as_large_as_they_should_be() -> None:
    def millions(name: str) -> float:
        with torch.device("meta"):
            return sum(p.numel() for p in build(PRESETS[name]).parameters()) / 1e6

    assert millions("tiny") < 4 and 55 < millions("base") < 65
    assert abs(millions("large") - 250) < 2.5


def test_what_it_must_not_see_it_does_not_see(network: LipSyncNet) -> None:
    faces, region, embedding, references = inputs(network, 2)
    before = run(network, faces, region, embedding, references)
    hidden = torch.where(region > 0, torch.rand_like(faces), faces)
    after = run(network, hidden, region, embedding, references)
    assert not torch.equal(hidden, faces) and torch.equal(before.pixels, after.pixels) and torch.equal(before.mask, after.mask)
    seen = run(network, torch.where(region > 0, faces, torch.rand_like(faces)), region, embedding, references)
    assert not torch.equal(before.pixels, seen.pixels)
    assert not torch.equal(before.pixels, run(network, faces, region, -embedding, references).pixels)
    assert not torch.equal(before.pixels, run(network, faces, region, embedding, 1 - references).pixels)


def test_the_hidden_region_covers_mouth_and_jaw_but_not_the_eyes(backend, astronaut: np.ndarray) -> None:
    from lipsync_core.faces.align import steady_matrix, transform
    from lipsync_core.pixels import ArrayPixels

    picture = ArrayPixels(astronaut)
    points, _ = backend.landmarks([picture], [backend.detect([picture])[0][0].box])
    at = transform(steady_matrix(points[0], 128), points[0]).round().astype(int)
    region = hidden_region(128)[0, 0].numpy()
    assert region[at[48:68, 1], at[48:68, 0]].all() and region[at[5:12, 1], at[5:12, 0]].all()
    assert not region[at[36:48, 1], at[36:48, 0]].any() and not region[at[27:30, 1], at[27:30, 0]].any()


def test_a_batch_of_one_or_many_is_the_same(network: LipSyncNet) -> None:
    faces, region, embedding, references = inputs(network, 4)
    whole = run(network, faces, region, embedding, references).pixels
    split = torch.cat([run(network, faces[i:i + 1], region, embedding[i:i + 1], references[i:i + 1]).pixels for i in range(4)])
    assert torch.allclose(whole, split, atol=1e-5)


def test_sound_in_pieces_is_sound_as_a_whole(network: LipSyncNet) -> None:
    mel = torch.randn(1, 80, 120, generator=torch.Generator().manual_seed(1))
    whole, _ = network.audio(mel, network.audio.start(1, mel))
    state, parts = network.audio.start(1, mel), []
    for first, last in ((0, 2), (2, 30), (30, 32), (32, 120)):
        steps, state = network.audio(mel[:, :, first:last], state)
        parts.append(steps)
    assert whole.shape == (1, 60, SMALL.embedding) and torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)


def test_the_network_hears_no_further_ahead_than_it_says(network: LipSyncNet) -> None:
    """A click changes no embedding of a frame that is more than `LOOK_AHEAD` before it, and does change some after that."""
    assert LOOK_AHEAD <= 0.2 and DELAY / STEP_RATE <= 0.2
    generator = LipSyncNetGenerator(network)
    speech = (0.1 * np.random.default_rng(2).standard_normal(32_000)).astype(np.float32)
    clicked = speech.copy()
    clicked[16_000:16_080] += 0.9                                     # at 1.0 s
    times = np.arange(0.0, 2.0, 0.01)
    before, after = (curve_of(generator, samples, times) for samples in (speech, clicked))
    changed = times[np.abs(before - after).max(1) > 1e-3]
    assert 1.0 - LOOK_AHEAD - 0.026 <= changed.min() < 1.0            # read between two steps: one step of 25 ms


def curve_of(generator: LipSyncNetGenerator, samples: np.ndarray, times: np.ndarray) -> np.ndarray:
    state = generator.start(person(generator.spec.crop_size), Speech(samples), Drive())
    return generator._at(state, times).numpy()


def person(size: int) -> Person:
    """Somebody, seen once."""
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(20, size - 20, (68, 2)).astype(np.float32)
    ones = np.ones(1, np.float32)
    track = FaceTrack(np.zeros(1, int), np.zeros(1), np.array([[10, 10, 50, 50]], np.float32), landmarks[None], ones,
                      np.zeros((1, 3), np.float32), ones)
    return Person(track, [FaceCrop(rng.uniform(0, 255, (size, size, 3)).astype(np.float32), np.eye(3)[:2], landmarks)])


def test_a_clip_in_one_batch_or_in_ten(network: LipSyncNet, babble: np.ndarray) -> None:
    generator = LipSyncNetGenerator(network)
    someone = person(64)
    rng = np.random.default_rng(1)
    items = [GeneratorItem(FaceCrop(rng.integers(0, 256, (64, 64, 3), np.uint8), np.eye(3)[:2], someone.track.landmarks[0]), i / 25, 0,
                           np.ones((64, 64), np.float32)) for i in range(10)]
    state = generator.start(someone, Speech(babble), Drive())
    whole = generator.generate(items, state)
    single = [generator.generate([item], state)[0] for item in items]
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, single)) < 255e-4
    assert all(face.pixels.shape == (64, 64, 3) and 0 <= face.mask.min() and face.mask.max() <= 1 for face in whole)


def test_drive(network: LipSyncNet, babble: np.ndarray) -> None:
    """Strength 0 is a mouth that hears silence; 'keep' leaves the source in pauses; activation scales the mask."""
    generator, someone = LipSyncNetGenerator(network), person(64)
    crop = FaceCrop(np.full((64, 64, 3), 90, np.uint8), np.eye(3)[:2], someone.track.landmarks[0])
    moments = ((0.8, 0.5), (0.1, 1.0))
    spoken, pause = (GeneratorItem(crop, time, 0, np.ones((64, 64), np.float32), activation) for time, activation in moments)

    def faces(item: GeneratorItem, drive: Drive, samples: np.ndarray = babble) -> tuple:
        face = generator.generate([item], generator.start(someone, Speech(samples), drive))[0]
        return face.pixels, face.mask

    silent, _ = faces(spoken, Drive(silence="generate"), np.zeros(48_000, np.float32))
    weak, _ = faces(spoken, Drive(strength=0.0))
    usual, half = faces(spoken, Drive())
    assert np.abs(weak - silent).max() < 1.0 < np.abs(usual - weak).max()
    assert half.max() <= 0.5 and not faces(pause, Drive(silence="keep"))[1].any()


def test_nobody_to_copy_from(network: LipSyncNet, babble: np.ndarray) -> None:
    with pytest.raises(FaceError, match="morph"):
        LipSyncNetGenerator(network).start(Person(person(64).track), Speech(babble), Drive(), Hooks())


@pytest.mark.parametrize("half", [False, True])
def test_a_file_brings_it_back(network: LipSyncNet, tmp_path: Path, half: bool) -> None:
    file = tmp_path / "ours.safetensors"
    checkpoint.save(network, file, {"data": "noise"}, half=half)
    again = create_generator(file).network
    assert again.config == SMALL
    arguments = inputs(network, 1)
    assert torch.allclose(run(again, *arguments).pixels, run(network, *arguments).pixels, atol=2e-2 if half else 1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["ours.safetensors"]


def test_wrong_configs_are_refused() -> None:
    with pytest.raises(CheckpointError, match="presets"):
        preset("tiny", size=100)
    with pytest.raises(CheckpointError, match="tiny, base, large"):
        preset("huge")
    with pytest.raises(CheckpointError, match="export it again"):
        LipSyncNetConfig.from_metadata({"size": "128"})


@pytest.mark.slow
def test_it_can_be_exported(network: LipSyncNet) -> None:
    faces, region, embedding, references = inputs(network, 2)
    features = network.encode_references(references)
    program = torch.export.export(network, (faces, region, embedding, references, features))
    out = program.module()(faces, region, embedding, references, features)
    assert torch.allclose(out[0], network(faces, region, embedding, references, features).pixels, atol=1e-5)


def test_half_precision_says_the_same(network: LipSyncNet) -> None:
    arguments = inputs(network, 1)
    small = build(SMALL).to(torch.bfloat16).eval()
    small.load_state_dict(network.state_dict())
    out = run(small, *(a.to(torch.bfloat16) for a in arguments))
    assert out.pixels.dtype == torch.bfloat16
    assert (out.pixels.float() - run(network, *arguments).pixels).abs().mean() < 0.02
