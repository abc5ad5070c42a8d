"""Where to begin to decode a file for a frame in its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.error import FFmpegError

BACK = (0, 2, 10, 50)
"""Seconds before a frame at which a place to decode from is looked for, one after the other. Indices are in the order of decoding: a seek
may end behind the frame that is wanted, and at a picture that needs earlier ones. Encoders set key frames 250 frames apart, 10 s. A
transport stream has no index: FFmpeg ends at the next key frame behind the place."""
GUESSING = ("mpeg", "avi")
"""FFmpeg's names of formats whose timestamps after a seek are guesses: a program stream has one a pack, not one a frame, and AVI counts."""


def sought(container: av.container.InputContainer, stream: av.video.stream.VideoStream, first: int, base: Fraction,
           timed: Callable[[], Iterator[tuple[int, av.VideoFrame]]]) -> Iterator[tuple[int, av.VideoFrame]]:
    """The pairs of `timed` (timestamp, units of `base`, and frame) from a key frame at or before the timestamp `first` on, after a seek of
    the open `container`. Returns whether there was such a place; where not, nothing was yielded and the file must be opened again."""
    # FFmpeg's H.264 decoder shows pictures that are not whole where a file marks a place that is no key frame.
    strict, begin = stream.codec_context.name == "h264", stream.start_time or 0
    for back in BACK if container.format.name not in GUESSING else ():
        try:
            container.seek(max(first - round(back / base), begin), stream=stream, backward=True)
        except FFmpegError:
            return False                                              # a format that can't
        good = None
        for pts, frame in timed():
            if good is None:
                good = frame.pts == pts <= first and (frame.key_frame or not strict)
            if not good:
                break
            yield pts, frame
        if good:
            return True
    return False
