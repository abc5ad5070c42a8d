"""Moments worth looking at: the worst and the median frame of what is measured by the frame, as small pictures of the mouth."""

from __future__ import annotations

import cv2
import numpy as np

from ..contact_sheet import fit
from ..media import FrameView
from ..types import Hooks
from .clip import Clip
from .report import Tile

SIDE = 220
"""Side of a picture, pixels."""
QUALITY = 88
"""JPEG: artefacts must not be taken for the dub's."""


def pick_moments(values: dict[str, np.ndarray]) -> list[tuple[str, int]]:
    """Titles and frames: for every list of numbers (a row a frame, NaN unknown) the worst and the median one.

    The worst is the farthest from perfect: from 0 for distances, from 1 (by ratio) for the others.
    """
    picked: list[tuple[str, int]] = []
    for name, row in values.items():
        seen = np.flatnonzero(np.isfinite(row))
        if len(seen) < 3:
            continue
        badness = row[seen] if name == "Lip distance" else np.abs(np.log(np.maximum(row[seen], 1e-3)))
        order = seen[np.argsort(badness, kind="stable")]
        unit = " %" if name == "Lip distance" else ""
        for kind, frame in (("worst", order[-1]), ("median", order[len(order) // 2])):
            picked.append((f"{name}, {kind}: {row[frame]:.2f}{unit}", int(frame)))
    return picked


def square_box(shape: np.ndarray, picture: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Integer box of the mouth of landmarks (68, 2) in a picture (w, h), square where the picture allows. It is placed by eyes and nose
    alone, so that it is the same whatever the mouth does; None where the mouth is outside."""
    across = shape[45] - shape[36]
    unit = max(float(np.linalg.norm(across)), 1.0)
    centre = shape[33] + 0.45 * np.array([-across[1], across[0]])
    low, high = np.rint(centre - 0.7 * unit).astype(int), np.rint(centre + 0.7 * unit).astype(int)
    x0, y0, x1, y1 = (int(np.clip(v, 0, limit)) for v, limit in zip((*low, *high), (*picture, *picture)))
    return (x0, y0, x1, y1) if x1 - x0 > 7 and y1 - y0 > 7 else None


def make_tiles(clips: dict[str, Clip], values: dict[str, np.ndarray], hooks: Hooks) -> list[Tile]:
    """The picked moments with the mouth of every clip at that time; without anything to pick from, six spread over the dub."""
    dub = clips["dub"]
    moments = pick_moments(values)
    if not moments:
        seen = np.flatnonzero(np.isfinite(dub.mouths.points[:, 0, 0]))
        picked = [seen[round(p)] for p in np.linspace(0, len(seen) - 1, 6)] if len(seen) else []
        moments = [(f"Frame {frame}", int(frame)) for frame in dict.fromkeys(picked)]
    times = {frame: float(dub.mouths.times[frame]) for _, frame in moments}
    crops: dict[int, dict[str, bytes]] = {frame: {} for frame in times}
    for name, clip in clips.items():
        # The frame that is nearest in time; for dub and source that is the same number.
        own = {frame: int(np.abs(clip.mouths.times - time).argmin()) for frame, time in times.items()}
        pictures = _pictures(clip, set(own.values()), hooks)
        for frame, number in own.items():
            if number in pictures:
                crops[frame][name] = pictures[number]
    return [Tile(title, times[frame], crops[frame]) for title, frame in moments]


def _pictures(clip: Clip, wanted: set[int], hooks: Hooks) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for item in clip.source.frames():
        hooks.check_interrupt()
        if item.index in wanted:
            view = FrameView(item.frame, clip.source.info.rotation)
            shape = clip.mouths.points[item.index]
            box = square_box(shape, (view.width, view.height)) if np.isfinite(shape).all() else None
            image = np.clip(np.rint(view.region(box)), 0, 255).astype(np.uint8) if box else view.thumbnail(SIDE)
            ok, data = cv2.imencode(".jpg", cv2.cvtColor(fit(image, SIDE), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if ok:
                found[item.index] = data.tobytes()
        if len(found) == len(wanted):
            break
    return found
