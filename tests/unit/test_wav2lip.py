"""Wav2Lip: built as its checkpoints are, read from whatever holds them, and driven by exactly the sound it was taught with."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dubbing_check import check_only_mouths_change
from random_checkpoints import random_wav2lip
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from lipsync_core import Hooks, LipSyncError
from lipsync_core.audio import wav2lip_mel
from lipsync_core.errors import CheckpointError
from lipsync_core.faces.align import crop_matrix, transform
from lipsync_core.generators.containers import read_tensors, tensor_shapes
from lipsync_core.generators.wav2lip import OPTIONS, Wav2LipOptions, checkpoint, create
from lipsync_core.generators.wav2lip.generator import Wav2LipGenerator
from lipsync_core.generators.wav2lip.network import Wav2Lip, Wav2Lip288
from lipsync_core.types import Drive, FaceCrop, FaceTrack, GeneratorItem, Person, Speech

SIZE = 96
ROUNDING = 0.01
"""Of 255 levels: what sums in another order come to after some fifty layers."""
DRIVEN = Drive(silence="generate")
"""Nothing between the network and the speech."""


@pytest.fixture(scope="module")
def network() -> Wav2Lip:
    return random_wav2lip()


@pytest.fixture(scope="module")
def fused(network: Wav2Lip) -> Wav2Lip:
    copy = Wav2Lip()
    copy.load_state_dict(network.state_dict())
    return copy.eval().requires_grad_(False).fuse()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Emptied at once: checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(5)
    return torch.rand(batch, 1, 80, 16, generator=noise) * 8 - 4, torch.rand(batch, 6, SIZE, SIZE, generator=noise)


def person(rows: int = 1, references: tuple[FaceCrop, ...] = ()) -> Person:
    """Somebody whose face wanders to the right, two pixels a frame."""
    shape = np.random.default_rng(0).uniform(100, 180, (68, 2))
    landmarks = np.stack([shape + [2 * i, 0] for i in range(rows)]).astype(np.float32)
    ones = np.ones(rows, np.float32)
    track = FaceTrack(np.arange(rows), np.arange(rows) / 25, np.concatenate([landmarks.min(1), landmarks.max(1)], 1), landmarks, ones,
                      np.zeros((rows, 3), np.float32), ones)
    return Person(track, references)


def item(time: float, seed: int = 1, activation: float = 1.0) -> GeneratorItem:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    crop = FaceCrop(pixels, np.eye(3)[:2], person().track.landmarks[0])
    return GeneratorItem(crop, time, 0, np.ones((SIZE, SIZE), np.float32), activation)


def network_input(pixels: np.ndarray, reference: np.ndarray | None = None) -> torch.Tensor:
    """(1, 6, S, S) of RGB crops, as architectures.md 1.2 says."""
    face, whole = (torch.from_numpy(p[..., ::-1].astype(np.float32) / 255).permute(2, 0, 1)
                   for p in (pixels, pixels if reference is None else reference))
    face[:, SIZE // 2:] = 0
    return torch.cat([face, whole])[None]


def dubbed_crop(painted: torch.Tensor, pixels: np.ndarray) -> np.ndarray:
    """RGB crop `pixels` whose lower half is that of the network's answer (1, 3, S, S)."""
    result = pixels.astype(np.float32)
    result[SIZE // 2:] = painted[0].permute(1, 2, 0).numpy()[SIZE // 2:, :, ::-1] * 255
    return result


# -- the network -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant, parameters, tensors", [(Wav2Lip, 36_298_035, 352), (Wav2Lip288, 48_520_755, 422)])
def test_it_has_as_many_parameters_and_tensors_as_the_tables_say(variant: type[Wav2Lip], parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        net = variant()
    assert sum(p.numel() for p in net.parameters()) == parameters and len(net.state_dict()) == tensors
    said = re.match(r"([\d,]+) parameters in (\d+) tensors", variant.__doc__).groups()
    assert (int(said[0].replace(",", "")), int(said[1])) == (parameters, tensors)


def test_its_parts_are_as_large_as_the_table_says() -> None:
    with torch.device("meta"):
        net = Wav2Lip()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert sizes == {"audio_encoder": 2_812_672, "face_encoder_blocks": 8_171_056, "face_decoder_blocks": 25_291_072,
                     "output_block": 23_235}
    assert sum(b.numel() for b in net.buffers()) == 22_802


@pytest.mark.parametrize("variant, name, shape", [
    (Wav2Lip, "audio_encoder.9.conv_block.0.weight", (256, 128, 3, 3)),
    (Wav2Lip, "audio_encoder.12.conv_block.1.running_var", (512,)),
    (Wav2Lip, "face_encoder_blocks.0.0.conv_block.0.weight", (16, 6, 7, 7)),
    (Wav2Lip, "face_encoder_blocks.2.3.conv_block.1.num_batches_tracked", ()),
    (Wav2Lip, "face_encoder_blocks.6.1.conv_block.0.weight", (512, 512, 1, 1)),
    (Wav2Lip, "face_decoder_blocks.1.0.conv_block.0.weight", (1024, 512, 3, 3)),        # transposed: in x out
    (Wav2Lip, "face_decoder_blocks.3.0.conv_block.0.weight", (768, 384, 3, 3)),
    (Wav2Lip, "face_decoder_blocks.6.2.conv_block.0.weight", (64, 64, 3, 3)),
    (Wav2Lip, "output_block.0.conv_block.0.weight", (32, 80, 3, 3)),
    (Wav2Lip, "output_block.1.bias", (3,)),
    (Wav2Lip288, "face_encoder_blocks.1.0.conv_block.0.weight", (32, 16, 5, 5)),
    (Wav2Lip288, "face_encoder_blocks.8.0.conv_block.0.weight", (512, 512, 3, 3)),
    (Wav2Lip288, "face_decoder_blocks.4.0.conv_block.0.weight", (768, 384, 3, 3)),
    (Wav2Lip288, "face_decoder_blocks.8.0.conv_block.0.weight", (96, 64, 3, 3)),
])
def test_tensors_have_the_names_and_shapes_of_the_checkpoints(variant: type[Wav2Lip], name: str, shape: tuple[int, ...]) -> None:
    assert checkpoint.expected_shapes(variant)[name] == shape


@pytest.mark.parametrize("variant", [Wav2Lip, Wav2Lip288])
def test_it_paints_faces_of_its_size(variant: type[Wav2Lip]) -> None:
    torch.manual_seed(1)
    net = variant().eval()
    with torch.inference_mode():
        out = net(torch.zeros(1, 1, 80, 16), torch.rand(1, 6, net.size, net.size))
    assert out.shape == (1, 3, net.size, net.size) and 0 <= out.min() < out.max() <= 1
    assert net.size == (96 if variant is Wav2Lip else 288)


def test_the_residual_is_added_between_norm_and_relu(network: Wav2Lip) -> None:
    block = network.audio_encoder[1]
    x = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), (block.conv_block[1](block.conv_block[0](x)) + x).relu())


def test_folding_the_batch_norms_changes_nothing(network: Wav2Lip, fused: Wav2Lip) -> None:
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    before, after = network(*inputs(2)), fused(*inputs(2))
    assert before.std() > 0.05 and (before - after).abs().max() < 1e-4


@pytest.mark.parametrize("variant", [Wav2Lip, Wav2Lip288])
def test_the_lower_half_alone_is_the_same_for_less(variant: type[Wav2Lip]) -> None:
    """The decoder leaves out rows that nothing below depends on; how many, its docstring says."""
    torch.manual_seed(2)
    net = variant().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.1)                             # keeps differences alive through all layers
    heard, face, half = torch.rand(1, 512, 1, 1), torch.rand(1, 6, net.size, net.size), net.size // 2
    with FlopCounterMode(display=False) as whole_work:
        whole = net.paint(heard, face)
    for first in (half, half + 7):
        with FlopCounterMode(display=False) as work:
            part = net.paint(heard, face, first)
        assert part.shape == whole[:, :, first:].shape and (part - whole[:, :, first:]).abs().max() < 1e-5
        assert work.get_total_flops() < 0.7 * whole_work.get_total_flops()
    assert whole[:, :, half:].std() > 0.02


# -- files -------------------------------------------------------------------------------------------------------------------


def training_dict(net: Wav2Lip, file: Path) -> None:
    """As DataParallel and the training program leave it."""
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    moments = {"state": {0: {"step": 3, "exp_avg": torch.ones(8)}}, "param_groups": [{"lr": 1e-4, "betas": (0.5, 0.999), "params": [0]}]}
    torch.save({"state_dict": state, "optimizer": moments, "global_step": 3, "global_epoch": 1}, file)


CONTAINERS: dict[str, Callable[[Wav2Lip, Path], None]] = {
    "training.pth": training_dict,
    "old-training.pth": lambda net, file: torch.save({"state_dict": net.state_dict()}, file, _use_new_zipfile_serialization=False),
    "flat.pth": lambda net, file: torch.save(net.state_dict(), file),
    "flat.safetensors": lambda net, file: save_file(net.state_dict(), file),
    "archive.pt": lambda net, file: torch.jit.trace(net, inputs(1), check_trace=False).save(str(file)),
}


@pytest.mark.parametrize("name", list(CONTAINERS))
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_every_container_brings_it_back(network: Wav2Lip, folder: Path, name: str) -> None:
    file = folder / f"mit Lücken {name}"
    CONTAINERS[name](network, file)
    shapes = tensor_shapes(file)
    assert shapes == checkpoint.expected_shapes(Wav2Lip) and checkpoint.detect(shapes)
    tensors, truth = read_tensors(file), network.state_dict()
    assert tensors.keys() == truth.keys() and all(torch.equal(tensors[key], truth[key]) for key in truth)
    generator = create(file)
    assert (generator.network(*inputs(1)) - network(*inputs(1))).abs().max() < 1e-4
    assert generator.spec.crop_size == SIZE and not any(p.requires_grad for p in generator.network.parameters())


def test_half_precision_and_missing_counters_are_no_hindrance(network: Wav2Lip, folder: Path) -> None:
    state = {name: value.half() for name, value in network.state_dict().items() if not name.endswith(checkpoint.COUNTER)}
    save_file(state, folder / "small.safetensors")
    assert checkpoint.detect(tensor_shapes(folder / "small.safetensors"))
    for fuse in (True, False):
        again = checkpoint.load(folder / "small.safetensors", fuse=fuse)
        assert next(again.parameters()).dtype == torch.float32
        assert (again(*inputs(1)) - network(*inputs(1))).abs().mean() < 2e-2


def test_the_variants_are_told_apart_by_their_tensors() -> None:
    shapes = {variant: checkpoint.expected_shapes(variant) for variant in (Wav2Lip, Wav2Lip288)}
    for variant, table in shapes.items():
        assert checkpoint.variant_of(table) is variant
        assert checkpoint.variant_of({f"module.{name}": shape for name, shape in table.items()}) is variant
        assert not checkpoint.detect(dict(list(table.items())[1:]))
        assert not checkpoint.detect(table | {"sam.conv1.weight": (1, 2, 7, 7)})
        assert not checkpoint.detect(table | {"output_block.1.weight": (3, 64, 1, 1)})
    assert not checkpoint.detect({})


class Startling(torch.nn.Module):
    """Runs something as its archive is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]


class Command:
    """A pickle that does something when it is loaded."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran"),)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_wrong_files_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = {f"w{i}": torch.ones(64) for i in range(9)}
    save_file(good, "good.safetensors")
    torch.save(good, "good.pth")
    Path("cut.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:500])
    Path("cut.pth").write_bytes(Path("good.pth").read_bytes()[:2000])
    Path("empty.pth").touch()
    Path("pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    Path("page.safetensors").write_text("<!doctype html><html>404</html>")
    with open("command.pth", "wb") as file:
        pickle.dump({"state_dict": Command()}, file, protocol=2)
    torch.save(torch.nn.Linear(2, 2), "module.pth")
    torch.save({"state_dict": {"epoch": 3}}, "none.pth")
    torch.save([torch.ones(2)], "list.pth")
    torch.jit.script(Startling()).save("startling.pt")
    wrong = {"missing.pth": "no file", ".": "is a folder", "cut.safetensors": "can't be read", "cut.pth": "can't be read",
             "empty.pth": "can't be read", "pointer.pth": "can't be read", "page.safetensors": "can't be read",
             "command.pth": "can't be read", "module.pth": "can't be read", "none.pth": "no tensors", "list.pth": "no tensors",
             "startling.pt": "program of its own"}
    for name, words in wrong.items():
        for read in (read_tensors, tensor_shapes, create):
            with pytest.raises(CheckpointError, match=words) as error:
                read(name)
            assert "\n" not in str(error.value) and str(error.value).endswith(".")
    assert not Path("ran").exists()
    with pytest.raises(CheckpointError, match=r"good.pth is no Wav2Lip .* begins with w0, w1, w2"):
        create("good.pth")


# -- what drives it ----------------------------------------------------------------------------------------------------------


def test_frames_get_the_window_of_their_time(fused: Wav2Lip, babble: np.ndarray) -> None:
    """16 columns from int(80 t) on, whatever the frame rate; at the end the last 16; with offset_ms=40 those of the training."""
    mel = wav2lip_mel(babble)
    crop = item(0).crop.pixels
    for time, first, offset in ((0.0, 0, 0.0), (31 / 25, 99, 0.0), (27 * 1001 / 24_000, 90, 0.0), (2.95, mel.shape[1] - 16, 0.0),
                                (31 / 25, 96, 40.0), (0.02, 0, 40.0)):
        generator = Wav2LipGenerator(fused, Wav2LipOptions(offset_ms=offset))
        face = generator.generate([item(time)], generator.start(person(), Speech(babble), DRIVEN))[0]
        expected, off = (dubbed_crop(fused(mel[None, None, :, at:at + 16], network_input(crop)), crop)
                             for at in (first, abs(first - 1)))
        assert np.abs(face.pixels - expected).max() < ROUNDING < np.abs(face.pixels - off).max()
        assert face.pixels.shape == (SIZE, SIZE, 3) and face.pixels.dtype == np.float32


def test_a_clip_in_one_batch_or_in_ten(fused: Wav2Lip, babble: np.ndarray) -> None:
    generator = Wav2LipGenerator(fused)
    state = generator.start(person(), Speech(babble), Drive(strength=1.3))
    items = [item(0.4 + i / 25, seed=i) for i in range(10)]
    whole = generator.generate(items, state)
    split = [face for first in (0, 3, 4) for face in generator.generate(items[first:{0: 3, 3: 4, 4: 10}[first]], state)]
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, split, strict=True)) < ROUNDING
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(whole, split))


def test_drive(fused: Wav2Lip, babble: np.ndarray) -> None:
    """Strength 0 hears silence, so does a pause that is to be closed; 'keep' leaves the source in pauses; activation scales the mask."""
    generator = Wav2LipGenerator(fused)

    def face(time: float, drive: Drive, samples: np.ndarray = babble, activation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        made = generator.generate([item(time, activation=activation)], generator.start(person(), Speech(samples), drive))[0]
        return made.pixels, made.mask

    spoken, pause = 0.8, 0.1
    silent, _ = face(spoken, DRIVEN, np.zeros(48_000, np.float32))
    quiet, heard = (fused.hear(mel[None, None]) for mel in (torch.full((80, 16), -4.0), wav2lip_mel(babble)[:, 64:80]))
    crop = item(spoken).crop.pixels
    for strength in (0.0, 0.5, 1.0, 2.0):
        made, _ = face(spoken, replace(DRIVEN, strength=strength))
        expected = fused.paint((quiet + strength * (heard - quiet)).clamp_min(0), network_input(crop))
        assert np.abs(made - dubbed_crop(expected, crop)).max() < ROUNDING
        assert (np.abs(made - silent).max() < ROUNDING) == (strength == 0)
    assert np.abs(face(pause, Drive())[0] - silent).max() < 1.0
    assert not face(pause, Drive(silence="keep"))[1].any() and face(spoken, Drive(silence="keep"))[1].max() > 0.95
    assert face(spoken, Drive(), activation=0.25)[1].max() == pytest.approx(0.25)
    assert not face(spoken, Drive(), activation=0.0)[1].any()


def test_only_the_half_that_it_paints_is_meant(fused: Wav2Lip) -> None:
    """The mask begins where the network stops seeing, and is soft towards every rim."""
    mask = Wav2LipGenerator(fused)._mask
    assert not mask[:SIZE // 2].any() and (mask[52:92, 4:92] == 1).all()
    assert max(mask[48].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.05


def test_speech_shorter_than_a_window(fused: Wav2Lip) -> None:
    generator = Wav2LipGenerator(fused)
    state = generator.start(person(), Speech(np.full(100, 0.1, np.float32)), Drive())
    assert np.isfinite(generator.generate([item(0.0)], state)[0].pixels).all()


# -- whose face --------------------------------------------------------------------------------------------------------------


def test_an_open_mouth_as_the_reference(fused: Wav2Lip, babble: np.ndarray) -> None:
    """It is cropped by its own landmarks. What the frame's own mouth does is then unknown to the network."""
    from lipsync_core.pixels import ArrayPixels

    generator = Wav2LipGenerator(fused, Wav2LipOptions(reference="open"))
    someone = person()
    picture = np.random.default_rng(4).integers(0, 256, (260, 260, 3), np.uint8)
    reference = FaceCrop(picture.astype(np.float32), np.eye(3)[:2], someone.track.landmarks[0])
    state = generator.start(replace(someone, references=(reference,)), Speech(babble), DRIVEN)
    shown = item(0.8)
    cropped = ArrayPixels(picture).warp(crop_matrix("detector", someone.track, 0, SIZE), (SIZE, SIZE))
    painted = fused(wav2lip_mel(babble)[None, None, :, 64:80], network_input(shown.crop.pixels, cropped))
    expected = dubbed_crop(painted, shown.crop.pixels)
    face = generator.generate([shown], state)[0].pixels
    assert generator.spec.references == 1 and np.abs(face - expected).max() < ROUNDING
    other = shown.crop.pixels.copy()
    other[SIZE // 2:] = 255 - other[SIZE // 2:]
    again = generator.generate([replace(shown, crop=replace(shown.crop, pixels=other))], state)[0].pixels
    assert np.array_equal(again, face) and not np.array_equal(other, shown.crop.pixels)


def test_without_an_open_mouth_each_frame_is_its_own_reference(fused: Wav2Lip, babble: np.ndarray) -> None:
    said: list[str] = []
    faces = []
    for options in (Wav2LipOptions(reference="open"), Wav2LipOptions()):
        generator = Wav2LipGenerator(fused, options)
        faces += generator.generate([item(0.8)], generator.start(person(), Speech(babble), DRIVEN, Hooks(warn=said.append)))
    assert len(said) == 1 and "own reference" in said[0] and np.array_equal(faces[0].pixels, faces[1].pixels)


def test_the_authors_crop(fused: Wav2Lip) -> None:
    """Mean box of five frames from this one on, at the end of the last five, ten pixels more below: edge to edge."""
    rule = Wav2LipGenerator(fused, Wav2LipOptions(upstream_crop=True)).spec.crop
    track = person(12).track
    points = track.landmarks.astype(float)
    boxes = np.concatenate([points.min(1), points.max(1)], 1)
    boxes[:, 1] -= 0.28 * (boxes[:, 3] - boxes[:, 1])
    for row, first in ((0, 0), (3, 3), (7, 7), (9, 7), (11, 7)):
        box = boxes[first:first + 5].mean(0) + [0, 0, 0, 10]
        corners = transform(crop_matrix(rule, track, row, SIZE), box.reshape(2, 2) - 0.5)
        assert np.allclose(corners, [[-0.5, -0.5], [SIZE - 0.5, SIZE - 0.5]], atol=0.5)
    # Of a person who was away in between only the frames near this one count.
    gap = replace(track, frames=np.where(np.arange(12) < 4, np.arange(12), np.arange(12) + 50))
    box = boxes[2:4].mean(0) + [0, 0, 0, 10]
    assert np.allclose(transform(rule(gap, 2, SIZE), box.reshape(2, 2) - 0.5)[1], SIZE - 0.5, atol=0.5)


def test_the_usual_crop_holds_the_face_of_the_frame(fused: Wav2Lip) -> None:
    track = person(12).track
    at = transform(crop_matrix(Wav2LipGenerator(fused).spec.crop, track, 5, SIZE), track.landmarks[5])
    assert at.min() > -0.51 and at.max() < SIZE + 0.5 and at[:, 1].max() < 0.97 * SIZE and at[:, 1].min() > 0.15 * SIZE


# -- options -----------------------------------------------------------------------------------------------------------------


def test_options_are_read_from_words() -> None:
    words = {"upstream_crop": "Yes", "reference": "open", "offset_ms": "-40", "batch": "8", "device": "cpu"}
    assert Wav2LipOptions.read(words) == Wav2LipOptions(True, "open", -40.0, 8)
    assert Wav2LipOptions.read({}) == Wav2LipOptions()


@pytest.mark.parametrize("options", [{"upstream_crop": "maybe"}, {"reference": "best"}, {"offset_ms": "nan"}, {"offset_ms": "1000"},
                                     {"batch": "0"}, {"batch": "1.5"}, {"batch": "many"}, {"steps": "20"}, {"device": "toaster"},
                                     {"precision": "int8"}])
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(LipSyncError, match=f"{re.escape(next(iter(options)))}.*: use ") as error:
        create("nowhere.pth", options)
    assert not isinstance(error.value, CheckpointError)


def test_each_option_says_its_default() -> None:
    usual = Wav2LipOptions()
    assert f"({usual.reference})" in OPTIONS["reference"] and f"({usual.offset_ms:g})" in OPTIONS["offset_ms"]
    assert f"({usual.batch})" in OPTIONS["batch"] and not usual.upstream_crop and "(no)" in OPTIONS["upstream_crop"]


def test_naming_it_costs_nothing() -> None:
    code = "import sys, lipsync_core.generators.wav2lip; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


# -- the pipeline ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"upstream_crop": "yes", "reference": "open", "precision": "bf16"}])
def test_a_dub_changes_mouths_and_nothing_else(network: Wav2Lip, astronaut: np.ndarray, babble: np.ndarray, folder: Path,
                                               options: dict[str, str]) -> None:
    training_dict(network, folder / "wav2lip.pth")
    check_only_mouths_change(create(folder / "wav2lip.pth", options), astronaut, babble[8000:24_000], folder)
