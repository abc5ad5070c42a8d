"""A sync score that needs no file: does the mouth do what a listener expects of the sound?

The listener is a linear reading of the bundled speech encoder. No generator uses it, and the openings of the people who taught it taught
the generator's reading nothing (their width and jaw did); its weights (`weights/sync_witness.safetensors`) have a card.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from ..hearing.encoder import WIDTH
from ..hearing.listening import SHAPE_RATE, TAPS, heard, load_encoder
from ..hearing.reading import LATER
from ..inference import WEIGHTS, inference, load_network
from ..types import SPEECH_RATE
from .curves import Curves
from .truth_measures import best_lag

FILE = WEIGHTS / "sync_witness.safetensors"

class Witness(nn.Module):
    """Features (m, len(TAPS), 288) -> the opening of the lips (m,), relative to the speaker's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(len(TAPS) * WIDTH, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.features(features.flatten(1))[:, 0]


@lru_cache(maxsize=1)
def load_witness() -> Witness:
    """The bundled reading; raises `CheckpointError`."""
    return load_network(Witness(), FILE)


def expected(samples: np.ndarray, start: float = 0.0) -> Curves:
    """The opening that speech (n,) float32 at 16 kHz, heard from `start` seconds on, lets expect: curves without width and lips, the
    opening in shares of a person's range off the mean."""
    rows = int(len(samples) / SPEECH_RATE * SHAPE_RATE)
    witness, parts = load_witness(), [np.zeros(0, np.float32)]
    for features in heard(load_encoder(), np.asarray(samples, np.float32), rows):
        with inference():
            parts.append(witness(features).numpy())
    unknown = np.full(rows, np.nan)
    return Curves(start + LATER + np.arange(rows) / SHAPE_RATE, np.concatenate(parts).astype(np.float64), unknown,
                  np.full((rows, 20, 2), np.nan))


def heard_sync(mouth: Curves, sound: Curves) -> tuple[float | None, float | None]:
    """Pearson's r of the lips' opening with what a listener expects of the sound (`expected`), at the best lag within 0.3 s, and that
    lag in ms. Positive: the mouth comes late.

    True lips of people that the listener never saw have 0.70 (median of 22 clips, from 0.51): that is its ceiling, and where a true
    clip is given its own stands beside the dub's. 0.5 and more is good; within 40 ms is good. Fooled by a mouth made by this very
    listener's rules, which beats true lips; by clips of a few seconds, in which unrelated mouths reach 0.3; by music and several
    voices. Blind to width and to how far lips open.
    """
    lag, r = best_lag(mouth, sound)
    return r, lag
