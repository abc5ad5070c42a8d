"""Wav2Lip from its public checkpoints: 96 pixels, and the 288 pixel variant. Its weights are for non-commercial use only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .options import OPTIONS, Wav2LipOptions

if TYPE_CHECKING:
    from .generator import Wav2LipGenerator

ARCHITECTURE = "wav2lip"


def create(path: str | Path, options: Mapping[str, str] | None = None) -> Wav2LipGenerator:
    """The generator of a checkpoint file; `options` by `OPTIONS`.

    Raises `CheckpointError` for a file that is missing or not Wav2Lip's, `LipSyncError` for options.
    """
    options = dict(options or {})
    chosen = Wav2LipOptions.read(options)
    from ..choices import device_of, precision_of
    from .checkpoint import load
    from .generator import Wav2LipGenerator

    device = device_of(options.get("device", "cpu"))
    dtype = precision_of(options.get("precision", "auto"), device)
    return Wav2LipGenerator(load(path, dtype).to(device), chosen)


__all__ = ["ARCHITECTURE", "OPTIONS", "Wav2LipOptions", "create"]
