"""From a file to its generator: recognised by tensors, never by names of files; what is not recognised is explained."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lipsync_core.errors import CheckpointError, LipSyncError
from lipsync_core.generators import create_generator, parse_options
from lipsync_core.generators.architectures import ARCHITECTURES, OTHERS, recognise
from lipsync_core.generators.lipsyncnet import build, checkpoint, preset
from lipsync_core.generators.musetalk.expected import expected_shapes
from lipsync_core.generators.nearest import describe_unknown, nearest
from lipsync_core.generators.wav2lip.checkpoint import VARIANTS
from lipsync_core.generators.wav2lip.checkpoint import expected_shapes as wav2lip_shapes

WAV2LIP = wav2lip_shapes(VARIANTS[0])


def test_musetalks_unet_is_as_large_as_published() -> None:
    shapes = expected_shapes()
    assert len(shapes) == 686 and sum(map(prod, shapes.values())) == 849_947_844
    named = {"down_blocks.2.resnets.0.conv_shortcut.weight": (1280, 640, 1, 1), "up_blocks.1.resnets.2.conv1.weight": (1280, 1920, 3, 3),
             "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280)}
    assert {name: shapes[name] for name in named} == named


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda item: item.name)
def test_each_knows_its_own_and_no_others(architecture) -> None:
    variants = architecture.expected()
    assert variants and all(recognise(shapes) is architecture and len(shapes) > 100 for shapes in variants)
    assert all(nearest(shapes).architecture is architecture and not nearest(shapes).differences for shapes in variants)


@pytest.mark.parametrize("name", ["syncnet", "wav2lip-expert", "wav2lip-discriminator", "sd-vae", "whisper"])
def test_what_is_no_generator_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    other = next(item for item in OTHERS if item.name == name)
    save_file({mark: torch.zeros(1) for mark in other.marks}, tmp_path / "given.safetensors")
    with pytest.raises(CheckpointError) as error:
        create_generator(tmp_path / "given.safetensors")
    assert other.title in str(error.value) and "makes no faces" in str(error.value)


def test_the_first_tensors_that_differ_are_named() -> None:
    """A Wav2Lip with a wider first layer, one tensor gone, and one too many."""
    shapes = dict(WAV2LIP)
    first = "face_encoder_blocks.0.0.conv_block.0.weight"
    shapes[first] = (32, 6, 7, 7)
    del shapes["output_block.1.bias"]
    shapes["extra.weight"] = (1,)
    assert recognise(shapes) is None
    said = describe_unknown(shapes)
    assert "Wav2Lip is nearest (350 of 352 tensors are alike)" in said
    assert f"{first} is 32x6x7x7 instead of 16x6x7x7, output_block.1.bias is missing, extra.weight is none of its tensors" in said
    assert 0.98 < nearest(shapes).likeness < 1


def test_stable_diffusions_unet_is_nearly_musetalks() -> None:
    """Four channels in, and text of width 768 instead of sound of 384."""
    shapes = {name: (*shape[:1], 768) if ".attn2.to_k." in name or ".attn2.to_v." in name else shape
              for name, shape in expected_shapes().items()} | {"conv_in.weight": (320, 4, 3, 3)}
    assert "MuseTalk is nearest (653 of 686" in describe_unknown(shapes)
    assert "conv_in.weight is 320x4x3x3 instead of 320x8x3x3" in describe_unknown(shapes) and "and 30 more" in describe_unknown(shapes)


def test_an_unknown_file_is_explained_in_one_sentence(tmp_path: Path) -> None:
    """Half a Wav2Lip, as a training program wraps it, under a name that says nothing; and something else altogether."""
    half = {f"module.{name}": torch.zeros(shape) for name, shape in WAV2LIP.items() if name.startswith("audio_encoder")}
    torch.save({"state_dict": half}, tmp_path / "lipsyncnet.pt")
    save_file({"a.weight": torch.zeros(2), "b.weight": torch.zeros(2)}, tmp_path / "wav2lip_gan.safetensors")
    for name, words in (("lipsyncnet.pt", "Wav2Lip is nearest"), ("wav2lip_gan.safetensors", "begins with a.weight, b.weight")):
        with pytest.raises(CheckpointError) as error:
            create_generator(tmp_path / name)
        said = str(error.value)
        assert words in said and name in said and "morph" in said and "\n" not in said and said.endswith(".")


def test_options_go_to_the_generator(tmp_path: Path) -> None:
    file = tmp_path / "ours.safetensors"
    checkpoint.save(build(preset("tiny", size=64)), file, {"data": "noise"})
    generator = create_generator(file, {"precision": "bf16"})
    assert next(generator.network.parameters()).dtype == torch.bfloat16
    for name, options, words in (("morph", {"size": "1"}, "morph takes no options: leave out size"),
                                 (file, {"sise": "1"}, "LipSyncNet has no option 'sise': use precision, device"),
                                 (file, {"precision": "fp8"}, "fp16"), (file, {"device": "abacus"}, "no device 'abacus'")):
        with pytest.raises(LipSyncError, match=words):
            create_generator(name, options)


def test_options_as_they_are_written() -> None:
    assert parse_options(["offset_ms=40", "where=a=b"]) == {"offset_ms": "40", "where": "a=b"} and parse_options([]) == {}
    for word in ("offset", "=4", "offset="):
        with pytest.raises(LipSyncError, match="KEY=VALUE"):
            parse_options([word])


def test_folders(tmp_path: Path) -> None:
    """MuseTalk's is taken as one, and says what is missing; any other is none."""
    (tmp_path / "MuseTalk").mkdir()
    with pytest.raises(CheckpointError, match="not complete"):
        create_generator(tmp_path / "MuseTalk")
    with pytest.raises(CheckpointError, match="is a folder"):
        create_generator(tmp_path)
    (tmp_path / "musetalkV15").mkdir()
    (tmp_path / "musetalkV15" / "unet.pth").touch()
    with pytest.raises(CheckpointError, match="musetalk.json"):
        create_generator(tmp_path)
