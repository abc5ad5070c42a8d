"""MuseTalk 1.0 and 1.5 (Lyra Lab, Tencent Music, 2024 and 2025) from their published files: one-step inpainting of latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .generator import MuseTalkGenerator

OPTIONS = {
    "precision": "auto (fp16 on a GPU, else fp32), fp32, fp16 or bf16",
    "batch": "faces at a time at most, 1 to 64 (8)",
    "device": "torch device that the networks are put on (cpu); a host that moves them itself leaves it out",
}
"""What `create` may be told, and the values."""


def create(path: str | Path, options: Mapping[str, str] | None = None) -> MuseTalkGenerator:
    """The generator in MuseTalk's folder, or that of the UNet's file in it; `options` by `OPTIONS`.

    Raises `CheckpointError` for files that are missing or wrong, `LipSyncError` for options, and where diffusers or transformers
    are missing.
    """
    from ..choices import device_of, number, precision_of, refuse_unknown
    from .checkpoint import load
    from .generator import BATCH, MuseTalkGenerator

    options = dict(options or {})
    refuse_unknown("MuseTalk", options, OPTIONS)
    batch = int(number("batch", options.get("batch", str(BATCH)), 1, 64, whole=True))
    device = device_of(options.get("device", "cpu"))
    dtype = precision_of(options.get("precision", "auto"), device)
    return MuseTalkGenerator(load(Path(path), dtype).to(device), batch)


__all__ = ["OPTIONS", "create"]
