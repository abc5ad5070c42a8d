"""A picture that goes on as long as the speech: its last seconds again and again, or backwards and forwards."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from .again import Again
from .held import FPS, HeldSource, LongerSource
from .melt import melted
from .pixels import FrameView
from .source import SourceFrame, VideoSource

EXTEND = ("off", "hold", "forward", "bounce")
REVERSE = "reverse"
"""NVIDIA's name for bounce."""
TAIL = 5.0
"""Seconds that are repeated, NVIDIA's own."""
BLEND = 0.2
"""Seconds over which the end of a round melts into the beginning of the next."""
TINY = 32
"""Longer side of the pictures that are compared to find a seam, pixels."""
BEGINNING = 2.5
"""Seconds from its beginning within which a clip that is repeated whole may be entered again."""


class ExtendedSource(LongerSource):
    """A video whose last `tail` seconds are shown again and again until `seconds`: 'forward', or 'bounce' (backwards, forwards, ...).

    Frames are decoded again for every round, by seeking; backwards in pieces. What is kept is a timestamp a frame, and for 'forward' tiny
    pictures of the tail, among which those are chosen between which the jump is least; the last frames of a round melt into it.
    """

    def __init__(self, file: Path | str | BinaryIO, seconds: float, how: str, *, tail: float = TAIL, start: float = 0,
                 duration: float | None = None, deinterlace: bool = False) -> None:
        super().__init__(file, seconds, start=start, duration=duration, deinterlace=deinterlace)
        self.how, self.tail = "bounce" if how == REVERSE else how, tail
        self._first: int | None = None
        """Number in the tail of the frame that a round of 'forward' begins with; known after the first reading."""

    def frames(self, threads: int = 0) -> Iterator[SourceFrame]:
        """Decoded anew by each call, like the source's."""
        rate = float(self.info.frame_rate)
        held = max(1, round(BLEND * rate)) if self.how == "forward" else 0
        size = math.ceil(self.tail * rate) + 1 if math.isfinite(self.tail) else None
        clock: deque[int] = deque(maxlen=size)
        looks = _Looks(size, rate)
        waiting: deque[SourceFrame] = deque()
        last, plain = None, True
        for item in super().frames(threads):
            clock.append(self.origin + item.pts)
            plain = plain and item.frame.pts == clock[-1]
            if self.how == "forward" and self._first is None:
                looks.add(FrameView(item.frame, self.info.rotation).thumbnail(TINY))
            last = item
            waiting.append(item)
            if len(waiting) > held:
                yield waiting.popleft()
        if last is None:
            return
        if last.time + 1 / self.info.frame_rate >= self.seconds:
            yield from waiting
            return
        times = list(clock)
        with Again(self, threads, plain) as again:
            if self.how == "forward":
                self._first = looks.seam(held) if self._first is None else self._first
                ends = self._melted([item.frame for item in waiting], times, again)
                for item, frame in zip(waiting, ends):
                    yield SourceFrame(item.index, item.time, item.pts, frame)
                rounds = self._forward(times, again, len(waiting))
            else:
                rounds = self._bounce(times, again)
            for (index, time, pts), frame in zip(self._further(last), rounds):
                yield SourceFrame(index, time, pts, frame)

    def _bounce(self, times: Sequence[int], again: Again) -> Iterator[av.VideoFrame]:
        while True:
            yield from again.backwards(times[:-1])
            yield from again.read(times[1:] or times)

    def _forward(self, times: Sequence[int], again: Again, held: int) -> Iterator[av.VideoFrame]:
        while True:
            waiting: deque[av.VideoFrame] = deque()
            for frame in again.read(times[self._first:]):
                waiting.append(frame)
                if len(waiting) > held:
                    yield waiting.popleft()
            yield from self._melted(list(waiting), times, again)

    def _melted(self, ends: Sequence[av.VideoFrame], times: Sequence[int], again: Again) -> list[av.VideoFrame]:
        """The last frames of a round, each with more of what comes before the first one of the next."""
        first = self._first or 0
        lead = list(again.read(times[max(0, first - len(ends)):first])) if first else []
        plain = len(ends) - len(lead)
        shares = [(i + 1) / (len(lead) + 1) for i in range(len(lead))]
        return [*ends[:plain], *(melted(*three) for three in zip(ends[plain:], lead, shares))]


class _Looks:
    """Tiny pictures of a tail, to find where it is entered again."""

    def __init__(self, size: int | None, rate: float) -> None:
        """`size` frames of tail at most; None: the whole clip, of which only the beginning and the end are kept."""
        self._tail: deque[np.ndarray] = deque(maxlen=size or 3)
        self._start: list[np.ndarray] | None = [] if size is None else None
        self._room = max(3, round(BEGINNING * rate))
        self._count = 0

    def add(self, picture: np.ndarray) -> None:
        look = picture.astype(np.float32).mean(-1)
        self._count += 1
        self._tail.append(look)
        if self._start is not None and len(self._start) < self._room:
            self._start.append(look)

    def seam(self, lead: int) -> int:
        """Number in the tail of the frame that goes best after the last one: picture and movement differ least. In the tail's first half,
        so that a round is not short, and not among its first `lead` frames."""
        tail = list(self._tail)
        places = self._start[:self._count // 2 + 1] if self._start is not None else tail[:len(tail) // 2 + 1]
        end, before = tail[-1], tail[max(-2, -len(tail))]
        # Where there are frames before it that the end can melt into; a clip of a few frames begins again.
        best, least = 0, np.inf
        for i in range(min(lead, len(places)), len(places)):
            jump = np.abs(places[i - 1] - end).mean()
            turn = np.abs((places[i] - places[i - 1]) - (end - before)).mean()
            if jump + turn < least:
                best, least = i, float(jump + turn)
        return best


def longer(file: Path | str | BinaryIO, how: str, seconds: float, *, tail: float = TAIL, start: float = 0, duration: float | None = None,
           fps: float = FPS, deinterlace: bool = False) -> VideoSource:
    """The video as it is ('off'), or one that lasts `seconds` (see `EXTEND`). A photo lasts as long in any case, at `fps`."""
    if how in ("forward", "bounce", REVERSE):
        source: VideoSource = ExtendedSource(file, seconds, how, tail=tail, start=start, duration=duration,
                                             deinterlace=deinterlace)
    elif how == "hold":
        return HeldSource(file, seconds, start=start, duration=duration, fps=fps, deinterlace=deinterlace)
    else:
        source = VideoSource(file, start=start, duration=duration, deinterlace=deinterlace)
    return HeldSource(file, seconds, start=start, duration=duration, fps=fps) if source.info.still else source
