"""Speaker data on tracks: which entry of a frame means which face, and tracks as speaker data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .faces.builtin import overlap
from .gates import softened, widened
from .speaker_file import FrameSpeakers, Speaker, SpeakerData
from .types import FaceTrack

NOBODY = np.iinfo(np.int64).min
"""In `Marks.ids`: no id was given."""
HEAD = (0.10, 0.45, 0.10, 0.08)
"""What a face's box has beyond the landmarks' (left, top, right, bottom, shares of its sides): the 68 points end at the brows."""


@dataclass(frozen=True)
class Marks:
    """What speaker data say of a track, a value a row."""

    speaking: np.ndarray
    """float32 (n,), 0 or 1."""
    shown: np.ndarray
    """float32 (n,), 0..1: how much of the effect is wanted (1 - bypass)."""
    ids: np.ndarray
    """int64 (n,), `NOBODY` where none is given."""
    names: list[str]
    """The voice that is named, '' where none is."""

    def gate(self, times: np.ndarray) -> np.ndarray:
        """float32 (n,), 0..1: how much of the effect is given at `times` (n,), seconds. Bypassed frames are the source's own to the bit;
        a turn is given in full, and fades in the `gates.RAMP` seconds beside it."""
        return softened(self.shown, times) * softened(widened(self.speaking, times), times)


def mark(tracks: Sequence[FaceTrack], data: SpeakerData, default: set[int], first: int = 0,
         warn: Callable[[str], None] = lambda sentence: None) -> dict[int, Marks]:
    """Track number -> what the data say of it. `default`: the tracks that speak where the data say nothing; `first`: the video's frame
    that is the tracks' frame 0."""
    marks = {track.track_id: Marks(np.full(len(track), float(track.track_id in default), np.float32), np.ones(len(track), np.float32),
                                   np.full(len(track), NOBODY), [""] * len(track)) for track in tracks}
    missed: list[int] = []
    there: dict[int, list[tuple[FaceTrack, int]]] = {}
    for track in tracks:
        for row, frame in enumerate(track.frames.tolist()):
            there.setdefault(frame, []).append((track, row))
    for frame in sorted(there):
        if first + frame >= len(data):
            break
        entry, present = data[first + frame], there.get(frame, [])
        for track, row in present:
            marks[track.track_id].shown[row] = 1 - entry.bypass
        if not _mark_frame(present, entry, marks):
            missed.append(first + frame)
    if missed:
        warn(f"In {len(missed)} frame(s) the speaker data name a speaker where no face is followed (the first is frame {missed[0]}): there "
             "nobody is made to speak for them.")
    return marks


def _mark_frame(present: list[tuple[FaceTrack, int]], entry: FrameSpeakers, marks: dict[int, Marks]) -> bool:
    """False where somebody who speaks is at none of the faces."""
    boxes = [speaker for speaker in entry.speakers if speaker.box is not None]
    if not boxes:
        if entry.speakers and not any(speaker.speaking for speaker in entry.speakers):
            for track, row in present:
                marks[track.track_id].speaking[row] = 0
        return True
    pairs = sorted(((_match(track.boxes[row], speaker), i, j) for i, (track, row) in enumerate(present)
                    for j, speaker in enumerate(boxes)), reverse=True)
    for track, row in present:
        marks[track.track_id].speaking[row] = 0
    met: dict[int, int] = {}
    for score, i, j in pairs:
        if score > 0 and i not in met and j not in met.values():
            met[i] = j
            (track, row), speaker = present[i], boxes[j]
            mine = marks[track.track_id]
            mine.speaking[row] = float(speaker.speaking)
            mine.ids[row] = NOBODY if speaker.speaker_id is None else speaker.speaker_id
            mine.names[row] = speaker.voice
    return all(j in met.values() or not speaker.speaking for j, speaker in enumerate(boxes))


def _match(face: np.ndarray, speaker: Speaker) -> float:
    """How well a track's box (x0, y0, x1, y1) fits a speaker's: 0 unless one's centre is in the other."""
    x, y, width, height = speaker.box or (0.0, 0.0, 0.0, 0.0)
    other = np.array([x, y, x + width, y + height], np.float32)
    if _inside(face, other) or _inside(other, face):
        return max(float(overlap(face, other)), 1e-6)
    return 0.0


def _inside(box: np.ndarray, other: np.ndarray) -> bool:
    centre = (box[:2] + box[2:]) / 2
    return bool((centre >= other[:2]).all() and (centre <= other[2:]).all())


def as_speakers(tracks: Sequence[FaceTrack], people: Sequence[Sequence[int]], frames: int, size: tuple[int, int],
                speaks: Callable[[int, float], bool] = lambda person, time: True) -> list[FrameSpeakers]:
    """Tracks as speaker data of `frames` frames of `size` (w, h): a person's index in `people` (groups of track numbers) is the id;
    `speaks(person, seconds)` tells who speaks."""
    found: list[list[Speaker]] = [[] for _ in range(frames)]
    by_number = {track.track_id: track for track in tracks}
    for person, numbers in enumerate(people):
        for number in numbers:
            track = by_number[number]
            for frame, time, box in zip(track.frames.tolist(), track.times.tolist(), _heads(track.boxes, size).tolist()):
                if frame < frames:
                    found[frame].append(Speaker((box[0], box[1], box[2] - box[0], box[3] - box[1]), person, speaks(person, time)))
    return [FrameSpeakers(tuple(speakers)) for speakers in found]


def _heads(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (n, 4) about brows to chin as boxes about faces, inside the picture."""
    width, height = boxes[:, 2:3] - boxes[:, :1], boxes[:, 3:] - boxes[:, 1:2]
    left, top, right, bottom = HEAD
    heads = boxes + np.concatenate([-left * width, -top * height, right * width, bottom * height], 1)
    limit = np.array([size[0], size[1], size[0], size[1]], np.float32)
    heads = np.clip(heads, 0, limit)
    # A face outside the picture keeps a box: the format has none of width 0.
    heads[:, 2:] = np.maximum(heads[:, 2:], heads[:, :2] + 1)
    return heads
