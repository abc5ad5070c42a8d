"""Wav2Lip: built as its checkpoints are, and read from whatever holds them."""

from __future__ import annotations

import copy
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from random_checkpoints import random_wav2lip, save_as_trained
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from lipsync_core.errors import CheckpointError
from lipsync_core.generators.containers import read_tensors, tensor_shapes
from lipsync_core.generators.wav2lip import checkpoint, create
from lipsync_core.generators.wav2lip.network import Wav2Lip, Wav2Lip288

SIZE = 96
ROUNDING = 0.01
"""Of 255 levels: what sums in another order come to after some fifty layers."""


@pytest.fixture(scope="module")
def network() -> Wav2Lip:
    return random_wav2lip()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Emptied at once: checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(5)
    return torch.rand(batch, 1, 80, 16, generator=noise) * 8 - 4, torch.rand(batch, 6, SIZE, SIZE, generator=noise)


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
    assert torch.allclose(block(x), (block.conv_block[1](block.conv_block[0](x)) + x).relu(), atol=1e-6)


def test_folding_the_batch_norms_changes_nothing(network: Wav2Lip) -> None:
    fused = copy.deepcopy(network).fuse()
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
        assert part.shape == whole[:, :, first:].shape and (part - whole[:, :, first:]).abs().max() < 1e-4
        assert work.get_total_flops() < 0.7 * whole_work.get_total_flops()
    assert whole[:, :, half:].std() > 0.02


# -- files -------------------------------------------------------------------------------------------------------------------


CONTAINERS: dict[str, Callable[[Wav2Lip, Path], None]] = {
    "training.pth": save_as_trained,
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
