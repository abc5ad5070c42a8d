"""Who is there to choose from: one frame of a clip and everybody's place in it, numbered from the left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from .faces import FaceBackend, Tracker
from .types import Clip

FRAMES = 150
"""Frames that are looked at from the first face on, 6 s at 25 a second, up to the first cut at which somebody was there."""
LONGEST = 3000
"""Frames that are looked at for a first face: titles and landscapes may come before it."""
SIDE = 960
"""Longer side of the picture at most, pixels."""


@dataclass(frozen=True)
class Lineup:
    """People as `faces.choose` counts them in a shot: number i is at `boxes[i]`."""

    picture: np.ndarray
    """RGB uint8 (h, w, 3)."""
    boxes: list[tuple[float, float, float, float]]
    """x0, y0, x1, y1 in pixels of `picture`."""


def line_up(clip: Clip, backend: FaceBackend, check: Callable[[], None] = lambda: None) -> Lineup:
    """Look at the first shot with a face. Without a face the picture is its first frame."""
    tracker, first, best, end, shots = Tracker(backend), None, (0, -1, None), LONGEST, inf
    for item in clip.pictures():
        check()
        if item.index >= end:
            break
        seen = len(tracker.feed(item.index, float(item.time), item.pixels))
        if len(tracker.shot_starts) > shots:                          # the next shot has people of its own
            break
        first = item.pixels.thumbnail(SIDE) if first is None else first
        if seen and not best[0]:
            end, shots = item.index + FRAMES, len(tracker.shot_starts)
        if seen > best[0]:
            best = seen, item.index, item.pixels.thumbnail(SIDE)
    if first is None:
        raise ValueError("a clip without a frame")
    count, frame, picture = best
    if picture is None:
        return Lineup(first, [])
    scale = picture.shape[1] / clip.size[0]
    people = [track for track in tracker.finish() if frame in track.frames]
    people.sort(key=lambda track: float(track.boxes[:, [0, 2]].mean()))
    boxes = [track.boxes[int(np.searchsorted(track.frames, frame))] * scale for track in people]
    return Lineup(picture, [tuple(float(value) for value in box) for box in boxes])
