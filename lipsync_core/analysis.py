"""The first pass: who is where in the clip. Keeps tracks, not pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .faces import FaceBackend, Tracker
from .faces.align import native_crop, whole_face_box
from .faces.geometry import mouth_box, mouth_opening
from .threads import Prefetch
from .types import Clip, FaceCrop, FaceTrack, Hooks


@dataclass(frozen=True)
class Analysis:
    """What is known of a clip after the first pass."""

    tracks: list[FaceTrack]
    frames: int
    """Frames in the window (or up to the limit)."""
    end: float
    """Seconds from the first frame to the end of the last one."""
    shot_starts: list[int]
    complete: bool
    """False where the limit cut the clip off."""


def analyse(source: Clip, backend: FaceBackend, hooks: Hooks, *, limit: float | None = None, smoothing: float = 1.0) -> Analysis:
    """Track every face of the clip; frames at or after `limit` seconds are not looked at. `smoothing` as in
    `faces.smoothing.smooth_landmarks`."""
    tracker = Tracker(backend, smoothing=smoothing)
    count, last, complete = 0, Fraction(0), True
    total = source.frame_count
    if limit is not None:
        total = min(total, round(limit * source.frame_rate))
    with Prefetch(source.pictures(), 2) as frames:
        for item in frames:
            hooks.check_interrupt()
            if limit is not None and item.time >= limit:
                complete = False
                break
            tracker.feed(item.index, float(item.time), item.pixels)
            count, last = item.index + 1, item.time
            hooks.progress("analyse", count, max(total, count))
    end = float(last + 1 / source.frame_rate) if count else 0.0
    return Analysis(tracker.finish(), count, end, tracker.shot_starts, complete)


def collect_references(source: Clip, track: FaceTrack, count: int, hooks: Hooks) -> list[FaceCrop]:
    """Up to `count` native crops of the face where its mouth is most open, best first, read again; one with a shut mouth, where it never
    opens."""
    if not count or not len(track):
        return []
    opening = mouth_opening(track.landmarks)
    usable = (track.activation > 0.6) & (opening > 0.02)
    # The extremes are yawns and mistakes: what 19 of 20 frames stay under is open enough.
    score = np.where(usable, np.minimum(opening, np.quantile(opening, 0.97)) - 0.002 * np.abs(track.pose[:, 0]), -1)
    chosen: list[int] = []
    if score.max() < 0:
        score = np.where(track.activation >= track.activation.max(), opening - 0.002 * np.abs(track.pose[:, 0]), -1)
        count = 1
    for row in np.argsort(-score):
        if score[row] < 0 or len(chosen) == count:
            break
        if all(abs(track.times[row] - track.times[other]) > 0.4 for other in chosen):
            chosen.append(int(row))
    crops = []
    for row in chosen:
        hooks.check_interrupt()
        view = source.picture_at(float(track.times[row]))
        mouth = mouth_box(track.landmarks[row], source.size)
        if view is not None and mouth:
            box = whole_face_box(track.landmarks[row], source.size, mouth)
            crops.append(native_crop(view, track.landmarks[row], box, int(track.frames[row])))
    return crops
