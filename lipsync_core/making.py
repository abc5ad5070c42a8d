"""Making frames: crop, generator and compositing, one way for a file and for a stream.

`dubbing.dub` knows the whole clip before it makes its first frame, `live.LiveDubber` the last seconds and a look-ahead; both hand people
with their tracks and the generator's state to `make`, and `stages` does the same to frames in memory with the same parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av

from .compositing import Blending
from .media import FrameView, SourceFrame, own_frame
from .stages import Work, changes, row_of, work_of
from .types import GeneratedFace, Generator, Person


@dataclass
class Part:
    """One person who is dubbed: the track, the generator's state, and how the speech lies beside the picture."""

    person: Person
    state: Any
    late: float = 0.0
    """Seconds of picture at which what the state has heard begins; the mouth's own offset is in it."""


def make(group: Sequence[SourceFrame], parts: Sequence[Part], generator: Generator, rotation: int,
         blending: Blending) -> Iterator[tuple[SourceFrame, av.VideoFrame, bool]]:
    """Each frame with what it became: the given frame itself where nothing changed, and whether something did. `rotation` as in
    `media.VideoInfo`."""
    views: dict[int, FrameView] = {}
    done: list[tuple[Work, GeneratedFace]] = []
    for part in parts:
        track = part.person.track
        mine: list[Work] = []
        for item in group:
            if (row := row_of(track, item.index)) is None:
                continue
            if item.index not in views:
                views[item.index] = FrameView(own_frame(item.frame), rotation)
            work = work_of(views[item.index], track, row, item.index, float(item.time) - part.late, generator.spec)
            if work is not None:
                mine.append(work)
        if mine:
            done += zip(mine, generator.generate([work.item for work in mine], part.state))
    changed: set[int] = set()
    for work, face in done:
        difference = changes(work, face, blending)
        if difference is not None:
            views[work.frame].add(work.box, difference)
            changed.add(work.frame)
    for item in group:
        yield item, views[item.index].frame if item.index in changed else item.frame, item.index in changed
