"""The networks that are known by their tensors: generators, and what else lies about in folders of checkpoints.

To add a generator: a package with `checkpoint.detect(shapes)` and something that makes it from a path and options, and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import CheckpointError
from ..types import Generator
from .choices import device_of, precision_of, refuse_unknown

LIPSYNCNET_OPTIONS = {"precision": "auto (fp16 on a GPU, else fp32), fp32, fp16 or bf16",
                      "device": "torch device that the network is put on (cpu); a host that moves it itself leaves it out"}
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Tensor names, prefixes such as `module.` taken off, and shapes."""


@dataclass(frozen=True)
class Architecture:
    """A generator's network. Its three functions import it only when they are called."""

    name: str
    title: str
    detect: Callable[[Shapes], bool]
    """Whether tensors of these names and shapes are one."""
    create: Callable[[Path, Mapping[str, str]], Generator]
    """The generator of a file (or a folder, where it is published as one); raises `LipSyncError` for files and options."""
    expected: Callable[[], list[Shapes]]
    """What its variants are made of, to tell what is wrong with a file that is nearly one."""


@dataclass(frozen=True)
class OtherNetwork:
    """A network that makes no faces, known so that a file in the wrong place can be called by its name."""

    name: str
    title: str
    marks: tuple[str, ...]
    """Endings of tensor names that only this network has, all together."""
    purpose: str

    def detect(self, shapes: Shapes) -> bool:
        return all(any(name.endswith(mark) for name in shapes) for mark in self.marks)


def _lipsyncnet(shapes: Shapes) -> bool:
    from .lipsyncnet.checkpoint import detect

    return detect(shapes)


def create_lipsyncnet(path: Path, options: Mapping[str, str]) -> Generator:
    """The generator of a file; raises `LipSyncError` for files and options."""
    refuse_unknown("LipSyncNet", options, LIPSYNCNET_OPTIONS)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{path} holds a LipSyncNet without the description that its .safetensors file has: use that file.")
    from .lipsyncnet import checkpoint
    from .lipsyncnet.generator import LipSyncNetGenerator

    device = device_of(options.get("device", "cpu"))
    dtype = precision_of(options.get("precision", "auto"), device)
    return LipSyncNetGenerator(checkpoint.load(path, str(device), dtype))


def _lipsyncnets() -> list[Shapes]:
    import torch

    from .lipsyncnet import PRESETS, build

    with torch.device("meta"):
        states = [build(config).state_dict() for config in PRESETS.values()]
    return [{name: tuple(value.shape) for name, value in state.items()} for state in states]


def _wav2lip(shapes: Shapes) -> bool:
    from .wav2lip.checkpoint import detect

    return detect(shapes)


def _create_wav2lip(path: Path, options: Mapping[str, str]) -> Generator:
    from .wav2lip import create

    return create(path, options)


def _wav2lips() -> list[Shapes]:
    from .wav2lip.checkpoint import VARIANTS, expected_shapes

    return [expected_shapes(variant) for variant in VARIANTS]


def _musetalk(shapes: Shapes) -> bool:
    from .musetalk.checkpoint import detect

    return detect(shapes)


def _create_musetalk(path: Path, options: Mapping[str, str]) -> Generator:
    from .musetalk import create

    return create(path, options)


def _musetalks() -> list[Shapes]:
    from .musetalk.expected import expected_shapes

    return [expected_shapes()]


ARCHITECTURES = (
    Architecture("lipsyncnet", "LipSyncNet", _lipsyncnet, create_lipsyncnet, _lipsyncnets),
    Architecture("wav2lip", "Wav2Lip", _wav2lip, _create_wav2lip, _wav2lips),
    Architecture("musetalk", "MuseTalk", _musetalk, _create_musetalk, _musetalks),
)
RESTORES = "which restores faces (dub --restore)"
OTHERS = (
    OtherNetwork("syncnet", "SyncNet v2", ("netcnnaud.0.weight", "netfclip.0.weight"), "which scores dubs (evaluate)"),
    OtherNetwork("wav2lip-expert", "Wav2Lip's sync expert", ("face_encoder.0.conv_block.0.weight", "audio_encoder.0.conv_block.0.weight"),
                 "which judged Wav2Lip in training"),
    OtherNetwork("wav2lip-discriminator", "Wav2Lip's picture discriminator", ("binary_pred.0.weight",),
                 "which judged Wav2Lip in training"),
    OtherNetwork("gfpgan", "GFPGAN", ("toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight"), RESTORES),
    OtherNetwork("codeformer", "CodeFormer", ("position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"), RESTORES),
    OtherNetwork("restoreformer", "RestoreFormer", ("quantize.embedding.weight", "quant_conv.weight", "decoder.conv_out.weight"), RESTORES),
    OtherNetwork("sd-vae", "an image VAE of Stable Diffusion", ("encoder.conv_in.weight", "decoder.conv_in.weight"),
                 "one of MuseTalk's three parts"),
    OtherNetwork("whisper", "Whisper", ("encoder.embed_positions.weight",), "one of MuseTalk's three parts"),
)


def recognise(shapes: Shapes) -> Architecture | OtherNetwork | None:
    """Whose tensors these are; None = of nothing that is known."""
    return next((item for item in (*ARCHITECTURES, *OTHERS) if item.detect(shapes)), None)
