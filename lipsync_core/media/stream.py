"""A video that comes piece by piece and is read once, from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import BinaryIO

import av

from ..errors import MediaError
from .source import SourceFrame, VideoSource, _describe, open_media


class StreamSource(VideoSource):
    """See `VideoSource`; `file` needs no more than `read`, and is waited for. The container must be one that can be read from its beginning
    on. Use as a context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.start, self.duration, self.damaged, self.origin = file, Fraction(0), None, 0, 0
        self._container = open_media(file)
        try:
            self._stream = self.stream_of(self._container)
            self._stream.thread_type = "AUTO"
            rest = super()._decode(self._container, self._stream)
            first = next(rest, None)
            if first is None:
                raise MediaError("The given stream has no picture that can be decoded: it is damaged or empty.")
            self.info = _describe(self._container, self._stream, first)
            self._all = chain([first], rest)
        except BaseException:
            self._container.close()
            raise

    def _decode(self, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator[av.VideoFrame]:
        return self._all

    def frames(self, threads: int = 0) -> Iterator[SourceFrame]:
        """All frames, once."""
        origin = None
        for index, (pts, frame) in enumerate(self.timed(self._container, self._stream)):
            if origin is None:
                self.origin = origin = pts
            yield SourceFrame(index, (pts - origin) * self.info.time_base, pts - origin, frame)

    def __enter__(self) -> StreamSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()
