"""Who says what in a stream, decided with what a look-ahead knows and kept for the shot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..faces import FaceRule, choose
from ..faces.album import Album
from ..faces.embedding import describe
from ..faces.geometry import mouth_opening
from ..faces.identity import SAME, mean_of
from ..faces.selection import named_tracks
from ..speaker_file import FrameSpeakers
from ..types import FaceCrop, FaceTrack

NOTHING = FrameSpeakers(())
"""What is said of frames of which nothing is."""
BETTER = 1.2
"""How much wider a mouth must be open for new references: each change of them is a small change of teeth."""


class People:
    """Who is who in a stream: people are numbered from the left as they are first seen, and known again in later shots."""

    def __init__(self, look: Callable[[Sequence[np.ndarray]], np.ndarray] = describe) -> None:
        """`look` as `faces.embedding.describe`."""
        self._look = look
        self._means: list[np.ndarray | None] = []
        """A person's embedding, where there was a picture to take it from."""
        self._of: dict[int, int] = {}
        """Number of a track -> person."""

    def see(self, tracks: Sequence[FaceTrack], albums: Mapping[int, Album]) -> None:
        """All who are remembered now; `albums` by track."""
        self._of = {number: person for number, person in self._of.items() if number in albums}
        for track in sorted(tracks, key=lambda track: float(track.boxes[:, [0, 2]].mean())):
            if track.track_id not in self._of:
                self._of[track.track_id] = self._person(track, albums[track.track_id], tracks)

    def _person(self, track: FaceTrack, album: Album, tracks: Sequence[FaceTrack]) -> int:
        beside = {self._of[other.track_id] for other in tracks if other.track_id in self._of
                  and np.isin(track.frames, other.frames, assume_unique=True).any()}
        mean = mean_of(track, album, self._look)
        apart = {person: float(np.linalg.norm(mean - known)) for person, known in enumerate(self._means)
                 if mean is not None and known is not None and person not in beside}
        nearest = min(apart, key=apart.__getitem__, default=None)
        if nearest is not None and apart[nearest] < SAME:
            return nearest
        self._means.append(mean)
        return len(self._means) - 1

    def tracks_of(self, person: int) -> set[int]:
        return {number for number, whose in self._of.items() if whose == person}

    def person_of(self, track: int) -> int:
        return self._of[track]


class VoiceOf:
    """Who has one of several voices: a person, the same one in every shot."""

    def __init__(self, rule: FaceRule) -> None:
        self.rule = rule
        self._person = rule if isinstance(rule, int) else None

    def __call__(self, tracks: Sequence[FaceTrack], people: People, first: int) -> set[int]:
        """Numbers of tracks. A rule that is a place or a size means whoever it chooses first."""
        if self.rule == "all":
            return {track.track_id for track in tracks}
        if isinstance(self.rule, str) and self.rule.startswith("#"):
            return named_tracks(self.rule)
        if self._person is None:
            present = [part for track in tracks if (part := part_of(track, first, np.iinfo(np.int64).max)) is not None]
            found = choose(present, self.rule)
            if not found:
                return set()
            self._person = people.person_of(found[0].track_id)
        return people.tracks_of(self._person)


class Choice:
    """One rule, and whom it chose in each shot: of two faces that are nearly as large the same one stays chosen."""

    def __init__(self, rule: FaceRule) -> None:
        self.rule = rule
        self._chosen: dict[int, int] = {}
        """First frame of a shot -> number of a track."""

    def __call__(self, tracks: Sequence[FaceTrack], shot_starts: Sequence[int], first: int) -> set[int]:
        """Numbers of the tracks that the rule means, in the frames from `first` on."""
        if self.rule == "all":
            return {track.track_id for track in tracks}
        if isinstance(self.rule, str) and self.rule.startswith("#"):
            return named_tracks(self.rule)
        found = set()
        starts = [start for start in shot_starts if start > first]
        current = max((start for start in shot_starts if start <= first), default=0)
        for begin, end in zip([current, *starts], [*starts, np.iinfo(np.int64).max]):
            present = [part for track in tracks if (part := part_of(track, max(begin, first), end)) is not None]
            if self._chosen.get(begin) not in {part.track_id for part in present}:
                best = choose(present, self.rule)
                if not best:
                    continue
                self._chosen[begin] = best[0].track_id
            found.add(self._chosen[begin])
        self._chosen = {begin: number for begin, number in self._chosen.items() if begin >= current}
        return found


def part_of(track: FaceTrack, begin: int, end: int) -> FaceTrack | None:
    """A track's rows of the frames from `begin` to before `end`; None where it has none."""
    low, high = np.searchsorted(track.frames, [begin, end])
    if low >= high:
        return None
    rows = slice(int(low), int(high))
    arrays = {name: getattr(track, name)[rows] for name in ("frames", "times", "boxes", "landmarks", "scores", "pose", "activation")}
    return replace(track, **arrays, covered=None if track.covered is None else track.covered[rows])


class Gallery:
    """The reference crops of one person: better ones take the place of those there are, the same list stays the same list."""

    def __init__(self) -> None:
        self.references: list[FaceCrop] = []
        self._opening = 0.0

    def offer(self, found: list[FaceCrop]) -> None:
        opening = max((float(mouth_opening(crop.landmarks)) for crop in found), default=0.0)
        if found and (not self.references or opening > BETTER * max(self._opening, 0.02)):
            self.references, self._opening = found, opening


class SpeakerStream(Sequence[FrameSpeakers]):
    """Speaker data of a stream's frames, by frame number, of which only the last are kept."""

    def __init__(self) -> None:
        self._data: dict[int, FrameSpeakers] = {}
        self._end = 0

    def put(self, frame: int, data: FrameSpeakers) -> None:
        self._data[frame], self._end = data, frame + 1

    def forget(self, before: int) -> None:
        self._data = {frame: data for frame, data in self._data.items() if frame >= before}

    def __bool__(self) -> bool:
        return bool(self._data)

    def __len__(self) -> int:
        return self._end

    def __getitem__(self, frame: int) -> FrameSpeakers:
        return self._data.get(frame, NOTHING)

    def __iter__(self) -> Iterator[FrameSpeakers]:
        return (self[frame] for frame in range(self._end))
