"""A result in pieces: each encoded by itself, and joined without encoding again."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError

from ..errors import OutputError
from .encoding import Encoding, Plan, plan
from .source import VideoInfo, open_media
from .writer import VideoWriter

FORMAT, OTHER = "nut", "mov"
"""FFmpeg's own container, which keeps the encoder's timestamps; and what holds codecs that it has no name for (ProRes)."""
GLOBAL_HEADER, HEADERS_WITHIN = 1 << 22, (".avi",)
"""FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER, and the containers that have no place for what it keeps out of the stream."""
STITCHABLE = {"libx264": "x264-params", "libx264rgb": "x264-params"}
"""x264 fits its headers to what it encodes unless it is told that others will be put behind them (its option `stitchable`)."""


def in_pieces(encoding: Encoding, info: VideoInfo, target: Path) -> Encoding:
    """The encoding of pieces that are to be joined into `target`. Raises `OutputError`."""
    option = STITCHABLE.get(plan(encoding, info, target, lambda sentence: None).encoder)
    if option is None:
        return encoding
    said = encoding.options.get(option)
    return dataclasses.replace(encoding, options={**encoding.options, option: f"{said}:stitchable=1" if said else "stitchable=1"})


class PieceWriter(VideoWriter):
    """The picture of a piece of `whole`, encoded as all of it, into `target`, which only `JoinedWriter` needs to read. Raises
    `OutputError`."""

    def __init__(self, target: Path, whole: Path, info: VideoInfo, encoding: Encoding) -> None:
        self._whole, self._frames, self._packets = whole, 0, 0
        self._numbers: dict[int, int] = {}
        """Frames that are in the encoder, by their timestamps."""
        self.delay = 0
        """By how many packets a picture may come later than it is shown: what a player must wait at the beginning."""
        super().__init__(target, info, encoding)

    def _planned(self, encoding: Encoding, warn: Callable[[str], None]) -> Plan:
        chosen = plan(encoding, self.info, self._whole, warn)
        return dataclasses.replace(chosen, options={key: value for key, value in chosen.options.items() if key != "tag"})

    def _open(self) -> av.container.OutputContainer:
        name = av.Codec(self._plan.encoder, "w").canonical_name
        output = av.open(str(self._partial), mode="w", format=FORMAT)
        if name in output.supported_codecs:
            return output
        output.close()
        return av.open(str(self._partial), mode="w", format=OTHER)

    def _add_stream(self) -> av.video.stream.VideoStream:
        stream = super()._add_stream()
        if self._whole.suffix.lower() in HEADERS_WITHIN:
            stream.codec_context.flags = int(stream.codec_context.flags) & ~GLOBAL_HEADER
        return stream

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        self._numbers[pts] = self._frames
        self._frames += 1
        super().write(frame, pts)

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        for packet in packets:
            self.delay = max(self.delay, self._packets - self._numbers.pop(packet.pts, self._packets))
            self._packets += 1
        super()._mux(packets)

    def _flush(self) -> None:
        self._mux(self._stream.encode(None))

    def _land(self) -> None:
        self._rotated = True                                          # the whole says how it is turned
        super()._land()


class JoinedWriter(VideoWriter):
    """As `VideoWriter`, but for pieces that `PieceWriter` wrote with the same `info` and encoding. Raises `OutputError`."""

    delay = 0
    """The largest of the pieces' own."""

    def append(self, piece: Path, begin: int) -> None:
        """The next piece, in the order in which they are shown; its first frame is shown at `begin`, units of `info.time_base`."""
        base = self.info.time_base
        step = max(1, round(1 / (self.info.frame_rate * base)))
        try:
            with open_media(piece) as source:
                self._container.start_encoding()
                mine, theirs = (stream.codec_context.extradata for stream in (self._stream, source.streams.video[0]))
                if mine and theirs and bytes(mine) != bytes(theirs):
                    raise OutputError(f"What {self._plan.encoder} writes can't be joined: leave out --split, or choose another --codec.")
                first = None
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        first = packet.pts if first is None else first        # the muxer moves times below 0
                        self._append(packet, begin + round((packet.pts - first) * Fraction(packet.time_base) / base), step)
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _append(self, packet: av.Packet, pts: int, step: int) -> None:
        # Decoding order, numbered anew: the i-th packet is due when the picture is shown that is `delay` places before the i-th.
        heapq.heappush(self._shown, pts)
        if self._first is None:
            self._first = pts
        due = self._first - (self.delay - self._count) * step if self._count < self.delay else heapq.heappop(self._shown)
        self._count += 1
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = self._stream, self.info.time_base, pts, due, step
        self._last = max(self._last or Fraction(0), pts * self.info.time_base)
        self._mux([packet])

    def _add_stream(self) -> av.video.stream.VideoStream:
        self._shown: list[int] = []
        self._first: int | None = None
        self._count = 0
        return super()._add_stream()

    def _flush(self) -> None:
        pass                                                          # the encoder was only asked for its headers
