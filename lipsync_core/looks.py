"""Pictures of what stages found and made, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .array_pixels import ArrayPixels
from .compositing import difference, region_of
from .contact_sheet import pick_frames
from .faces import annotate
from .faces.geometry import eye_distance
from .stages import Faces, window_of
from .types import Clip, Hooks

VIEW = 1.1
"""Side of a picture of the mouth, outer-eye distances."""


def mouth_pictures(faces: Faces, side: int, hooks: Hooks) -> np.ndarray:
    """The new mouths of the first person: RGB uint8 (frames, side, side, 3), black where there is none."""
    pictures = np.zeros((faces.count, side, side, 3), np.uint8)
    one = faces.people[0] if faces.people else None
    for item, face in zip(one.crops, one.generated or ()) if one else ():
        hooks.check_interrupt()
        window = window_of(one, item)
        change = difference(window, face, region_of(window))
        new = window.pixels if change is None else window.pixels + change
        scale = side / (VIEW * max(float(eye_distance(window.landmarks)), 1.0))
        shift = (side - 1) / 2 - scale * window.landmarks[48:68].mean(0)
        pictures[item.frame] = ArrayPixels(new).warp(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (side, side))
        hooks.progress("look", item.frame + 1, faces.count)
    return pictures


def annotated(clip: Clip, faces: Faces, count: int, longest_side: int, hooks: Hooks) -> list[np.ndarray]:
    """`count` frames spread over the clip (0: all of them), at most `longest_side` pixels, with everybody who was found: RGB uint8.
    People have their numbers from the left, tracks theirs behind a #."""
    wanted = set(pick_frames(faces.count, count or faces.count))
    return list(_annotated(clip, faces, wanted, longest_side, hooks))


def _annotated(clip: Clip, faces: Faces, wanted: set[int], longest_side: int, hooks: Hooks) -> Iterator[np.ndarray]:
    names = {number: f"{i} #{number}" for i, numbers in enumerate(faces.groups) for number in numbers}
    for picture in clip.pictures():
        hooks.check_interrupt()
        if picture.index in wanted:
            image = picture.pixels.thumbnail(longest_side)
            scale = image.shape[1] / faces.size[0]
            yield annotate(image, faces.tracks, picture.index, scale, names)
        hooks.progress("look", picture.index + 1, faces.count)
        if picture.index >= max(wanted, default=0):
            return
