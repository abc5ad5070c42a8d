"""The first pass: who is where in the clip. Keeps tracks, not pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .faces import FaceBackend, Tracker
from .faces.align import native_crop
from .faces.geometry import mouth_box, mouth_opening
from .media import FrameView, VideoSource
from .threads import Prefetch
from .types import FaceCrop, FaceTrack, Hooks


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


def analyse(source: VideoSource, backend: FaceBackend, hooks: Hooks, *, limit: float | None = None) -> Analysis:
    """Track every face of the clip; frames at or after `limit` seconds are not looked at."""
    tracker = Tracker(backend)
    count, last, complete = 0, Fraction(0), True
    total = source.info.frames
    if limit is not None and source.info.duration > limit:
        total = round(limit * source.info.frame_rate)
    with Prefetch(source.frames(), 2) as frames:
        for item in frames:
            hooks.check_interrupt()
            if limit is not None and item.time >= limit:
                complete = False
                break
            tracker.feed(item.index, float(item.time), FrameView(item.frame, source.info.rotation))
            count, last = item.index + 1, item.time
            hooks.progress("analyse", count, max(total, count))
    end = float(last + 1 / source.info.frame_rate) if count else 0.0
    return Analysis(tracker.finish(), count, end, tracker.shot_starts, complete)


def collect_references(source: VideoSource, track: FaceTrack, count: int, hooks: Hooks) -> list[FaceCrop]:
    """Up to `count` native crops of the mouth where it is most open, best first, by seeking to those frames."""
    if not count or not len(track):
        return []
    opening = mouth_opening(track.landmarks)
    usable = (track.activation > 0.6) & (opening > 0.02)
    # The extremes are yawns and mistakes: what 19 of 20 frames stay under is open enough.
    score = np.where(usable, np.minimum(opening, np.quantile(opening, 0.97)) - 0.002 * np.abs(track.pose[:, 0]), -1)
    chosen: list[int] = []
    for row in np.argsort(-score):
        if score[row] < 0 or len(chosen) == count:
            break
        if all(abs(track.times[row] - track.times[other]) > 0.4 for other in chosen):
            chosen.append(int(row))
    crops = []
    for row in chosen:
        hooks.check_interrupt()
        start = source.start + Fraction(float(track.times[row])).limit_denominator(1_000_000)
        window = VideoSource(source.file, start=max(Fraction(0), start - Fraction(1, 2000)), duration=Fraction(1, 2))
        for item in window.frames(threads=1):
            view = FrameView(item.frame, window.info.rotation)
            if box := mouth_box(track.landmarks[row], (view.width, view.height)):
                crops.append(native_crop(view, track.landmarks[row], box, int(track.frames[row])))
            break
    return crops
