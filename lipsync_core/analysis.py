"""The first pass: who is where in the clip. Keeps tracks, and of the pixels a few pictures of every person."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .faces import FaceBackend, Tracker
from .faces.album import Album
from .faces.geometry import mouth_opening
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
    albums: list[Album]
    """In the order of `FaceTrack.track_id`."""
    times: np.ndarray
    """float64 (frames,), seconds at which each frame is shown."""

    def references(self, track: FaceTrack, count: int) -> list[FaceCrop]:
        """See `references_of`."""
        return references_of(track, self.albums[track.track_id], count)


def references_of(track: FaceTrack, album: Album, count: int) -> list[FaceCrop]:
    """Up to `count` native crops of the face where its mouth is most open, best first; one with a shut mouth, where it never opens."""
    portraits = [one for one in album.portraits if one.frame in track.frames]
    if not count or not portraits:
        return []
    rows = np.searchsorted(track.frames, [one.frame for one in portraits])
    opening, active = mouth_opening(track.landmarks), track.activation[rows]
    # The extremes are yawns and mistakes: what 19 of 20 frames stay under is open enough.
    usual = np.quantile(opening[track.activation > 0.6], 0.97) if (track.activation > 0.6).any() else np.inf
    score = np.minimum(opening[rows], usual) - 0.002 * np.abs(track.pose[rows, 0])
    usable = (active > 0.6) & (opening[rows] > 0.02)
    if not usable.any():
        usable, count = active >= active.max(), 1
    best = [i for i in np.argsort(-score, kind="stable") if usable[i]][:count]
    return [portraits[i].crop(track.landmarks[rows[i]]) for i in best]


def analyse(source: Clip, backend: FaceBackend, hooks: Hooks, *, limit: float | None = None, smoothing: float = 1.0) -> Analysis:
    """Track every face of the clip; frames at or after `limit` seconds are not looked at. `smoothing` as in
    `faces.smoothing.smooth_landmarks`."""
    tracker = Tracker(backend, smoothing=smoothing)
    count, last, complete, times = 0, Fraction(0), True, array("d")
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
            times.append(float(item.time))
            hooks.progress("analyse", count, max(total, count))
    end = float(last + 1 / source.frame_rate) if count else 0.0
    return Analysis(tracker.finish(), count, end, tracker.shot_starts, complete, tracker.albums,
                    np.frombuffer(times, np.float64))
