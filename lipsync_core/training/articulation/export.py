"""Trained networks -> the file that ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...generators.morph.articulation_net import ArticulationNet


def export(networks: Sequence[ArticulationNet], file: Path) -> None:
    """The ensemble's weights, half precision, batch statistics included."""
    tensors = {f"members.{i}.{key}": value.half().contiguous() if value.dtype == torch.float32 else value
               for i, network in enumerate(networks) for key, value in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
