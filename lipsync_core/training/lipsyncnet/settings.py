"""What a training is told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...errors import LipSyncError
from ...generators.lipsyncnet import LipSyncNetConfig, preset

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Settings:
    """Raises `LipSyncError` for values that make no training."""

    preset: str = "tiny"
    size: int = 0
    """Side of the pictures; 0: the preset's own."""
    batch: int = 8
    """Pairs a step, all processes together."""
    rate: float = 5e-4
    """Learning rate after `warmup` steps; it falls along a cosine to 3 % of it."""
    warmup: int = 200
    minutes: float = 20.0
    """Of this call."""
    steps: int = 0
    """0: as many as `minutes` allow, the rate falling with the time. Else the rate falls with the steps, and a run that was broken off
    goes on as if it had not been."""
    judge_after: float = 0.1
    """Share of the training after which the discriminator says anything."""
    judged: float = 0.3
    """Weight of what it says."""
    seed: int = 0
    precision: str = "auto"
    """auto (bf16 where the device has it and is no CPU, else fp32), fp32, bf16 or fp16."""
    start: str = ""
    """Weights of another run to begin with, a file."""
    judge_rate: float = 0.4
    """The discriminator's learning rate over the network's: at 1e-3 it told nothing apart, at 2e-4 it does (docs/training.md)."""
    average: float = 0.998
    """Of the running mean of the weights, which is what is kept."""
    tell_every: float = 60.0
    """Seconds between lines of the log, and checkpoints."""
    watch_every: int = 5
    """Lines between held-out measures and pictures."""
    patience: int = 0
    """Held-out measures without a better one after which a training stops; 0: never."""
    piece_mb: float = 0.0
    """Largest file of a checkpoint; 0: one file."""

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch < 1 or self.steps < 0 or self.rate <= 0 or self.watch_every < 1 or self.patience < 0:
            raise LipSyncError("A training needs minutes, a batch and a rate above 0, and steps and patience that are not below 0.")
        if self.precision not in PRECISIONS:
            raise LipSyncError(f"{self.precision!r} is no precision: use {', '.join(PRECISIONS)}.")

    def config(self) -> LipSyncNetConfig:
        """Raises `CheckpointError` (no such preset, or no such size of it)."""
        found = preset(self.preset)
        return dataclasses.replace(found, size=self.size) if self.size else found
