"""Who is who: which tracks are the same person, over cuts and absences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..types import FaceTrack
from .album import Album, Portrait
from .embedding import chip, describe

SAME = 0.45
"""Distance of two tracks' mean embeddings up to which they are one person. dlib's own threshold for two single pictures is 0.6; means of
several lie nearer to each other: pieces of one clip up to 0.39, those of two people down to 0.40 (`python -m
lipsync_core.training.identity measure`)."""
UNSURE = (0.38, 0.55)
"""Distances between which a judgement may well be wrong."""
PICTURES = 5
"""Portraits of a track that are looked at."""
TURNED = 35.0
"""Degrees of yaw beyond which a face is taken only where there is no better one."""


@dataclass(frozen=True)
class People:
    """Tracks by person."""

    groups: list[list[int]]
    """Numbers of tracks, a list for each person, in order of appearance."""
    unsure: list[tuple[int, int, float]] = field(default_factory=list)
    """Pairs of tracks, and their distance, of which it is hard to tell whether they are one person."""


def same_people(tracks: Sequence[FaceTrack], albums: Sequence[Album],
                look: Callable[[Sequence[np.ndarray]], np.ndarray] = describe) -> People:
    """Group `tracks` by person; `albums` in the order of `FaceTrack.track_id`, `look` as `embedding.describe`.

    Tracks that share a frame are never one person. A track without a portrait stays alone, and where nobody could be anybody else the
    network is not even loaded.
    """
    order = sorted(tracks, key=lambda track: (int(track.frames[0]), track.track_id))
    apart = np.array([[_meet(a, b) for b in order] for a in order], bool).reshape(len(order), len(order))
    if apart.all():
        return People([[track.track_id] for track in order])
    means = [mean_of(track, albums[track.track_id], look) for track in order]
    distance = np.full(apart.shape, np.inf)
    for i, a in enumerate(means):
        for j, b in enumerate(means):
            if a is not None and b is not None and not apart[i, j]:
                distance[i, j] = float(np.linalg.norm(a - b))
    groups = _joined(distance, apart)
    unsure = [(order[i].track_id, order[j].track_id, round(float(distance[i, j]), 3)) for i in range(len(order)) for j in range(i)
              if UNSURE[0] < distance[i, j] < UNSURE[1]]
    return People([[order[i].track_id for i in sorted(group)] for group in sorted(groups, key=min)], unsure)


def _meet(a: FaceTrack, b: FaceTrack) -> bool:
    """Whether two tracks share a frame (or are the same one)."""
    return a is b or bool(np.isin(a.frames, b.frames, assume_unique=True).any())


def mean_of(track: FaceTrack, album: Album, look: Callable[[Sequence[np.ndarray]], np.ndarray]) -> np.ndarray | None:
    """Mean embedding of a track's best portraits: (128,)."""
    chips = [chip(portrait.pixels, landmarks) for portrait, landmarks in _best(track, album.portraits)]
    return look(chips).mean(0) if chips else None


def _best(track: FaceTrack, portraits: Sequence[Portrait]) -> list[tuple[Portrait, np.ndarray]]:
    """Up to `PICTURES` portraits and the landmarks (68, 2) in them, those that look into the camera first."""
    found = []
    for portrait in portraits:
        row = int(np.searchsorted(track.frames, portrait.frame))
        if row < len(track) and track.frames[row] == portrait.frame:
            found.append((abs(float(track.pose[row, 0])), portrait, track.landmarks[row] - portrait.corner))
    found.sort(key=lambda item: item[0])
    straight = [item for item in found if item[0] <= TURNED]
    return [(portrait, landmarks) for _, portrait, landmarks in (straight or found[:1])[:PICTURES]]


def _joined(distance: np.ndarray, apart: np.ndarray) -> list[set[int]]:
    """The nearest two groups are joined (mean distance of their members), again and again, while they are near enough and never meet."""
    groups = [{i} for i in range(len(distance))]
    while True:
        best, pair = SAME, None
        for i, a in enumerate(groups):
            for j, b in enumerate(groups[:i]):
                if any(apart[x, y] for x in a for y in b):
                    continue
                mean = float(np.mean([distance[x, y] for x in a for y in b]))
                if mean < best:
                    best, pair = mean, (i, j)
        if pair is None:
            return groups
        groups[pair[1]] |= groups.pop(pair[0])
