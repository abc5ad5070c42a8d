"""A trained network -> the half-precision safetensors file that ships."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from ...faces.networks import folded


def export(network: nn.Module, file: Path, metadata: dict[str, str]) -> None:
    """Fold batch normalisation, halve the precision, write `file` atomically."""
    state = {key: value.detach().cpu().to(torch.float16).contiguous() for key, value in folded(network).state_dict().items()}
    partial = file.with_name(file.name + ".partial")
    save_file(state, partial, metadata=metadata)
    partial.replace(file)
