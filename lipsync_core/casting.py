"""Who says what: recordings to the tracks of those who say them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .analysis import Analysis
from .errors import LipSyncError
from .faces import choose
from .faces.selection import FaceRule, named_tracks
from .marks import NOBODY, Marks
from .types import SPEECH_RATE, FaceTrack, Speech

FADE = round(0.02 * SPEECH_RATE)
"""Samples over which a track's speech changes from one recording to another."""
GRID = 100
"""Values a second of who has the word in a track."""
LATEST = 24 * 3600.0
"""Seconds that a recording may begin late at most: silence is kept as samples."""
People = Sequence[Sequence[int]]
"""Groups of track numbers, each one person, from the left to the right of the picture."""


@dataclass(frozen=True)
class Line:
    """A recording on the result's clock, and who says it."""

    who: FaceRule
    speech: Speech
    """Its first sample is heard with the first frame; what is heard of it in the result begins at `offset`."""
    name: str = "the recording"
    offset: float = 0.0
    """Seconds."""
    end: float = 0.0
    """Seconds at which the recording ends."""


@dataclass(frozen=True)
class Role:
    """A track and what it says; the track's activation says where."""

    track: FaceTrack
    speech: Speech
    lines: tuple[int, ...]
    """Numbers of the recordings in `speech`."""


def on_time(speech: Speech, offset: float) -> Speech:
    """`speech` that begins `offset` seconds later: silence before it, or (below 0) without its beginning. Raises `LipSyncError`."""
    if not abs(offset) <= LATEST:
        raise LipSyncError(f"A recording can't begin at {offset:g} s: use seconds of the result.")
    shift = round(offset * SPEECH_RATE)
    if not shift:
        return speech
    samples = np.concatenate([np.zeros(shift, np.float32), speech.samples]) if shift > 0 else speech.samples[-shift:]
    return dataclasses.replace(speech, samples=samples)


def from_left(people: People, tracks: Sequence[FaceTrack]) -> list[list[int]]:
    """The people in order of where they are, over all their frames: the leftmost first."""
    by_number = {track.track_id: track for track in tracks}

    def where(numbers: Sequence[int]) -> float:
        return float(np.concatenate([by_number[number].boxes[:, [0, 2]].ravel() for number in numbers]).mean())

    return [list(numbers) for numbers in sorted(people, key=where)]


def people_of(analysis: Analysis) -> list[list[int]]:
    """Who is who over shots: numbers of tracks, a list for each person, from the left."""
    from .faces.identity import same_people  # a network that few need

    return from_left(same_people(analysis.tracks, analysis.albums).groups, analysis.tracks)


def tracks_of(who: FaceRule, tracks: Sequence[FaceTrack], people: People) -> set[int]:
    """Numbers of the tracks that `who` means; none where it is a speaker's id or a name ('S1', 'anna'): speaker data tell these."""
    if isinstance(who, tuple):
        nearest = choose(tracks, who)
        return next((set(numbers) for numbers in people if nearest and nearest[0].track_id in numbers), set())
    if isinstance(who, int):
        return set(people[who]) if 0 <= who < len(people) else set()
    if who.startswith("#"):
        return named_tracks(who) & {track.track_id for track in tracks}
    if who == "all":
        return {track.track_id for track in tracks}
    return {track.track_id for track in choose(tracks, who)} if who == "largest" else set()


def cast(tracks: Sequence[FaceTrack], lines: Sequence[Line], assigned: Sequence[set[int]], marks: Mapping[int, Marks] | None,
         warn: Callable[[str], None]) -> list[Role]:
    """A role for every track that says something. `assigned`: the tracks of each of `lines`; `marks`: what speaker data say, see
    `marks.mark`: they gate the effect and may name another recording for some rows."""
    roles, heard = [], Voices(lines)
    for track in tracks:
        mine = [i for i, numbers in enumerate(assigned) if track.track_id in numbers]
        if marks is None:
            if mine:
                roles.append(Role(track, heard.together(tuple(mine)), tuple(mine)))
            continue
        found = marks[track.track_id]
        rows = _by_row(found, lines, tuple(mine))
        speaking = np.array([bool(some) for some in rows]) * found.speaking
        gated = dataclasses.replace(track, activation=track.activation
                                    * dataclasses.replace(found, speaking=speaking.astype(np.float32)).gate(track.times))
        used = sorted({some for some, on in zip(rows, speaking) if on})
        if used and gated.activation.any():
            speech = heard.together(used[0]) if len(used) == 1 else heard.in_turn(track.times, rows)
            roles.append(Role(gated, speech, tuple(sorted({line for some in used for line in some}))))
    said = {number for role in roles for number in role.lines}
    for i, line in enumerate(lines):
        if i not in said:
            warn(f"Nobody says {line.name}: there is no face for {shown(line.who)} in this clip; the sound is heard all the same.")
    return roles


def shown(who: FaceRule) -> str:
    return f"{who[0]:g},{who[1]:g}" if isinstance(who, tuple) else str(who)


def _by_row(found: Marks, lines: Sequence[Line], usual: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The recordings of each row: those that the data name, else the track's own."""
    known: dict[tuple[str, int], tuple[int, ...]] = {}
    rows = []
    for name, number in zip(found.names, found.ids.tolist()):
        if (name, number) not in known:
            wanted = {name} if name else ({f"S{number}", f"s{number}"} if number != NOBODY else set())
            known[name, number] = tuple(i for i, line in enumerate(lines) if line.who in wanted) or usual
        rows.append(known[name, number])
    return rows


class Voices:
    """Recordings as they are said by tracks; the same combination is made once, so that it is heard once."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._known: dict[tuple[int, ...], Speech] = {}

    def together(self, numbers: tuple[int, ...]) -> Speech:
        """Recordings at once: one person says all of them."""
        if len(numbers) == 1:
            return self._lines[numbers[0]].speech
        if numbers not in self._known:
            samples = np.zeros(max((len(self._lines[i].speech.samples) for i in numbers), default=0), np.float32)
            for i in numbers:
                mine = self._lines[i].speech.samples
                samples[:len(mine)] += mine
            self._known[numbers] = Speech(samples)
        return self._known[numbers]

    def in_turn(self, times: np.ndarray, rows: Sequence[tuple[int, ...]]) -> Speech:
        """One recording after the other, as the rows at `times` say."""
        total = np.zeros(max((len(line.speech.samples) for line in self._lines), default=0), np.float32)
        for i, line in enumerate(self._lines):
            mine = line.speech.samples
            has = np.array([i in some for some in rows], np.float32)
            if not has.any():
                continue
            grid = np.arange(len(mine) * GRID // SPEECH_RATE + 2) / GRID
            nearest = np.clip(np.searchsorted(times, grid), 1, len(times) - 1) if len(times) > 1 else np.zeros(len(grid), int)
            if len(times) > 1:
                nearest -= (grid - times[nearest - 1] < times[nearest] - grid).astype(int)
            gain = np.repeat(has[nearest], SPEECH_RATE // GRID)[:len(mine)]
            if 0 < gain.mean() < 1:
                gain = np.convolve(np.pad(gain, FADE // 2, mode="edge"), np.full(FADE, 1 / FADE, np.float32), mode="valid")[:len(mine)]
            total[:len(mine)] += mine * gain
        return Speech(total)
