"""`--overlay`: what a dub does, drawn into its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import av
import numpy as np

from .compositing import lower_face_box
from .faces.annotate import FaceLook, draw
from .marks import NOBODY
from .media import FrameView, SourceFrame, own_frame
from .types import FaceTrack

if TYPE_CHECKING:
    from .direction import Directed
    from .making import Part

SHAPE = ("opening", "width", "jaw", "closed", "tuck", "round", "activity")
"""What the built-in generator's values are, in order (`generators.morph.articulation.MouthShape`)."""


class Overlay:
    """Draws after blending: the frame's number, whether the effect is on, everybody's box, index, id and activation, where the effect
    acts, and the mouth-shape values of generators that have them (a state with `shape_at`)."""

    def __init__(self, tracks: Sequence[FaceTrack], directed: Directed, parts: Sequence[Part], rotation: int, offset: float) -> None:
        """`rotation` as in `media.VideoInfo`; `offset`: seconds that the mouth moves later."""
        self._tracks, self._parts, self._marks, self._rotation, self._offset = tracks, parts, directed.marks, rotation, offset
        self._person = {number: i for i, numbers in enumerate(directed.people) for number in numbers}

    def draw(self, frame: av.VideoFrame, item: SourceFrame, on: bool) -> av.VideoFrame:
        """`frame`, drawn on; `item` says which one it is, `on` whether something was changed in it."""
        view = FrameView(own_frame(frame), self._rotation)
        size = (view.width, view.height)
        looks = [look for track in self._tracks if (look := self._look(track, item, size)) is not None]
        whole = (0, 0, *size)
        before = np.clip(np.rint(view.region(whole)), 0, 255).astype(np.uint8)
        after = draw(before, looks, 1.0, item.index, on)
        rows = np.flatnonzero((after != before).any((1, 2)))
        if len(rows):
            # In whole chroma rows of every format.
            top, bottom = int(rows[0]) // 4 * 4, min(size[1], -(-(int(rows[-1]) + 1) // 4) * 4)
            view.add((0, top, size[0], bottom), after[top:bottom].astype(np.float32) - before[top:bottom])
        return view.frame

    def _look(self, track: FaceTrack, item: SourceFrame, size: tuple[int, int]) -> FaceLook | None:
        row = int(np.searchsorted(track.frames, item.index))
        if row >= len(track) or track.frames[row] != item.index:
            return None
        part = next((part for part in self._parts if part.person.track.track_id == track.track_id), None)
        given = float(part.person.track.activation[row]) if part is not None else 0.0
        person = self._person.get(track.track_id)
        words = [f"#{track.track_id}"] if person is None else [str(person), f"#{track.track_id}"]
        if self._marks is not None:
            mark = self._marks[track.track_id]
            words += [f"S{mark.ids[row]}"] if mark.ids[row] != NOBODY else []
            words += ["[speaking]"] if mark.speaking[row] > 0 else []
        acts = lower_face_box(track.landmarks[row], size) if given > 0 else None
        shape = {}
        if given > 0 and hasattr(part.state, "shape_at"):
            shape = dict(zip(SHAPE, part.state.shape_at(float(item.time) - self._offset).tolist()))
        return FaceLook(track.boxes[row], track.landmarks[row], f"{' '.join(words)} {given:.2f}",
                        track.track_id if person is None else person, acts, shape)
