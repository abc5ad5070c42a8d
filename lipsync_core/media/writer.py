"""Video files written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.error import FFmpegError
from av.video.frame import PictureType

from ..errors import LipSyncError, OutputError
from ..files import check_name, partial_of, sweep
from ..types import AudioOriginal, Marking, SoundBlocks
from .audio_mux import AudioTrack, own_sound
from .carried import Carried, Origin
from .encoding import Encoding, Plan, plan
from .rotation import patch_rotation
from .source import VideoInfo

DUB, ORIGINAL = "Dub", "Original sound"
"""What the sound tracks are called where there are two."""


def check_target(target: Path, inputs: Sequence[Path]) -> None:
    """Raise `OutputError` if `target` can't become a file: it is an input, a folder, or its folder can't be written to."""
    check_name(target)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name the video file to write, for example {target / 'dubbed.mp4'}.")
    for path in inputs:
        if target.exists() and path.exists() and target.samefile(path):
            raise OutputError(f"{target} is also an input: choose another name for the result.")
    folder = target.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"There is no folder {folder}: create it, or choose another place for the result.")
    sweep(target)
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"The folder {folder} can't be written to ({error.strerror}): choose another place.") from error


class VideoWriter:
    """Encodes frames into a file beside `target` and renames it when all is well; on any error nothing is left.

    Size, colour tags, aspect, rotation and time base come from `info`; frames are stamped with `pts` in its time base.
    Use as a context manager. Raises `OutputError`.
    """

    def __init__(self, target: Path, info: VideoInfo, encoding: Encoding, *, audio: AudioOriginal | SoundBlocks | None = None,
                 second: AudioOriginal | None = None, carry: Origin | None = None,
                 mark: Marking | None = None, warn: Callable[[str], None] = lambda sentence: None) -> None:
        """`audio` is the sound, `second` another track beside it: the source's own, its `start` and `duration` those of the picture.
        Title, chapters and subtitles come from `carry`; `mark` says that the result was altered."""
        self.target, self.info = Path(target), info
        self._plan = self._planned(encoding, warn)
        self._partial = partial_of(self.target)
        self._rotated = False
        self._last: Fraction | None = None
        self._mark = mark
        self._audio_codec = encoding.audio_codec
        self._beside: list[AudioTrack | Carried] = []
        """What is muxed as the picture goes on."""
        try:
            self._container = self._open()
        except (FFmpegError, OSError) as error:
            raise OutputError(f"{self.target} can't be written ({_reason(error)}): choose another name or folder.") from error
        try:
            self._stream = self._add_stream()
            self._add_beside(audio, second, carry, warn)
            if mark is not None:
                metadata = self._container.metadata
                metadata.update(mark.tags(self.target.suffix.lower(), metadata.get("comment", "")))
        except BaseException as error:
            self._discard()
            if isinstance(error, LipSyncError) or not isinstance(error, (FFmpegError, ValueError, OSError)):
                raise
            raise OutputError(f"{self._plan.encoder} can't be set up for {self.target.name} ({_reason(error)}): choose another "
                              f"--codec or container.") from error

    def _planned(self, encoding: Encoding, warn: Callable[[str], None]) -> Plan:
        return plan(encoding, self.info, self.target, warn)

    def _open(self) -> av.container.OutputContainer:
        return av.open(str(self._partial), mode="w")

    def _add_beside(self, audio: AudioOriginal | SoundBlocks | None, second: AudioOriginal | None, carry: Origin | None,
                    warn: Callable[[str], None]) -> None:
        suffix = self.target.suffix.lower()
        if audio is not None:
            self._beside.append(AudioTrack(audio, self._container, suffix, codec=self._audio_codec))
        if second is not None:
            own, delay = own_sound(second)
            track = AudioTrack(own, self._container, suffix, delay=delay, codec=self._audio_codec)
            if self._beside:
                self._beside[0].label(DUB)
            track.label(ORIGINAL, track.language, default=audio is None)
            self._beside.append(track)
        if carry is not None:
            self._beside.append(Carried(carry, self._container, suffix, warn))

    def _add_stream(self) -> av.video.stream.VideoStream:
        info, chosen = self.info, self._plan
        options = dict(chosen.options)
        tag = options.pop("tag", None)
        stream = self._container.add_stream(chosen.encoder, rate=info.frame_rate, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, chosen.pix_fmt
        stream.time_base = context.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.color_primaries, context.color_trc = info.color_primaries, info.color_trc
        if av.VideoFormat(chosen.pix_fmt).is_rgb:
            context.colorspace, context.color_range = 0, 2
        else:
            context.colorspace = info.colorspace if info.colorspace else 2
            context.color_range = 2 if info.pix_fmt.startswith("yuvj") else info.color_range
        if chosen.bitrate:
            context.bit_rate = chosen.bitrate
        if tag:
            context.codec_tag = tag
        if info.rotation and hasattr(stream, "set_display_rotation"):
            stream.set_display_rotation(info.rotation)
            self._rotated = True
        return stream

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        """Encode one frame shown at `pts` (units of `info.time_base`, ascending). The frame's samples are not changed."""
        try:
            if frame.format.name != self._plan.pix_fmt:
                frame = _converted(frame, self._plan.pix_fmt)
            frame.pts, frame.time_base = pts, self.info.time_base
            # The decoder's I, P and B would otherwise be forced on the encoder.
            frame.pict_type = PictureType.NONE
            packets = self._stream.encode(frame)
            self._last = pts * self.info.time_base
            self._mux(packets)
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        """The picture's packets, what is beside them up to `_last` before them."""
        for track in self._beside if packets else ():
            track.advance(float(self._last))
        for packet in packets:
            self._container.mux(packet)

    def _failed(self, error: BaseException) -> OutputError:
        return OutputError(f"Writing {self.target} failed ({_reason(error)}): look at the free space and the rights of "
                           f"{self.target.resolve().parent}.")

    def _finish(self) -> None:
        try:
            self._flush()
            for track in self._beside:
                if self._last is not None:
                    end = float(self._last + 1 / self.info.frame_rate)
                    track.advance(*((float("inf"), end) if isinstance(track, AudioTrack) else (end,)))
                track.close()
            self._container.close()
            self._land()
        except (FFmpegError, OSError) as error:
            self._discard()
            raise self._failed(error) from error

    def _flush(self) -> None:
        for packet in self._stream.encode(None):
            self._container.mux(packet)

    def _land(self) -> None:
        """Put what was written in its place."""
        if self._partial.stat().st_size == 0:
            raise OSError(0, "nothing was written")
        if self.info.rotation and not self._rotated:
            patch_rotation(self._partial, self.info.rotation)
        if self._mark is not None:
            self._mark.finish(self._partial, self.target.name)
        with open(self._partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self._partial, self.target)

    def _discard(self) -> None:
        for track in self._beside:
            track.close()
        try:
            self._container.close()
        except (FFmpegError, OSError, ValueError):
            pass                                                      # the disk may be full: the file goes anyway
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException:
            self._partial.unlink(missing_ok=True)
            raise


def _converted(frame: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    target = frame.reformat(format=pix_fmt)
    if not av.VideoFormat(pix_fmt).is_rgb:
        target.colorspace, target.color_range = frame.colorspace, frame.color_range
    return target


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].rstrip(".")
