"""Frames of a file by their timestamps, or from a number on, without decoding all that comes before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

import av

from .seek import sought
from .source import SourceFrame, VideoSource, open_media

PIECE, FRAMES, MOST = 8 << 20, 6, 64 << 20
"""Bytes of decoded frames that are held to hand them out backwards; of large frames as many more as make `FRAMES`, up to `MOST` bytes. A
longer piece decodes less twice: a key frame comes every 250 frames in most files, and each piece is decoded from the one before it. (A clip
that is extended to 60 s needs 1.02 times what a clip of 60 s does, `benchmarks/memory.py --bounce`; with 12 MB and 8 frames 1.07.)"""
THREADS = 2
"""Of a decoder that seeks: each holds frames of its own."""


class Again:
    """Frames of a source by their timestamps, from one container that is kept open."""

    def __init__(self, source: VideoSource, threads: int, seekable: bool) -> None:
        """`seekable`: the file's own timestamps are those that frames are asked for by."""
        self._source, self._threads, self._seekable = source, threads, seekable
        self._container: av.container.InputContainer | None = None
        frame = source.info.width * source.info.height * av.VideoFormat(source.info.pix_fmt).padded_bits_per_pixel // 8 or 1
        self._spare = source.info.codec == "h264"
        self._wanted: int | None = None
        """Timestamp before which frames may be left out."""
        self._piece = max(2, PIECE // frame, min(FRAMES, MOST // frame))

    def __enter__(self) -> Again:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = open_media(self._source.file)
        self._stream = self._source.stream_of(self._container)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads or THREADS

    def read(self, times: Sequence[int]) -> Iterator[av.VideoFrame]:
        """The frames with timestamps from the first to the last of `times`."""
        if not times:
            return
        for pts, frame in self.after(times[0]):
            if pts > times[-1]:
                return
            if pts >= times[0]:
                yield frame

    def after(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames and timestamps, whole from the timestamp `first` on; of those before it some are left out."""
        if self._seekable:
            self._wanted = first
            if (yield from sought(self._container, self._stream, first, self._source.info.time_base,
                                  partial(self._source.timed, self, self._stream))):
                return
        self._open()                                                  # no index, or timestamps that only counting gives
        self._wanted = first if self._seekable else None
        yield from self._source.timed(self, self._stream)

    def demux(self, stream: av.video.stream.VideoStream) -> Iterator[av.Packet]:
        """The container's packets. What no other picture needs is not decoded before the one that is wanted: of H.264, where nal_ref_idc 0
        says so (ITU-T H.264, 7.4.1), two of five of a file with B-frames."""
        for packet in self._container.demux(stream):
            if self._spare:
                early = self._wanted is not None and packet.pts is not None and packet.pts < self._wanted
                stream.codec_context.skip_frame = "NONREF" if early else "DEFAULT"
            yield packet

    def backwards(self, times: Sequence[int]) -> Iterator[av.VideoFrame]:
        """The frames of `times` from the last to the first."""
        for end in range(len(times), 0, -self._piece):
            piece = list(self.read(times[max(0, end - self._piece):end]))
            if hasattr(self._stream.codec_context, "flush_buffers"):  # what the decoder keeps of its own is as much again
                self._stream.codec_context.flush_buffers()
            while piece:
                yield piece.pop()


def frames_from(source: VideoSource, index: int, time: Fraction, origin: int, plain: bool) -> Iterator[SourceFrame]:
    """The frames of a source from number `index` on, which is shown at `time` (seconds from frame 0). `origin` (see `VideoSource`) and
    `plain`, whether the file's own timestamps could be used, are what an earlier reading found."""
    if not index or type(source) is not VideoSource or not plain or source.deinterlace:
        # Frames that are repeated, counted, or made of those beside them are known by going through them.
        yield from (item for item in source.frames() if item.index >= index)
        return
    base, source.origin = source.info.time_base, origin
    first = origin + round(time / base)
    with Again(source, 0, True) as again:
        for pts, frame in again.after(first):
            if pts >= first:
                yield SourceFrame(index, (pts - origin) * base, pts - origin, frame)
                index += 1
