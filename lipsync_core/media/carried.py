"""What of a source is neither picture nor sound: title, chapters, subtitles, carried over into a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

from ..files import own_reader
from .audio_mux import picture_start
from .source import disposition, open_media

TITLES = ("title", "artist", "album", "date", "comment", "copyright", "description", "genre", "show", "network")
"""Metadata that say something of the work, not of the file that holds it."""
_MATROSKA = {"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "text"}
SUBTITLES = {".mkv": _MATROSKA, ".webm": {"webvtt"}, ".mp4": {"mov_text"}, ".m4v": {"mov_text"}, ".mov": {"mov_text"}}
"""What can be copied into a container as it is."""
_HELD = 3_000_000
"""Microseconds of packets that the muxer may keep while it waits for the next subtitle, which may never come. FFmpeg's own 10 s are a
gigabyte of a 4K picture without losses; less than an encoder looks ahead (2 s) would write sound and picture in coarser turns."""
_MALFORMED = (FFmpegError, OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, SystemError)
"""What PyAV raises for values that a damaged file brings."""


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
        self._start, self._packets = Fraction(origin.start) + (picture_start(self._input) or 0), iter(())
        self._until = None if origin.seconds is None else Fraction(origin.seconds).limit_denominator(1_000_000)
        self._damaged = 0
        for what, carry in (("title", self._metadata), ("chapters", self._chapters), ("subtitles", lambda: self._subtitles(suffix))):
            try:
                carry()
            except _MALFORMED as error:
                self._leave_out(what, error)

    def _leave_out(self, what: str, error: BaseException) -> None:
        self._warn(f"The {what} of the source could not all be kept ({(str(error) or 'damaged').splitlines()[0]}).")

    def _metadata(self) -> None:
        self._output.metadata.update({key: value for key, value in self._input.metadata.items() if key.lower() in TITLES})

    def _chapters(self) -> None:
        chapters = self._input.chapters() if hasattr(self._input, "chapters") else []
        if chapters and not hasattr(self._output, "set_chapters"):    # PyAV 15 reads them only, 14.0 knows none
            self._warn("The chapters of the source could not be kept: a newer PyAV writes them (pip install -U av).")
            return
        kept, damaged = [], None
        for chapter in chapters:
            try:
                base = Fraction(chapter["time_base"])
                begin, end = (chapter[name] * base - self._start for name in ("start", "end"))
                begin, end = max(begin, Fraction(0)), end if self._until is None else min(end, self._until)
                names = {str(key): str(value) for key, value in chapter["metadata"].items()}
            except _MALFORMED as error:
                damaged = error
                continue
            if end > begin:
                kept.append({"id": len(kept) + 1, "time_base": Fraction(1, 1000), "start": round(begin * 1000), "end": round(end * 1000),
                             "metadata": names})
        if damaged is not None:
            self._leave_out("chapters", damaged)
        if kept:
            self._output.set_chapters(kept)

    def _subtitles(self, suffix: str) -> None:
        targets: dict[int, Any] = {}
        left = []
        for stream in self._input.streams.subtitles:
            name = stream.codec_context.name if stream.codec_context is not None else "unknown"
            name = {"srt": "subrip"}.get(name, name)
            try:
                if name not in SUBTITLES.get(suffix, ()):
                    raise ValueError(name)
                target = self._output.add_stream_from_template(stream)
            except (FFmpegError, ValueError):
                left.append(name)
                continue
            target.metadata.update({key: value for key, value in stream.metadata.items() if key in ("title", "language", "handler_name")})
            if hasattr(stream, "disposition"):                        # forced, for the hard of hearing, …; PyAV 14.0 knows none
                target.disposition = disposition(stream)
            targets[stream.index] = target
        if left:
            holds = next((other for other, kinds in SUBTITLES.items() if other != suffix and kinds.issuperset(left)), None)
            self._warn(f"{len(left)} subtitle track(s) of the source ({', '.join(left)}) can't be kept in a {suffix} file"
                       + (f": a {holds} file keeps them." if holds else "."))
        if targets:
            self._output.container_options.setdefault("max_interleave_delta", str(_HELD))
            self._packets = self._copied(targets)

    def _copied(self, targets: dict[int, Any]) -> Iterator[tuple[Fraction, av.Packet]]:
        """Packets on the result's clock, and their times."""
        finished: set[int] = set()
        try:
            for packet in self._input.demux([self._input.streams[index] for index in targets]):
                # MP4 has empty samples between the lines: its muxer makes them anew.
                if packet.pts is None or not packet.size or (packet.size == 2 and bytes(packet) == b"\0\0"):
                    continue
                base, index = packet.time_base, packet.stream.index
                time = packet.pts * base - self._start
                length = max(0, packet.duration or 0) * base
                if self._until is not None and time >= self._until:
                    finished.add(index)
                    if len(finished) == len(targets):                 # of a long film the rest is not read
                        return
                    continue
                if time < 0:
                    if time + length <= 0:
                        continue
                    time, length = Fraction(0), time + length
                if self._until is not None:
                    length = min(length, self._until - time)
                packet.pts = packet.dts = round(time / base)
                packet.duration = round(length / base)
                packet.stream = targets[index]
                yield time, packet
        except (FFmpegError, OSError) as error:
            self._leave_out("subtitles", error)

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
            except (FFmpegError, ValueError, OverflowError) as error:
                if not self._damaged:                                 # one line, however many
                    self._leave_out("subtitles", error)
                self._damaged += 1

    def close(self) -> None:
        """Let go of the input file."""
        if hasattr(self._packets, "close"):
            self._packets.close()
        self._input.close()
