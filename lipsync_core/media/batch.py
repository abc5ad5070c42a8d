"""Frames that are in memory already, as a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from ..array_pixels import ArrayPixels
from ..errors import MediaError
from ..types import Picture


class FrameBatch:
    """See `types.Clip`. `frame(i)` gives frame i as float RGB (h, w, 3) or RGBA (h, w, 4), 0..1; all `count` have one size (w, h).

    Raises `MediaError` where there is no frame, or no rate.
    """

    def __init__(self, frame: Callable[[int], np.ndarray], count: int, size: tuple[int, int], frame_rate: Fraction) -> None:
        if count < 1:
            raise MediaError("The batch has no picture in it: connect at least one frame.")
        if frame_rate <= 0:
            raise MediaError(f"{float(frame_rate):g} frames a second is no frame rate: use that of the video, for example 25.")
        self._frame, self.frame_count, self.size, self.frame_rate = frame, count, size, frame_rate

    def pixels(self, index: int) -> ArrayPixels:
        """Frame `index`; samples that came from 8 bits are those again."""
        image = np.asarray(self._frame(index), np.float32)[..., :3] * 255
        if image.shape[2] == 1:
            image = np.repeat(image, 3, 2)
        whole = np.rint(image)
        return ArrayPixels(whole if np.abs(image - whole).max() < 1e-3 else image)

    def pictures(self) -> Iterator[Picture]:
        for index in range(self.frame_count):
            yield Picture(index, index / self.frame_rate, self.pixels(index))
