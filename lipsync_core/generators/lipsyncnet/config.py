"""What a LipSyncNet is made of: one dataclass, three presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ...errors import CheckpointError

SIZES = (96, 128, 192, 256, 384, 512)
"""Sides of the crop that a network may be built for, pixels."""


@dataclass(frozen=True)
class LipSyncNetConfig:
    """Everything that decides the tensors of a network. Stored as strings in a checkpoint's metadata.

    Parameters in millions, and multiply-adds in 10^9 of one face of one frame (its references were encoded once for the clip, which
    takes about as much), computed by `tests/unit/test_lipsyncnet.py`:

    | preset | parameters | 128 px | 256 px | 512 px |
    |---|---|---|---|---|
    | tiny | 2.9 | 1.0 | 4.1 | 16.4 |
    | base | 59.4 | 5.7 | 22.6 | 90.5 |
    | large | 249.1 | 14.2 | 56.8 | 227.0 |
    """

    size: int = 256
    """Side of the crop, pixels."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 512, 768)
    """Features at the crop's own resolution, at half of it, and so on."""
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2, 2)
    """Residual blocks of encoder and decoder at each of these."""
    references: int = 3
    """Most reference crops it is given (at least 1, at most 5); fewer are repeated."""
    flow_level: int = 2
    """Index into `channels` of the resolution at which the references' deformation is told."""
    flow_width: int = 128
    """Features of the network that tells it."""
    audio_width: int = 256
    """Features of the sound's convolutions."""
    audio_hidden: int = 384
    """State of each recurrent layer over time."""
    audio_layers: int = 2
    embedding: int = 512
    """What modulates the decoder, for each frame."""

    def __post_init__(self) -> None:
        levels = len(self.channels)
        if self.size % 2 ** (levels - 1) or len(self.blocks) != levels or not 1 <= self.references <= 5:
            raise CheckpointError(f"A LipSyncNet of {self.size} px with {levels} resolutions, blocks {self.blocks} and "
                                  f"{self.references} references can't be built: use one of the presets {', '.join(PRESETS)}.")
        if not 0 < self.flow_level < levels:
            raise CheckpointError(f"There is no resolution {self.flow_level} to tell a deformation at: choose 1 to {levels - 1}.")

    def as_metadata(self) -> dict[str, str]:
        """Strings, as safetensors keeps them."""
        return {f.name: ",".join(map(str, v)) if isinstance(v := getattr(self, f.name), tuple) else str(v)
                for f in dataclasses.fields(self)}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> LipSyncNetConfig:
        """Raises `CheckpointError` where something is missing or no number."""
        values: dict[str, Any] = {}
        try:
            for f in dataclasses.fields(cls):
                text = metadata[f.name]
                values[f.name] = tuple(int(part) for part in text.split(",")) if f.name in ("channels", "blocks") else int(text)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"The checkpoint does not say what its network is made of ({error}): export it again.") from error
        return cls(**values)


PRESETS: dict[str, LipSyncNetConfig] = {
    "tiny": LipSyncNetConfig(size=128, channels=(16, 24, 48, 96, 128), blocks=(1, 1, 1, 1, 1), references=2, flow_level=2, flow_width=48,
                             audio_width=96, audio_hidden=128, audio_layers=1, embedding=128),
    "base": LipSyncNetConfig(channels=(24, 48, 96, 192, 352, 480), blocks=(1, 1, 2, 2, 2, 2), references=3, flow_level=2, flow_width=96,
                             audio_width=192, audio_hidden=320, audio_layers=2, embedding=384),
    "large": LipSyncNetConfig(channels=(32, 64, 128, 256, 576, 912), blocks=(1, 2, 2, 2, 3, 3), references=3, flow_level=2,
                              flow_width=160, audio_width=320, audio_hidden=640, audio_layers=3, embedding=640),
}
"""`tiny` for tests and CPUs, `base` for one consumer GPU, `large` as many parameters as NVIDIA's (2.5 x 10^8)."""


def preset(name: str, **changes: Any) -> LipSyncNetConfig:
    """A preset with changes. Raises `CheckpointError` for an unknown name."""
    if name not in PRESETS:
        raise CheckpointError(f"There is no preset {name!r}: use {', '.join(PRESETS)}.")
    return dataclasses.replace(PRESETS[name], **changes)
