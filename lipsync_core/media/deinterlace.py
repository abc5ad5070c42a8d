"""Whole pictures from interlaced ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.error import FFmpegError

FILTER = ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
"""FFmpeg's: a frame for a frame, at its own time; frames that are whole stay as they are."""


class _Graph:
    """The filter, for frames of one size and format."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self.kind = (frame.width, frame.height, frame.format.name)
        self._graph, self._base = av.filter.Graph(), Fraction(frame.time_base)
        self._source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
        filtered, self._sink = self._graph.add(*FILTER), self._graph.add("buffersink")
        self._source.link_to(filtered)
        filtered.link_to(self._sink)
        self._graph.configure()

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """What comes out; None: that was the last."""
        self._source.push(frame)
        while True:
            try:
                whole = self._sink.pull()
            except (BlockingIOError, FFmpegError):                    # it wants more, or there is no more
                return
            # The filter counts in half frames.
            whole.pts, whole.time_base = round(whole.pts * whole.time_base / self._base), self._base
            yield whole


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same frames, whole. A frame comes when the next one is known."""
    graph: _Graph | None = None
    for frame in frames:
        if frame.time_base is None or frame.pts is None:
            yield frame
            continue
        if graph is None or graph.kind != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from graph.push(None)
            graph = _Graph(frame)
        yield from graph.push(frame)
    if graph is not None:
        yield from graph.push(None)
