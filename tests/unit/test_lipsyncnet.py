"""LipSyncNet: its size, that it begins as the warp alone, that what it draws lies where the mouth is, and that files bring it back."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import moving_face
from torch.utils.flop_counter import FlopCounterMode

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.compositing import lower_face_box, region_of
from lipsync_core.errors import CheckpointError, FaceError, LipSyncError
from lipsync_core.faces.align import native_crop
from lipsync_core.generators import create_generator
from lipsync_core.generators.lipsyncnet import PRESETS, LipSyncNet, LipSyncNetConfig, build, checkpoint, drawn, preset
from lipsync_core.generators.lipsyncnet.canvas import ABOVE, MAPS, SIDE, SPAN, in_picture, laid_back, lip_maps, placed
from lipsync_core.generators.lipsyncnet.generator import LipSyncNetGenerator
from lipsync_core.generators.lipsyncnet.network import apart
from lipsync_core.generators.morph import MorphGenerator
from lipsync_core.inference import WEIGHTS
from lipsync_core.types import Drive, FaceTrack, GeneratorItem, Hooks, Person, Speech

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


def inputs(batch: int, size: int = 64, references: int = 2) -> tuple[torch.Tensor, ...]:
    """warped, maps, references and their maps."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((batch, 3), (batch, MAPS), (batch, references, 3), (batch, references, MAPS))
    return tuple(torch.rand(*shape, size, size, generator=generator) * 2 - 1 for shape in shapes)


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_table_of_sizes_is_right(name: str) -> None:
    row = re.search(rf"\| {name} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", LipSyncNetConfig.__doc__)
    parameters, *work = (float(value) for value in row.groups())
    for size, said in zip((128, 256, 512), work):
        config = preset(name, size=size)
        with torch.device("meta"):
            net = build(config)
            warped, maps, references, reference_maps = (torch.empty(1, *shape, size, size) for shape in (
                (3,), (MAPS,), (config.references, 3), (config.references, MAPS)))
            features = net.encode_references(references, reference_maps)
            with FlopCounterMode(display=False) as counter:
                net(warped, maps, features)
        assert counter.get_total_flops() / 2e9 == pytest.approx(said, abs=0.06)
    with torch.device("meta"):
        assert sum(p.numel() for p in build(PRESETS[name]).parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)


def test_the_large_one_is_as_large_as_the_reference_system() -> None:
    with torch.device("meta"):
        assert abs(sum(p.numel() for p in build(PRESETS["large"]).parameters()) - 250e6) < 2.5e6


def test_a_network_that_learned_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    arguments = inputs(2)
    assert torch.equal(drawn(build(SMALL), *arguments), arguments[0])


def test_open_mouths_can_have_more_contrast(network: LipSyncNet) -> None:
    """Dark and light go apart about the mouth's mean; lips, skin and slits stay."""
    warped, maps = torch.zeros(2, 3, 64, 64), torch.zeros(2, MAPS, 64, 64)
    warped[:, :, 24:32], warped[:, :, 32:40] = 0.4, -0.4
    maps[0, 0, 24:40, 16:48] = 1
    plain, more = (apart(warped, torch.zeros_like(warped), maps, gain) for gain in (1.0, 1.1))
    assert not plain.any() and not more[1].any() and not more[0, :, :16].any()
    assert float(more[0, 0, 28, 32]) == pytest.approx(0.04, abs=2e-3) and float(more[0, 0, 36, 32]) == pytest.approx(-0.04, abs=2e-3)
    arguments, other = inputs(1), build(preset("tiny", size=64, contrast=1.5)).eval()
    other.load_state_dict(network.state_dict())
    assert not torch.equal(drawn(other, *arguments), drawn(network, *arguments))
    assert torch.equal(drawn(other.train(), *arguments), drawn(network.train(), *arguments))
    network.eval()


def test_everything_that_it_is_given_counts(network: LipSyncNet) -> None:
    arguments = inputs(1)
    before = drawn(network, *arguments)
    for i in range(4):
        other = [-value if k == i else value for k, value in enumerate(arguments)]
        change = drawn(network, *other) - other[0] - (before - arguments[0])
        assert change.abs().max() > 1e-4, i


def test_a_batch_of_one_or_many_is_the_same(network: LipSyncNet) -> None:
    arguments = inputs(3)
    whole = drawn(network, *arguments)
    split = torch.cat([drawn(network, *(value[i:i + 1] for value in arguments)) for i in range(3)])
    assert torch.allclose(whole, split, atol=1e-4)


def test_maps_tell_where_lips_are() -> None:
    def rim(count: int, width: float, height: float) -> np.ndarray:
        angle = np.linspace(np.pi, -np.pi, count, endpoint=False)
        return 64 + 64j + width * np.cos(angle) - 1j * height * np.sin(angle)

    lips = np.concatenate([rim(12, 30, 14), rim(8, 20, 6)])[None]
    maps = lip_maps(lips)[0]
    assert maps.shape == (MAPS, SIDE, SIDE) and maps.min() >= -1 and maps.max() <= 1
    assert maps[0, 64, 64] == 1 and maps[0, 74, 64] == 0 and maps[1, 74, 64] == 1 and maps[1, 90, 64] == 0 and maps[0, 64, 100] == 0
    assert maps[2, 64, 64] > 0 < maps[3, 64, 64]
    large = lip_maps(lips, 2 * SIDE)[0]                                # the same lips in a larger picture
    assert np.abs(cv2.resize(large[1], (SIDE, SIDE), interpolation=cv2.INTER_AREA) - maps[1]).mean() < 0.01


def test_what_is_drawn_comes_back_to_where_it_was_taken_from() -> None:
    """A spot in the window, in the upright picture and back again, for a rolled head of any size."""
    for scale in (60, 240):
        a, b, centre = scale * np.exp(0.3j), 200 + 180j, 0.02 + 0.5j
        window = np.zeros((360, 420, 3), np.float32)
        place = a * (centre + 0.05 + 0.03j) + b
        cv2.circle(window, (round(place.real), round(place.imag)), max(2, scale // 24), (200, 200, 200), -1)
        picture = placed(window, a, b, centre)
        at = in_picture(np.array([centre + 0.05 + 0.03j]), centre)[0]
        assert picture[round(at.imag), round(at.real)].min() > 120
        assert abs(in_picture(np.array([centre]), centre)[0] - (SIDE / 2 + 1j * ABOVE * SIDE)) < 1e-9 and SPAN < 1.5
        back = laid_back(picture.astype(np.float32), a, b, centre, (420, 360))
        rows, columns = np.nonzero(back[..., 0] > 100)
        assert abs(rows.mean() - place.imag) < 1.5 and abs(columns.mean() - place.real) < 1.5


@pytest.fixture(scope="module")
def someone(backend, astronaut: np.ndarray) -> tuple[Person, list[GeneratorItem]]:
    """The portrait, moving: a track, references, and ten faces to make."""
    frames = moving_face(astronaut, 10, 240)
    views = [ArrayPixels(frame) for frame in frames]
    landmarks = np.stack([backend.landmarks([view], [backend.detect([view])[0][0].box])[0][0] for view in views])
    ones = np.ones(10, np.float32)
    boxes = np.concatenate([landmarks.min(1), landmarks.max(1)], 1).astype(np.float32)
    track = FaceTrack(np.arange(10), np.arange(10) / 25, boxes, landmarks, ones, np.zeros((10, 3), np.float32), ones)
    crops = [native_crop(view, points, lower_face_box(points, (view.width, view.height)), i)
             for i, (view, points) in enumerate(zip(views, landmarks))]
    items = [GeneratorItem(crop, 0.5 + i / 25, i, region_of(crop)) for i, crop in enumerate(crops)]
    return Person(track, crops[:3]), items


def test_an_untaught_network_is_morph(someone: tuple, babble: np.ndarray) -> None:
    person, items = someone
    ours, morph = LipSyncNetGenerator(build(SMALL)), MorphGenerator()
    made, moved = (g.generate(items, g.start(person, g.hear(Speech(babble)), Drive())) for g in (ours, morph))
    assert all(np.abs(a.pixels - b.pixels).max() < 1e-3 and np.array_equal(a.mask, b.mask) for a, b in zip(made, moved))


def test_a_clip_in_one_batch_or_in_ten(network: LipSyncNet, someone: tuple, babble: np.ndarray) -> None:
    person, items = someone
    generator = LipSyncNetGenerator(network)
    state = generator.start(person, generator.hear(Speech(babble)), Drive())
    whole = generator.generate(items, state)
    single = [generator.generate([item], state)[0] for item in items]
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, single)) < 0.1
    moved = MorphGenerator().generate(items, state.moved)
    changed = [np.abs(a.pixels - b.pixels).max(-1) for a, b in zip(whole, moved)]
    assert max(change.max() for change in changed) > 1                 # random weights draw something,
    assert all(not change[item.region == 0].any() for change, item in zip(changed, items))        # inside the region only


def test_the_one_that_ships_draws_a_little_over_morph(someone: tuple, babble: np.ndarray) -> None:
    """Over lips and what is between them, by some levels; nothing outside the region; it has a card."""
    person, items = someone
    generator = create_generator("lipsyncnet")
    assert generator.config == preset("tiny", contrast=1.08) and (WEIGHTS / "lipsyncnet.md").exists()
    state = generator.start(person, generator.hear(Speech(babble)), Drive())
    made, moved = generator.generate(items, state), MorphGenerator().generate(items, state.moved)
    for a, b, item in zip(made, moved, items):
        change = np.abs(a.pixels - b.pixels).mean(-1)
        left, top = item.crop.landmarks[48:].min(0).astype(int)
        right, bottom = item.crop.landmarks[48:].max(0).astype(int) + 1
        lips = change[top:bottom, left:right]
        assert not change[item.region == 0].any()
        assert 0.5 < lips.mean() < 15 and lips.mean() > 2 * change[item.region > 0].mean()
    with pytest.raises(LipSyncError, match="precision, device"):
        create_generator("lipsyncnet", {"steps": "3"})


def test_silence_keeps_the_source(network: LipSyncNet, someone: tuple) -> None:
    person, items = someone
    generator = LipSyncNetGenerator(network)
    state = generator.start(person, generator.hear(Speech(np.zeros(48_000, np.float32))), Drive(silence="keep"))
    assert all(not face.mask.any() for face in generator.generate(items, state))


def test_nobody_to_copy_from(network: LipSyncNet, someone: tuple, babble: np.ndarray) -> None:
    generator = LipSyncNetGenerator(network)
    with pytest.raises(FaceError, match="morph"):
        generator.start(Person(someone[0].track), generator.hear(Speech(babble)), Drive(), Hooks())


@pytest.mark.parametrize("half", [False, True])
def test_a_file_brings_it_back(network: LipSyncNet, tmp_path: Path, half: bool) -> None:
    file = tmp_path / "ours.safetensors"
    checkpoint.save(network, file, {"data": "noise"}, half=half)
    again = create_generator(file).network
    assert again.config == SMALL
    arguments = inputs(1)
    assert torch.allclose(drawn(again, *arguments), drawn(network, *arguments), atol=2e-2 if half else 1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["ours.safetensors"]


def test_wrong_configs_are_refused() -> None:
    with pytest.raises(CheckpointError, match="presets"):
        preset("tiny", size=100)
    with pytest.raises(CheckpointError, match="presets"):
        preset("tiny", channels=(32,))
    with pytest.raises(CheckpointError, match="contrast"):
        preset("tiny", contrast=3.0)
    assert LipSyncNetConfig.from_metadata({k: v for k, v in SMALL.as_metadata().items() if k != "contrast"}) == SMALL   # an older file
    with pytest.raises(CheckpointError, match="tiny, small, base, large"):
        preset("huge")
    with pytest.raises(CheckpointError, match="export it again"):
        LipSyncNetConfig.from_metadata({"size": "128"})


@pytest.mark.slow
def test_it_can_be_exported(network: LipSyncNet) -> None:
    warped, maps, references, reference_maps = inputs(2)
    features = network.encode_references(references, reference_maps)
    program = torch.export.export(network, (warped, maps, features))
    out = program.module()(warped, maps, features)
    assert torch.allclose(out, network(warped, maps, features), atol=1e-4)


def test_half_precision_says_the_same(network: LipSyncNet) -> None:
    arguments = inputs(1)
    small = build(SMALL).to(torch.bfloat16).eval()
    small.load_state_dict(network.state_dict())
    out = drawn(small, *(a.to(torch.bfloat16) for a in arguments))
    assert out.dtype == torch.bfloat16 and (out.float() - drawn(network, *arguments)).abs().mean() < 0.03
