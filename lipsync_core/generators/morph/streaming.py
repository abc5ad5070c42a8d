"""The articulation networks at work: speech in, in one piece or as it comes, the mouth's channels out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...dsp import LEVEL_WINDOW, frame_levels, hz_to_mel, mel_to_hz
from ...inference import WEIGHTS, inference, load_network
from ...types import SPEECH_RATE
from .articulation_net import BANDS, CHANNELS, CLASSES, LEFT, RATE, RIGHT, STRIDE, ArticulationNet, Loudness, normalise

FILE = WEIGHTS / "articulation.safetensors"
HOP = round(SPEECH_RATE / RATE)
LOOK_AHEAD = (RIGHT * STRIDE + 3) / RATE + LEVEL_WINDOW / 2 / SPEECH_RATE
"""Seconds of speech after a moment that its mouth shape needs: 0.186."""


THROATS = (-0.08, 0.0, 0.08)
"""Every recording is heard as it is, and as from a longer and a shorter throat: the mean knows unseen speakers a little better."""


def throat(change: float) -> Tensor:
    """(BANDS, BANDS) that reads normalised levels as if frequencies were exp(change) times as high."""
    low, high = hz_to_mel(60.0), hz_to_mel(7600.0)
    centres = mel_to_hz(np.linspace(low, high, BANDS + 2))[1:-1]
    position = np.clip((hz_to_mel(centres / np.exp(change)) - low) / (high - low) * (BANDS + 1) - 1, 0, BANDS - 1.001)
    below, rows = position.astype(int), np.arange(BANDS)
    matrix = np.zeros((BANDS, BANDS), np.float32)
    matrix[rows, below] = 1 - (position - below)
    matrix[rows, below + 1] += (position - below).astype(np.float32)
    return torch.from_numpy(matrix)


class Ensemble(nn.Module):
    """Networks that were taught apart, averaged: (B, BANDS, T) -> (B, 6 + 1, T // 2), the last one the chance that nobody speaks."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.members = nn.ModuleList(ArticulationNet(width) for width in widths)
        self.register_buffer("throats", torch.stack([throat(change) for change in THROATS]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        voices = torch.einsum("vij,bjt->vbit", self.throats, x).flatten(0, 1)
        found = []
        for member in self.members:
            mouth, logits = member(voices)
            found.append(torch.cat([mouth, logits.softmax(1)[:, CLASSES.index("silence"), None]], 1))
        return torch.stack(found).unflatten(1, (len(THROATS), len(x))).mean((0, 1))


QUIET = -4.0
"""Normalised level of silence: what is heard before and after a recording."""


@dataclass(frozen=True)
class StreamState:
    """What is kept between two pieces of speech."""

    samples: np.ndarray = field(default_factory=lambda: np.zeros(LEVEL_WINDOW // 2, np.float32))
    """Those that the next level's window begins with; before the recording there is silence."""
    levels: np.ndarray = field(default_factory=lambda: np.full((STRIDE * (LEFT + 2), BANDS), QUIET, np.float32))
    """Normalised levels that shapes to come still look at."""
    loudness: Loudness = Loudness()
    skip: int = LEFT + 2
    """Shapes of `levels` that were given out already."""


class Articulator:
    """The bundled networks, `hearing.listening.SHAPE_RATE` (`RATE` / `STRIDE`) rows a second. `feed` has no state of its own: whoever
    calls it keeps the `StreamState`."""

    def __init__(self, file: Path = FILE) -> None:
        self.networks = load_network(Ensemble(_widths(file)), file)

    def feed(self, samples: np.ndarray, state: StreamState, *, last: bool = False) -> tuple[np.ndarray, StreamState]:
        """The next samples (n,) float32 at 16 kHz -> the shapes (m, 7) that are certain now, at `SHAPE_RATE`, and the next state.

        Columns are `CHANNELS` and the chance of silence, 0..1. Shape i of the whole stream belongs to i / SHAPE_RATE seconds; it
        comes when `LOOK_AHEAD` seconds after it are known, or with `last`. One piece or many give the same shapes.
        """
        pending = np.concatenate([state.samples, np.asarray(samples, np.float32)])
        if last:
            pending = np.pad(pending, (0, LEVEL_WINDOW // 2))
        count = max(0, (len(pending) - LEVEL_WINDOW) // HOP + 1)
        fresh = frame_levels(pending[:(count - 1) * HOP + LEVEL_WINDOW], BANDS, HOP) if count else np.zeros((0, BANDS), np.float32)
        fresh, loudness = normalise(fresh, state.loudness)
        levels = np.concatenate([state.levels, fresh])
        ready = len(levels) // STRIDE if last else max((len(levels) - 4) // STRIDE - RIGHT + 1, 0)
        if last:
            levels = np.pad(levels, ((0, STRIDE * (RIGHT + 2)), (0, 0)), constant_values=QUIET)
        shapes = np.zeros((0, len(CHANNELS) + 1), np.float32)
        if ready > state.skip:
            with inference():
                found = self.networks(torch.from_numpy(np.ascontiguousarray(levels.T))[None])[0].T
            shapes = found[state.skip:ready].numpy()
        done = max(ready, state.skip)
        drop = max(0, done - LEFT - 2)
        return shapes, StreamState(pending[count * HOP:], levels[STRIDE * drop:], loudness, done - drop)


def _widths(file: Path) -> tuple[int, ...]:
    """The widths of the networks in a file; none where it can't be read, which `load_network` then says."""
    try:
        with safe_open(str(file), framework="pt") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys() if name.endswith(".first.bias")}
    except (SafetensorError, OSError):
        return ()
    return tuple(shapes[name][0] for name in sorted(shapes))
