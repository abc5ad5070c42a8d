"""From a run's weights to the file that ships: half precision, with the words of its card in its metadata."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ...generators.lipsyncnet import checkpoint

CARD = ("data", "licence", "recipe", "figures", "limits")
"""What people should know of weights."""


def export(weights: Path, file: Path, card: dict[str, str], **use: float) -> None:
    """`weights` of a run (`best.safetensors`, `lipsyncnet.safetensors`) -> float16 `file`; `use`: another `soft` or `contrast` of its
    config. Raises `CheckpointError`."""
    network = checkpoint.load(weights)
    network.config = dataclasses.replace(network.config, **use)
    checkpoint.save(network, file, card, half=True)
