"""How well tracks are told apart: pieces of real clips, the same person's and different persons'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...analysis import analyse
from ...faces import create_backend
from ...faces.embedding import describe
from ...faces.identity import mean_of
from ...media import VideoSource
from ...types import Hooks

PIECE = 2.0
"""Seconds of a clip that stand for a shot."""


@dataclass(frozen=True)
class Pair:
    """Two pieces, and how far apart their people are."""

    distance: float
    clips: tuple[str, str]


def pieces(file: Path, count: int = 3) -> list[tuple[str, np.ndarray]]:
    """Up to `count` pieces from all over a clip: its name, and the mean embedding (128,) of the largest face."""
    backend, seconds = create_backend(), VideoSource(file).info.duration
    length = min(PIECE, seconds / 2)
    found = []
    for start in np.linspace(0, seconds - length, count if seconds > 2 * PIECE else 2):
        analysis = analyse(VideoSource(file, start=float(start), duration=length), backend, Hooks())
        mean = mean_of(analysis.tracks[0], analysis.albums[0], describe) if analysis.tracks else None
        if mean is not None:
            found.append((file.stem, mean))
    return found


def pairs_of(files: list[Path]) -> tuple[list[Pair], list[Pair]]:
    """Pairs of pieces of one clip, and of two clips, nearest first."""
    found = [piece for file in files for piece in pieces(file)]
    pairs = [Pair(float(np.linalg.norm(a - b)), (one, other)) for i, (one, a) in enumerate(found) for other, b in found[:i]]
    pairs.sort(key=lambda pair: pair.distance)
    return [pair for pair in pairs if pair.clips[0] == pair.clips[1]], [pair for pair in pairs if pair.clips[0] != pair.clips[1]]
