"""What a LipSyncNet is made of: one dataclass, four presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ...errors import CheckpointError

TUPLES, FLOATS = ("channels",), ("soft", "contrast")


@dataclass(frozen=True)
class LipSyncNetConfig:
    """Everything that decides the tensors of a network. Stored as strings in a checkpoint's metadata.

    Parameters in millions, and multiply-adds in 10^9 of one face of one frame (its references were encoded once for the clip), computed
    by `tests/unit/test_lipsyncnet.py`:

    | preset | parameters | 128 px | 256 px | 512 px |
    |---|---|---|---|---|
    | tiny | 0.9 | 0.7 | 3.0 | 16.7 |
    | small | 3.5 | 2.5 | 10.5 | 51.7 |
    | base | 51.4 | 11.8 | 47.4 | 191.4 |
    | large | 249.1 | 47.7 | 191.2 | 769.5 |
    """

    size: int = 128
    """Side of the picture that is drawn, pixels."""
    channels: tuple[int, ...] = (32, 64, 96)
    """Features at a half, a quarter, an eighth ... of the picture's size; at least two."""
    depth: int = 1
    """Residual steps at each size."""
    references: int = 2
    """Reference pictures it is given (1 to 5); fewer are repeated."""
    soft: float = 0.0
    """Gaussian sigma, pixels, through which what is drawn goes in use (not in training), so that the finest detail stays the warp's own; 0:
    it draws that too."""
    contrast: float = 1.0
    """In use (not in training) what lies in open mouths is so many times as far from its mean: where a network doubts it greys. What
    `training.lipsyncnet evaluate` finds missing is set by `export`."""

    def __post_init__(self) -> None:
        levels = len(self.channels)
        if levels < 2 or any(c < 8 or c % 8 for c in self.channels) or not 1 <= self.depth <= 16 or not 0 <= self.soft <= 8 \
                or not 0.5 <= self.contrast <= 2:
            raise CheckpointError(f"A LipSyncNet of channels {self.channels}, depth {self.depth}, soft {self.soft} and contrast "
                                  f"{self.contrast} can't be built: use one of the presets {', '.join(PRESETS)}.")
        if not 32 <= self.size <= 1024 or self.size % 2**levels or not 1 <= self.references <= 5:
            raise CheckpointError(f"A LipSyncNet of {self.size} px with {levels} resolutions and {self.references} references can't be "
                                  f"built: use one of the presets {', '.join(PRESETS)}.")

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
                if f.name not in metadata and f.name == "contrast":   # a file from before there was one
                    continue
                text = metadata[f.name]
                values[f.name] = (tuple(int(part) for part in text.split(",")) if f.name in TUPLES
                                  else float(text) if f.name in FLOATS else int(text))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"The checkpoint does not say what its network is made of ({error}): export it again.") from error
        return cls(**values)


PRESETS: dict[str, LipSyncNetConfig] = {}
PRESETS |= {
    "tiny": LipSyncNetConfig(soft=1.0),
    "small": LipSyncNetConfig(channels=(64, 128, 192)),
    "base": LipSyncNetConfig(size=256, channels=(96, 192, 384, 512), depth=2),
    "large": LipSyncNetConfig(size=256, channels=(160, 320, 640, 984), depth=3, references=3),
}
"""`tiny` for tests and CPUs, whose teeth keep the warp's detail, since what so few weights know of teeth is a grey mean; `small` and `base`
for one consumer GPU, `large` as many parameters as NVIDIA's (2.5 x 10^8)."""


def preset(name: str, **changes: Any) -> LipSyncNetConfig:
    """A preset with changes. Raises `CheckpointError` for an unknown name."""
    if name not in PRESETS:
        raise CheckpointError(f"There is no preset {name!r}: use {', '.join(PRESETS)}.")
    return dataclasses.replace(PRESETS[name], **changes)
