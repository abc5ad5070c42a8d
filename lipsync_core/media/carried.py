"""What of a source is neither picture nor sound: title, chapters, subtitles, carried over into a result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

from ..files import own_reader
from .source import open_media

log = logging.getLogger(__name__)

TITLES = ("title", "artist", "album", "date", "comment", "copyright", "description", "genre", "show", "network")
"""Metadata that say something of the work, not of the file that holds it."""
_MATROSKA = {"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "text"}
SUBTITLES = {".mkv": _MATROSKA, ".webm": {"webvtt"}, ".mp4": {"mov_text"}, ".m4v": {"mov_text"}, ".mov": {"mov_text"}}
"""What can be copied into a container as it is."""


@dataclass(frozen=True)
class Origin:
    """The source of a result, and the part of it that was used."""

    file: Path | str | BinaryIO
    start: float = 0.0
    """Seconds that were skipped."""
    seconds: float | None = None
    """Of the source that the result shows; None = to its end."""


class Carried:
    """Copies subtitles as the picture goes on. What is damaged is left out with a word, and never stops the job."""

    def __init__(self, origin: Origin, output: av.container.OutputContainer, suffix: str, warn: Callable[[str], None]) -> None:
        self._output, self._origin, self._warn = output, origin, warn
        self._pending: tuple[Fraction, av.Packet] | None = None
        file = origin.file if isinstance(origin.file, (str, Path)) else own_reader(origin.file)
        self._input = open_media(file)
        self._start, self._packets = Fraction(origin.start), iter(())
        try:
            self._metadata()
            self._chapters()
            self._packets = self._subtitles(suffix)
        except (FFmpegError, OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            warn(f"Not all of the source's title, chapters and subtitles could be kept ({str(error).splitlines()[0]}).")

    def _metadata(self) -> None:
        self._output.metadata.update({key: value for key, value in self._input.metadata.items() if key.lower() in TITLES})

    def _chapters(self) -> None:
        if not hasattr(self._output, "set_chapters"):
            return
        kept: list[dict[str, Any]] = []
        for chapter in self._input.chapters():
            base = Fraction(chapter["time_base"])
            begin, end = (chapter[name] * base - self._start for name in ("start", "end"))
            begin = max(begin, Fraction(0))
            end = end if self._origin.seconds is None else min(end, Fraction(self._origin.seconds).limit_denominator(1_000_000))
            if end > begin:
                kept.append({**chapter, "id": len(kept) + 1, "time_base": Fraction(1, 1000), "start": round(begin * 1000),
                             "end": round(end * 1000)})
        if kept:
            self._output.set_chapters(kept)

    def _subtitles(self, suffix: str) -> Iterator[tuple[Fraction, av.Packet]]:
        targets: dict[int, Any] = {}
        left = []
        for stream in self._input.streams.subtitles:
            name = stream.codec_context.name if stream.codec_context is not None else "unknown"
            name = {"srt": "subrip"}.get(name, name)
            if name not in SUBTITLES.get(suffix, ()):
                left.append(name)
                continue
            target = self._output.add_stream_from_template(stream)
            target.metadata.update({key: value for key, value in stream.metadata.items() if key in ("title", "language", "handler_name")})
            targets[stream.index] = target
        if left:
            self._warn(f"{len(left)} subtitle track(s) of the source ({', '.join(left)}) can't be kept in a {suffix} file: an .mkv keeps "
                       "most kinds.")
        return self._copied(targets)

    def _copied(self, targets: dict[int, Any]) -> Iterator[tuple[Fraction, av.Packet]]:
        if not targets:
            return
        until = None if self._origin.seconds is None else Fraction(self._origin.seconds).limit_denominator(1_000_000)
        try:
            for packet in self._input.demux([self._input.streams[index] for index in targets]):
                if packet.pts is None or not packet.size:
                    continue
                base = packet.time_base
                time = packet.pts * base - self._start
                length = (packet.duration or 0) * base
                if time + length <= 0 or (until is not None and time >= until):
                    continue
                length += min(time, Fraction(0))
                time = max(time, Fraction(0))
                if until is not None and length:
                    length = min(length, until - time)
                packet.pts = packet.dts = round(time / base)
                packet.duration = round(length / base)
                packet.stream = targets[packet.stream.index]
                yield time, packet
        except (FFmpegError, OSError) as error:
            log.warning("the subtitles of the source end early: %s", error)

    def advance(self, until: float) -> None:
        """Mux all subtitles that begin before `until` seconds."""
        while True:
            if self._pending is None:
                self._pending = next(self._packets, None)
            if self._pending is None or self._pending[0] >= until:
                return
            _, packet = self._pending
            self._pending = None
            try:
                self._output.mux(packet)
            except (FFmpegError, ValueError) as error:
                log.warning("a subtitle could not be kept: %s", error)

    def close(self) -> None:
        """Let go of the input file."""
        if hasattr(self._packets, "close"):
            self._packets.close()
        self._input.close()
