"""LipSyncNet in files: safetensors with the config, and what people should know, in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ...errors import CheckpointError
from ..containers import write_tensors
from .config import LipSyncNetConfig
from .network import LipSyncNet, build

ARCHITECTURE = "lipsyncnet"
MARKS = ("encoder.start.weight", "reader.start.weight", "attend.place", "flow.weight", "end.weight")
"""Tensors that only this network has, all together."""


def detect(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether tensors of these names and shapes are a LipSyncNet. The names tell: sizes are its config's to choose."""
    return all(mark in shapes for mark in MARKS)


def save(network: LipSyncNet, file: Path, card: Mapping[str, str], *, half: bool = False) -> None:
    """Write a network, whole or not at all; `card` are strings for people: data, licence, recipe, figures, limits."""
    dtype = torch.float16 if half else torch.float32
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    metadata = network.config.as_metadata() | {"architecture": ARCHITECTURE} | {f"card.{key}": value for key, value in card.items()}
    write_tensors(file, tensors, metadata)


def load(file: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LipSyncNet:
    """A network from a file of `save`. Raises `CheckpointError`."""
    with safe_open(str(file), framework="pt") as tensors:
        config = LipSyncNetConfig.from_metadata(tensors.metadata() or {})
        state: dict[str, Tensor] = {key: tensors.get_tensor(key).to(dtype) for key in tensors.keys()}
    network = build(config).to(dtype)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{file} does not hold the tensors that its own description names: export it again.") from error
    return network.eval().requires_grad_(False).to(device)
