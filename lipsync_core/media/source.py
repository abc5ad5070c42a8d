"""Video files as streams of frames in their own pixel format, with their own timestamps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import av
from av.error import FFmpegError

from ..errors import MediaError
from ..files import check_file
from ..types import Picture
from .deinterlace import deinterlaced
from .pixels import FrameView
from .seek import sought

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its picture. Sizes are of the stored picture; `display_size` applies the rotation."""

    width: int
    height: int
    pix_fmt: str
    frame_rate: Fraction
    """Average frames a second; the frames' own timestamps are what counts."""
    time_base: Fraction
    rotation: int
    """0, 90, 180 or 270 degrees counter-clockwise that a player turns the stored picture."""
    sample_aspect_ratio: Fraction
    color_primaries: int
    color_trc: int
    colorspace: int
    color_range: int
    """The four tags as H.273 code points (FFmpeg's numbers); 2 = unspecified, range 0 = unspecified, 1 = limited, 2 = full."""
    frames: int
    """An estimate for progress bars; 0 = unknown."""
    duration: float
    """Seconds, an estimate; 0 = unknown."""
    codec: str
    still: bool = False
    """A photo: a file of one picture, without a clock of its own."""
    interlaced: bool = False
    """Its first frame is two half pictures."""

    @property
    def display_size(self) -> tuple[int, int]:
        """Width, height as shown."""
        return (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)


@dataclass(frozen=True)
class SourceFrame:
    """One decoded frame: its number and its time from the first frame of the window."""

    index: int
    time: Fraction
    """Seconds."""
    pts: int
    """The same in units of `VideoInfo.time_base`."""
    frame: av.VideoFrame


def open_media(file: Path | str | BinaryIO, what: str = "video") -> av.container.InputContainer:
    """`av.open` with errors as `MediaError` sentences."""
    if isinstance(file, (str, Path)):
        check_file(Path(file), what)
        file = str(Path(file))
    elif hasattr(file, "seek"):                                       # a stream that only goes forward has none
        file.seek(0)
    try:
        # Names and titles in old files are in any encoding; none of them matters here.
        return av.open(file, mode="r", metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        raise MediaError(f"{_name(file)} can't be read as {what} ({_reason(error)}): it is damaged, incomplete, or not a "
                         f"media file; try to play it, or convert it to MP4.") from error


def _name(file: object) -> str:
    return str(file) if isinstance(file, (str, Path)) else "The given stream"


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].rstrip(".")


class VideoSource:
    """A video file, or a part of it, that can be read frame by frame as often as needed.

    `start` and `duration` (seconds; None = to the end) choose a window; frame 0 is the first frame at or after `start`.
    Raises `MediaError` if the file is missing, not media, or has no picture.
    """

    deinterlace = False
    """Whether whole frames are made of interlaced ones."""

    def __init__(self, file: Path | str | BinaryIO, *, start: float | Fraction = 0,
                 duration: float | Fraction | None = None, deinterlace: bool = False) -> None:
        self.file, self.deinterlace = file, deinterlace
        # A float such as 0.4 means four tenths, not the binary number next to it.
        self.start = Fraction(start).limit_denominator(1_000_000)
        self.duration = None if not duration else Fraction(duration).limit_denominator(1_000_000)
        self.damaged = 0
        """Packets that could not be decoded in the last reading."""
        self.counted = 0
        """Frames of the last reading whose timestamps are not the file's own, which said none or did not ascend."""
        self.origin = 0
        """Timestamp of frame 0 in the file, units of `VideoInfo.time_base`, once it was read."""
        with open_media(file) as container:
            stream = self.stream_of(container)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise MediaError(f"{_name(file)} has no picture that can be decoded: it is damaged or empty.")
            self.info = _describe(container, stream, first)

    def stream_of(self, container: av.container.InputContainer) -> av.video.stream.VideoStream:
        """The picture in an open container; raises `MediaError` where there is none."""
        streams = [s for s in container.streams.video if s.codec_context is not None
                   and not disposition(s) & ATTACHED]
        if not streams:
            kind = "only sound" if container.streams.audio else "no picture"
            raise MediaError(f"{_name(self.file)} has {kind}: a video with a picture is needed.")
        return streams[0]

    def _decode(self, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded; damaged packets are counted and passed over."""
        self.damaged = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (FFmpegError, OSError) as error:
                log.warning("%s ends early: %s", _name(self.file), _reason(error))
                self.damaged += 1
                return
            try:
                yield from packet.decode()
            except FFmpegError:
                self.damaged += 1

    def timed(self, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with timestamps that ascend, whatever the file says."""
        step, last = max(1, round(1 / (self.info.frame_rate * self.info.time_base))), None
        self.counted = 0
        frames = self._decode(container, stream)
        for frame in deinterlaced(frames) if self.deinterlace else frames:
            pts = frame.pts if frame.pts is not None else (0 if last is None else last + step)
            last = pts if last is None or pts > last else last + 1
            self.counted += last != frame.pts
            yield last, frame

    def frames(self, threads: int = 0) -> Iterator[SourceFrame]:
        """The frames of the window in order, decoded anew by each call. `threads` 0 = as many as the decoder likes."""
        base, origin, index = self.info.time_base, None, 0
        for pts, frame in self._from_start(threads):
            if origin is None:
                self.origin = origin = pts
            time = (pts - origin) * base
            if self.duration is not None and time >= self.duration:
                return
            yield SourceFrame(index, time, pts - origin, frame)
            index += 1

    def _from_start(self, threads: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Timestamps in the file and frames, from the window's first on."""
        base = self.info.time_base
        for seeking in (True, False) if self.start > 0 else (False,):
            with open_media(self.file) as container:
                stream = self.stream_of(container)
                stream.thread_type = "AUTO"
                if threads:
                    stream.codec_context.thread_count = threads
                zero = stream.start_time or 0
                first, found = int(self.start / base) + zero, False
                frames = partial(self.timed, container, stream)
                for pts, frame in sought(container, stream, first, base, frames) if seeking else frames():
                    found = True
                    if (pts - zero) * base >= self.start:
                        yield pts, frame
                if found:
                    return

    # -- Clip ------------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        return self.info.display_size

    @property
    def frame_rate(self) -> Fraction:
        return self.info.frame_rate

    @property
    def frame_count(self) -> int:
        left = max(0, self.info.frames - round(self.start * self.info.frame_rate))
        return left if self.duration is None else min(left, round(self.duration * self.info.frame_rate))

    def pictures(self) -> Iterator[Picture]:
        for item in self.frames():
            yield Picture(item.index, item.time, FrameView(item.frame, self.info.rotation))


ATTACHED = 0x400
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC: cover art, not a video."""


def disposition(stream: av.stream.Stream) -> int:
    """FFmpeg's AV_DISPOSITION flags of a stream; 0 where PyAV (14.0) does not know them."""
    flags = getattr(stream, "disposition", 0)
    return int(getattr(flags, "value", flags))                        # PyAV 15: an enum that is no int


def _describe(container: av.container.InputContainer, stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> VideoInfo:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    base = stream.time_base or 1 / rate
    duration = 0.0
    if stream.duration:
        duration = float(stream.duration * base)
    elif container.duration:
        duration = container.duration / 1_000_000
    rotation = int(round(getattr(frame, "rotation", 0) or 0)) % 360
    if rotation % 90:
        log.warning("a rotation of %d degrees is kept in the file but not followed", rotation)
        rotation = 0
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)

    def tag(name: str) -> int:
        # A frame's own since PyAV 17, before that the stream's.
        return int(getattr(frame, name, None) or getattr(stream.codec_context, name, None) or 2)

    return VideoInfo(
        width=frame.width, height=frame.height, pix_fmt=frame.format.name, frame_rate=Fraction(rate), time_base=Fraction(base),
        rotation=rotation, sample_aspect_ratio=Fraction(aspect) or Fraction(1),
        color_primaries=tag("color_primaries"), color_trc=tag("color_trc"), colorspace=int(frame.colorspace),
        color_range=int(frame.color_range), frames=stream.frames or round(duration * rate), duration=duration,
        codec=stream.codec_context.name, still=container.format.name == "image2" or container.format.name.endswith("_pipe"),
        interlaced=bool(getattr(frame, "interlaced_frame", False)))
