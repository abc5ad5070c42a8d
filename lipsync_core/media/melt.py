"""One frame on its way into another: what moves is moved, so that nothing is seen double."""

from __future__ import annotations

import av
import cv2
import numpy as np

from .layouts import layout_of
from .pixels import FrameView, own_frame

SMALL = 480
"""Longer side of the pictures in which movement is looked for, pixels."""


def melted(frame: av.VideoFrame, other: av.VideoFrame, share: float) -> av.VideoFrame:
    """`frame`, `share` (0..1) of the way to `other`, in its own samples: both are bent to where things are on that way (dense optical flow)
    and mixed. As it is, where it has a format that is never written to."""
    if layout_of(frame.format.name) is None:
        return frame
    target, source = FrameView(own_frame(frame)), FrameView(other)
    there, back = _movement(target.thumbnail(SMALL), source.thumbnail(SMALL))
    for index in range(len(target.layout.components)):
        mine, theirs = target.samples(index), source.samples(index)
        shift = target.layout.shift
        mixed = (1 - share) * _bent(mine >> shift, share * there) + share * _bent(theirs >> shift, (1 - share) * back)
        mine[...] = np.clip(np.rint(mixed), 0, target.layout.peak).astype(mine.dtype) << shift
    return target.frame


def _movement(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB pictures of one size -> how each point of the one moves into the other, and back: float32 (h, w, 2), shares of the sides."""
    grays = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (a, b)]
    height, width = grays[0].shape
    if min(height, width) < 32:                                       # nothing to look for
        return (np.zeros((height, width, 2), np.float32),) * 2
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    scale = np.array([width, height], np.float32)
    return flow.calc(grays[0], grays[1], None) / scale, flow.calc(grays[1], grays[0], None) / scale


def _bent(samples: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Samples (h, w), moved by `move` (any size, shares of width and height): float32 (h, w)."""
    height, width = samples.shape
    where = cv2.resize(move, (width, height), interpolation=cv2.INTER_LINEAR) * np.array([-width, -height], np.float32)
    where[..., 0] += np.arange(width, dtype=np.float32)
    where[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(samples.astype(np.float32), where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
