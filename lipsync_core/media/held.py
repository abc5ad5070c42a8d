"""A picture that lasts as long as the speech: the last frame of a video held, or a photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from .pixels import copied
from .source import SourceFrame, VideoInfo, VideoSource

FPS = 25.0
"""Frames a second of a photo."""
_BT709, _LIMITED = 1, 1
"""FFmpeg's numbers for the colours that players expect of a video."""


class LongerSource(VideoSource):
    """A video that goes on until `seconds`, in steps of its frame rate. Raises `MediaError` as `VideoSource` does."""

    def __init__(self, file: Path | str | BinaryIO, seconds: float, *, start: float = 0, duration: float | None = None,
                 deinterlace: bool = False) -> None:
        super().__init__(file, start=start, duration=duration, deinterlace=deinterlace)
        # A float such as 3.16 means 316 hundredths, not the binary number above it: that would be a frame more.
        self.seconds = Fraction(seconds).limit_denominator(1_000_000)

    def _further(self, last: SourceFrame) -> Iterator[tuple[int, Fraction, int]]:
        """Index, time and timestamp of the frames that follow the source's last one."""
        step, count = 1 / self.info.frame_rate, 1
        while (time := last.time + count * step) < self.seconds:
            yield last.index + count, time, max(last.pts + count, round(time / self.info.time_base))
            count += 1

    @property
    def frame_count(self) -> int:
        return max(super().frame_count, round(self.seconds * float(self.info.frame_rate)))


class HeldSource(LongerSource):
    """A video whose last frame stays until `seconds`, or a photo that is shown for `seconds` at `fps` frames a second.

    What is held is one decoded frame, however long. A photo becomes what every player shows, 8-bit 4:2:0 in BT.709 with even sides (an
    odd last row or column is left out); a video's frames are its own. Raises `MediaError` as `VideoSource` does.
    """

    def __init__(self, file: Path | str | BinaryIO, seconds: float, *, start: float = 0, duration: float | None = None,
                 fps: float = FPS, deinterlace: bool = False) -> None:
        super().__init__(file, seconds, start=start, duration=duration, deinterlace=deinterlace)
        if self.info.still:
            self.start, self.duration = Fraction(0), None             # a photo has no passages
            self.info = _shown(self.info, fps)

    def frames(self, threads: int = 0) -> Iterator[SourceFrame]:
        """Decoded anew by each call, like the source's; a held frame is a copy, so that each may be painted on."""
        last = None
        for item in super().frames(threads):
            if last is not None:
                yield last
            last = dataclasses.replace(item, frame=_as_video(item.frame, self.info)) if self.info.still else item
        if last is None:
            return
        kept = last.frame                                             # whoever is given a frame may paint on it
        yield dataclasses.replace(last, frame=copied(kept))
        for index, time, pts in self._further(last):
            yield SourceFrame(index, time, pts, copied(kept))


def _shown(info: VideoInfo, fps: float) -> VideoInfo:
    rate = Fraction(fps).limit_denominator(1001)
    if abs(rate * 1001 / 1000 - round(rate * 1001 / 1000)) < Fraction(1, 1000):                # 29.97 and its kind
        rate = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return dataclasses.replace(info, width=info.width // 2 * 2, height=info.height // 2 * 2, pix_fmt="yuv420p", frame_rate=rate,
                               time_base=1 / rate, color_primaries=_BT709, color_trc=_BT709, colorspace=_BT709, color_range=_LIMITED,
                               frames=1, duration=float(1 / rate))


def _as_video(photo: av.VideoFrame, info: VideoInfo) -> av.VideoFrame:
    pixels = np.ascontiguousarray(photo.to_ndarray(format="rgb24")[:info.height, :info.width])
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format=info.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
    frame.pts, frame.time_base = 0, info.time_base
    frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = _BT709, _BT709, _BT709, _LIMITED
    return frame
