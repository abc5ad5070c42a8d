"""From a run's weights to the file that ships: half precision, with the words of its card in its metadata."""

from __future__ import annotations

from pathlib import Path

from ...generators.lipsyncnet import checkpoint

CARD = ("data", "licence", "recipe", "figures", "limits")
"""What people should know of weights."""


def export(weights: Path, file: Path, card: dict[str, str]) -> None:
    """`weights` of a run (`best.safetensors`, `lipsyncnet.safetensors`) -> float16 `file`. Raises `CheckpointError`."""
    checkpoint.save(checkpoint.load(weights), file, card, half=True)
