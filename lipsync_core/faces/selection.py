"""Whose mouth moves: choosing among the people of a clip."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..types import FaceTrack

FaceRule = str | int | tuple[float, float]
"""'largest', 'all', an index from the left (0 first), a point x, y in pixels, or tracks by their numbers: '#2', '#2+#5'."""
_TRACKS = re.compile(r"#\d{1,6}(?:\+#?\d{1,6})*")


def parse_face_rule(text: str) -> FaceRule:
    """'largest', 'all', '1', '640,360' or '#2+#5' -> a rule; raises `ValueError` with a sentence."""
    text = text.strip().lower()
    if text in ("largest", "all") or _TRACKS.fullmatch(text):
        return text
    try:
        if "," in text:
            x, y = (float(part) for part in text.split(","))
            return (x, y)
        if (index := int(text)) >= 0:
            return index
    except ValueError:
        pass
    raise ValueError(f"{text!r} does not choose a face: use 'largest', 'all', a number from the left (0 is the leftmost), a "
                     f"point in the picture such as 640,360, or tracks by their numbers such as #2 or #2+#5.")


def named_tracks(rule: str) -> set[int]:
    """'#2+#5' -> {2, 5}."""
    return {int(number) for number in rule.replace("#", "").split("+")}


def choose(tracks: Sequence[FaceTrack], rule: FaceRule = "largest", shot_starts: Sequence[int] = (0,)) -> list[FaceTrack]:
    """The tracks to dub.

    'all' takes every one. The other rules choose one person for each shot (`shot_starts`, first frames): the one with the
    largest area summed over the shot's frames; the one at an index in order of mean x; the one whose box holds the point, or
    is nearest to it. A track that is chosen in one of its shots is taken whole. Tracks by number are just these.
    """
    if rule == "all":
        return list(tracks)
    if isinstance(rule, str) and rule.startswith("#"):
        wanted = named_tracks(rule)
        return [track for track in tracks if track.track_id in wanted]
    starts = sorted(set(shot_starts) | {0})
    chosen: list[FaceTrack] = []
    for begin, end in zip(starts, [*starts[1:], np.inf]):
        present = [(track, (track.frames >= begin) & (track.frames < end)) for track in tracks]
        present = [(track, rows) for track, rows in present if rows.any()]
        if not present:
            continue
        if rule == "largest":
            best = max(present, key=lambda item: float((_areas(item[0]) * item[0].scores)[item[1]].sum()))
        elif isinstance(rule, tuple):
            best = min(present, key=lambda item: _distance(item[0].boxes[item[1]], rule))
        else:
            present.sort(key=lambda item: float(item[0].boxes[item[1]][:, [0, 2]].mean()))
            if int(rule) >= len(present):
                continue
            best = present[int(rule)]
        if all(best[0] is not track for track in chosen):
            chosen.append(best[0])
    return chosen


def _areas(track: FaceTrack) -> np.ndarray:
    return (track.boxes[:, 2:] - track.boxes[:, :2]).prod(1)


def _distance(boxes: np.ndarray, point: tuple[float, float]) -> float:
    """Mean distance of a point to boxes (n, 4): 0 inside."""
    p = np.asarray(point, np.float32)
    outside = np.maximum(np.maximum(boxes[:, :2] - p, p - boxes[:, 2:]), 0)
    return float(np.linalg.norm(outside, axis=1).mean())
