"""Pictures of a person's most open mouths, kept while the clip is read: to seek for them later means to decode half of it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..types import FaceCrop, Pixels
from .align import transform, whole_face_box, window_matrix
from .geometry import mouth_box, mouth_opening

KEPT = 10
"""Pictures of a person: generators want 1 to 5, and what is a yawn or covered is known only at the end of the clip."""
APART = 0.4
"""Seconds between two of them: nearer ones show the same."""
ROOM = 256 << 20
"""Bytes of all portraits of a clip together: a film has a thousand shots, and everybody in them an album."""
BETTER = 1.05
"""How much wider a mouth must be to take the place of another: most frames cost nothing."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """The whole face in one frame."""

    frame: int
    time: float
    opening: float
    """Of the landmarks as they were found, before they are smoothed."""
    corner: tuple[int, int]
    """Where `pixels` begin in the frame."""
    pixels: np.ndarray
    """RGB uint8 (h, w, 3), native."""

    def crop(self, landmarks: np.ndarray) -> FaceCrop:
        """As `align.native_crop` of the frame; `landmarks` (68, 2) in the frame's pixels."""
        matrix = window_matrix((*self.corner, *self.corner))
        return FaceCrop(self.pixels.astype(np.float32), matrix, transform(matrix, landmarks).astype(np.float32), self.frame)


class Album:
    """Up to `KEPT` portraits of one person, those with the widest open mouths, at least `APART` seconds from each other."""

    def __init__(self) -> None:
        self.portraits: list[Portrait] = []

    def offer(self, frame: int, time: float, shape: np.ndarray, picture: Pixels) -> None:
        """Keep the face of a frame, landmarks (68, 2), if its mouth is wider open than those there are."""
        found = Portrait(frame, time, float(mouth_opening(shape)), (0, 0), np.zeros((0, 0, 3), np.uint8))
        rivals = self._rivals(found)
        if any(found.opening < BETTER * other.opening for other in rivals):
            return
        size = (picture.width, picture.height)
        mouth = mouth_box(shape, size)
        if mouth is None:
            return
        box = whole_face_box(shape, size, mouth)
        pixels = np.clip(np.rint(picture.region(box)), 0, 255).astype(np.uint8)
        self._put(replace(found, corner=box[:2], pixels=pixels), rivals)

    def forget(self, before: float) -> None:
        """Let go of pictures taken before that time, seconds."""
        self.portraits = [portrait for portrait in self.portraits if portrait.time >= before]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(portrait.pixels.nbytes for portrait in self.portraits)

    def _rivals(self, found: Portrait) -> list[Portrait]:
        """Whose place it would take: those too near in time, else, when all places are taken, the one least open."""
        near = [other for other in self.portraits if abs(other.time - found.time) <= APART]
        return near or ([min(self.portraits, key=lambda other: other.opening)] if len(self.portraits) >= KEPT else [])

    def _put(self, portrait: Portrait, rivals: list[Portrait]) -> None:
        self.portraits = [other for other in self.portraits if other not in rivals] + [portrait]


def trim(albums: Sequence[Album], room: int = ROOM) -> None:
    """Let the largest albums lose the mouths that are least open, until all of them together fit into `room` bytes."""
    sizes = [album.size for album in albums]
    while sum(sizes) > room:
        largest = int(np.argmax(sizes))
        portraits = albums[largest].portraits
        portraits.remove(min(portraits, key=lambda portrait: portrait.opening))
        sizes[largest] = albums[largest].size
