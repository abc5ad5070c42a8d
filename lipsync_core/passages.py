"""Passages of a clip in which the source's own mouth shows: `3.5-6,10-12`."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from .errors import LipSyncError
from .gates import RAMP
from .types import FaceTrack

Passages = tuple[tuple[float, float], ...]
"""(from, to) in seconds of the video."""
_PART = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)?\s*-\s*(\d+(?:\.\d*)?|\.\d+)?\s*")


def read_passages(text: str) -> Passages:
    """`3.5-6.0,10-12` -> ((3.5, 6.0), (10.0, 12.0)); `-2` begins with the video, `10-` lasts to its end, an empty text is no passage.
    Raises `LipSyncError`."""
    parts = []
    for part in filter(str.strip, text.split(",")):
        found = _PART.fullmatch(part)
        if not found or not any(found.groups()):
            raise LipSyncError(f"{part.strip()!r} is no passage: write seconds such as 3.5-6, several with commas between them "
                               "(3.5-6,10-12), 10- for all that follows.")
        parts.append((float(found[1] or 0), float(found[2] or math.inf)))
    return check_passages(parts)


def check_passages(passages: Sequence[tuple[float, float]]) -> Passages:
    """The same in order of time. Raises `LipSyncError` for one that ends before it begins."""
    for begin, end in passages:
        if not 0 <= begin < end:
            raise LipSyncError(f"The passage {begin:g}-{end:g} is none: it must begin at 0 or later and end after it begins.")
    return tuple(sorted((float(begin), float(end)) for begin, end in passages))


def effect(times: np.ndarray, passages: Passages) -> np.ndarray:
    """float32 (n,), 0..1, at `times` (n,) in seconds of the video: 0 in passages, 1 away from them, smooth between."""
    shown = np.ones(len(times), np.float32)
    for begin, end in passages:
        away = np.maximum(np.maximum(begin - times, times - end), 0)
        t = np.clip(away / RAMP, 0, 1)
        shown = np.minimum(shown, (t * t * (3 - 2 * t)).astype(np.float32))
    return shown


def bypassed(track: FaceTrack, passages: Passages, start: float = 0.0) -> FaceTrack:
    """The track with no effect in the passages; its own times count from `start` seconds of the video."""
    if not passages:
        return track
    return dataclasses.replace(track, activation=track.activation * effect(track.times + start, passages))
