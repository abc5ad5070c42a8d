"""Put the given sound beside the new picture: copied where the container allows, else encoded well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError

from ..errors import MediaError, OutputError
from ..files import own_reader
from ..types import AudioOriginal, SoundBlocks
from .encoding import AUDIO_ENCODERS
from .source import ATTACHED, disposition, open_media

log = logging.getLogger(__name__)

_DEFAULT = 1
"""FFmpeg's AV_DISPOSITION_DEFAULT: the track that players begin with."""
_NEAR = Fraction(1, 200)
"""Seconds by which a sound may begin beside its picture: timestamps of milliseconds do not say it more exactly, nobody notices it."""
_MP4 = {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}
_PCM = {f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f64le", "u8")}
_COPY = {".mp4": _MP4, ".m4v": _MP4, ".mov": {"aac", "mp3", "ac3", "eac3", "alac"} | _PCM, ".webm": {"opus", "vorbis"},
         ".mkv": _MP4 | _PCM | {"vorbis", "mp2", "dts", "truehd"}}
"""What players of these containers play (a subset of what FFmpeg would write into them)."""
_ENCODE = {".mp4": ("aac",), ".m4v": ("aac",), ".mov": ("aac",), ".webm": ("libopus", "libvorbis"), ".mkv": ("flac",)}
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_BLOCK = 1024
"""Samples that are encoded at once: what runs ahead of the picture stays short."""
_SHORT = Fraction(1, 20)
"""Seconds. A cut at packets shorter than this keeps the sync; longer ones (FLAC: up to 0.3 s) are encoded again."""


class AudioTrack:
    """Feeds one sound track to an output container as the picture goes on, reading packet by packet.

    The sound of `original.start` falls on the first frame. A stream copy keeps the packets' own times (MP4 and MOV then start on
    the sample by their edit list, Matroska on the first whole packet, PCM everywhere on the sample); an encoded track starts and
    ends on the sample. With `copy=False` nothing is copied, with a `codec` (`Encoding.audio_codec`) nothing else; with `delay` (seconds)
    the sound of a file begins that much after the first frame. Raises `MediaError` (the input), `OutputError` (no encoder).
    """

    def __init__(self, original: AudioOriginal | SoundBlocks, output: av.container.OutputContainer, suffix: str, *,
                 copy: bool = True, delay: Fraction = Fraction(0), codec: str = "") -> None:
        self.copied = False
        """Whether the packets are the input's own."""
        self._output, self._suffix, self._codec = output, suffix, codec
        self._limit: Fraction | None = None
        self._input: av.container.InputContainer | None = None
        self._pending: tuple[Fraction, list[av.Packet]] | None = None
        if not isinstance(original, AudioOriginal):
            layout = _LAYOUTS[original.channels]
            self.stream = _encoder(output, suffix, original.sample_rate, layout, "", codec=codec)
            frames = (frame for block in original.blocks() for frame in _frames(block, original.sample_rate, layout))
            self._packets: Iterator[tuple[Fraction, list[av.Packet]]] = self._encoded(frames)
            return
        self._delay = delay
        self._limit = None if original.duration is None else Fraction(original.duration) + delay
        self._name = str(original.path) if isinstance(original.path, Path) else "the given audio"
        start = max(Fraction(0), Fraction(original.start))
        if original.path is None:
            rate = original.sample_rate
            blocks, layout = _blocks(np.atleast_2d(np.asarray(original.waveform, np.float32)), rate, start)
            self.stream = _encoder(output, suffix, rate, layout, "", codec=codec)
            self._packets = self._encoded(blocks)
            return
        file = original.path if isinstance(original.path, (str, Path)) else own_reader(original.path)
        first = _first_frame(file)
        self._input = open_media(file, "audio")
        try:
            self._packets = self._from_file(start, copy, first)
        except BaseException:
            self._input.close()
            raise

    def _from_file(self, start: Fraction, copy: bool, first: av.AudioFrame | None) -> Iterator[tuple[Fraction, list[av.Packet]]]:
        streams = [s for s in self._input.streams.audio if s.codec_context is not None]
        if not streams:
            raise MediaError(f"{self._name} has no sound track: give a file with speech.")
        stream = streams[0]
        context = stream.codec_context
        name = _codec_name(context)
        if first is None:
            raise MediaError(f"{self._name} has a sound track that can't be decoded: convert it to WAV.")
        wanted = not self._codec or name == self._codec or (self._codec == "pcm" and name in _PCM)
        if copy and wanted and name in _COPY.get(self._suffix, ()):
            length = Fraction(first.samples, first.sample_rate)
            # Formats with long packets are cut on the sample by encoding them again; PCM packets can simply be sliced.
            if start == 0 or name in _PCM or length < _SHORT:
                try:
                    self.stream = self._output.add_stream_from_template(stream)
                    self.copied = True
                    return self._copy(stream, Fraction(first.pts or 0) * first.time_base, start, length, name in _PCM)
                except ValueError:
                    pass                                    # this build's muxer doesn't take the codec after all
        layout = _LAYOUTS.get(first.layout.nb_channels, "stereo")
        self.stream = _encoder(self._output, self._suffix, first.sample_rate, layout, name, first.format.bytes > 2, self._codec)
        return self._encoded(chain(_silence(self._delay, first.sample_rate, layout), self._decoded(stream, start)))

    # -- feeding ---------------------------------------------------------------------------------------------------------

    def advance(self, until: float | Fraction, end: float | Fraction | None = None) -> None:
        """Mux all sound that starts before `until` seconds; with `end`, nothing from there on (the picture's end)."""
        if end is not None:
            self._limit = Fraction(end) if self._limit is None else min(self._limit, Fraction(end))
        while True:
            if self._pending is None:
                self._pending = next(self._packets, None)
            if self._pending is None or self._pending[0] >= until:
                return
            time, packets = self._pending
            self._pending = None
            for packet in packets:
                self._output.mux(packet)

    def label(self, title: str, language: str = "", default: bool = True) -> None:
        """Name the track for players' menus, in its container's own way. Before the first packet."""
        self.stream.metadata.update({"title": title, "handler_name": title})
        if language:
            self.stream.metadata["language"] = language
        if hasattr(self.stream, "disposition"):
            self.stream.disposition = _DEFAULT if default else 0

    @property
    def language(self) -> str:
        """What the input says its sound is in; '' where it says nothing."""
        return self._input.streams.audio[0].metadata.get("language", "") if self._input is not None else ""

    def close(self) -> None:
        """Let go of the input file."""
        self._packets.close()
        if self._input is not None:
            self._input.close()

    def _left(self, time: Fraction) -> Fraction | None:
        """Seconds that may still follow `time`; None = no limit."""
        return None if self._limit is None else self._limit - time

    def _demux(self, stream: av.audio.stream.AudioStream) -> Iterator[av.Packet]:
        try:
            yield from self._input.demux(stream)
        except (FFmpegError, OSError) as error:
            log.warning("the sound of %s ends early: %s", self._name, error)

    # -- copying ---------------------------------------------------------------------------------------------------------

    def _copy(self, stream: av.audio.stream.AudioStream, origin: Fraction, start: Fraction, length: Fraction,
              pcm: bool) -> Iterator[tuple[Fraction, list[av.Packet]]]:
        """Packets with times from `start` after `origin`, where the decoder's first sample is heard (not its priming)."""
        edit_list, opus = self._suffix in (".mp4", ".m4v", ".mov"), _codec_name(stream.codec_context) == "opus"
        rate = stream.codec_context.sample_rate
        for packet in self._demux(stream):
            if packet.pts is None or not packet.size:
                continue
            base = packet.time_base
            time = packet.pts * base - origin - start + self._delay
            duration = packet.duration * base if packet.duration else length
            # An edit list hides what lies before 0; without one an early packet would shift the picture. Opus in Matroska has a
            # field for its priming.
            early = time < -Fraction(1, 1000) and not pcm
            if early and (time + duration <= 0 if start and edit_list else not edit_list and (start or not opus)):
                continue
            yield time, []                                  # waits here until the picture has come this far
            left = self._left(max(time, Fraction(0)))
            if left is not None and left <= 0:
                return
            if pcm:
                samples = round(duration * rate)
                begin = max(0, -round(time * rate))
                end = samples if left is None else min(samples, begin + round(left * rate))
                if begin >= samples:
                    continue
                if begin or end < samples:
                    packet, time = _slice(packet, begin, end, samples), max(time, Fraction(0))
            dts = packet.dts if packet.dts is not None else packet.pts
            delay = (packet.pts or 0) - (dts or 0) if not pcm else 0
            packet.time_base, packet.pts = base, round(time / base)
            packet.dts = packet.pts - delay
            packet.stream = self.stream
            yield time, [packet]

    # -- encoding --------------------------------------------------------------------------------------------------------

    def _decoded(self, stream: av.audio.stream.AudioStream, start: Fraction) -> Iterator[av.AudioFrame]:
        """Frames from `start` on, counted in samples from the first one, as `audio.load_speech` counts them."""
        skip, few = None, _Few()
        for packet in self._demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in chain.from_iterable(map(few, frames)):
                skip = round(start * frame.sample_rate) if skip is None else skip
                if skip >= frame.samples:
                    skip -= frame.samples
                    continue
                for at in range(skip, frame.samples, _BLOCK):
                    yield _part(frame, at, min(at + _BLOCK, frame.samples))
                skip = 0

    def _encoded(self, frames: Iterator[av.AudioFrame]) -> Iterator[tuple[Fraction, list[av.Packet]]]:
        context = self.stream.codec_context
        rate, done = context.sample_rate, 0
        resampler, given = None, None
        for frame in _then_none(frames):
            kind = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
            pieces = []
            if resampler is not None and kind != given:               # the end, or broadcast sound that changes its format
                pieces += [p for p in resampler.resample(None) if p is not None]
            if frame is not None:
                if kind != given:
                    resampler = av.AudioResampler(format=context.format.name, layout=context.layout.name, rate=rate)
                    given = kind
                frame.pts = None
                pieces += resampler.resample(frame)
            for piece in pieces:
                begin = Fraction(done, rate)
                yield begin, []                             # waits here until the picture has come this far
                left = self._left(begin)
                if left is not None and round(left * rate) < piece.samples:
                    if round(left * rate) <= 0:
                        break
                    piece = _part(piece, 0, round(left * rate))
                piece.pts, piece.time_base = done, Fraction(1, rate)
                done += piece.samples
                yield begin, list(self.stream.encode(piece))
            left = self._left(Fraction(done, rate))
            if left is not None and left * rate < 1:
                break
        yield Fraction(done, rate), list(self.stream.encode(None))


class _Few:
    """Frames of more channels than PyAV can read (eight planes) become stereo."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        if frame.layout.nb_channels <= len(_LAYOUTS):
            return [frame]
        self._resampler = self._resampler or av.AudioResampler(format="flt", layout="stereo", rate=frame.sample_rate)
        frame.pts = None
        return self._resampler.resample(frame)


def _then_none(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame | None]:
    yield from frames
    yield None


def _codec_name(context: av.audio.codeccontext.AudioCodecContext) -> str:
    """The format's name, whichever of FFmpeg's decoders (mp3float, libopus) was picked for it."""
    name = getattr(context.codec, "canonical_name", None) or context.name
    return {"mp3float": "mp3", "mp2float": "mp2", "libopus": "opus", "libvorbis": "vorbis", "dca": "dts"}.get(name, name)


def _first_frame(path: Path | str | BinaryIO) -> av.AudioFrame | None:
    """The first frame that the decoder gives: its time is where the sound starts, behind the codec's priming."""
    with open_media(path, "audio") as container:
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        try:
            for packet in container.demux(stream) if stream is not None else ():
                try:
                    for frame in packet.decode():
                        return frame
                except FFmpegError:
                    continue
        except (FFmpegError, OSError):
            pass                                                      # no sound can be had: None says so
    return None


def picture_start(container: av.container.InputContainer) -> Fraction | None:
    """Where in the file's own time its first frame is, seconds; None without a picture."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not disposition(stream) & ATTACHED:
            return (stream.start_time or 0) * Fraction(stream.time_base)
    return None


def own_sound(original: AudioOriginal) -> tuple[AudioOriginal, Fraction]:
    """A video's own sound, whose `start` and `duration` are of its picture, on the sound's own clock: from its first sample, which need
    not be heard with the first frame. And the seconds of picture that pass before it is heard. Raises `MediaError`."""
    if original.path is None:
        return original, Fraction(0)
    file = original.path if isinstance(original.path, (str, Path)) else own_reader(original.path)
    first = _first_frame(file)
    with open_media(file, "audio") as container:
        zero = picture_start(container)
    late = Fraction(0) if zero is None or first is None else (first.pts or 0) * first.time_base - zero
    if abs(late) < _NEAR:
        return original, Fraction(0)
    start = Fraction(max(0.0, original.start)) - late
    delay = max(-start, Fraction(0))
    duration = None if original.duration is None else max(0.0, original.duration - float(delay))
    return replace(original, start=float(max(start, Fraction(0))), duration=duration), delay


def _silence(seconds: Fraction, rate: int, layout: str) -> Iterator[av.AudioFrame]:
    left, channels = round(seconds * rate), av.AudioLayout(layout).nb_channels
    while left > 0:
        yield from _frames(np.zeros((channels, min(left, _BLOCK)), np.float32), rate, layout)
        left -= _BLOCK


def _slice(packet: av.Packet, begin: int, end: int, samples: int) -> av.Packet:
    """Samples `begin` to `end` of the `samples` in a PCM packet."""
    step = packet.size // samples
    return av.Packet(bytes(packet)[begin * step:end * step])


def _part(frame: av.AudioFrame, begin: int, end: int) -> av.AudioFrame:
    """Samples `begin` to `end` of a frame, in a layout with a name (files often give only a number of channels)."""
    channels = frame.layout.nb_channels
    step = 1 if frame.format.is_planar else channels
    data = np.ascontiguousarray(frame.to_ndarray()[:, begin * step:end * step])
    name = frame.layout.name
    part = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=_LAYOUTS.get(channels, name))
    part.sample_rate = frame.sample_rate
    return part


def _encoder(output: av.container.OutputContainer, suffix: str, rate: int, layout: str, source: str,
             deep: bool = False, codec: str = "") -> av.audio.stream.AudioStream:
    """An encoder's stream at the given rate and layout, or the nearest rate above that it can do; of `codec` where one is asked for.

    `source` is the codec the sound comes from: FLAC and ALAC stay what they are where the container has them.
    """
    names = _ENCODE.get(suffix, ("flac",))
    if source in ("flac", "alac") and source in _COPY.get(suffix, ()):
        names = (source, *names)
    if codec:
        names = (AUDIO_ENCODERS[codec],)
    for name in names:
        if name not in av.codecs_available:
            continue
        encoder = av.Codec(name, "w")
        rates = sorted(encoder.audio_rates or [])
        if rates and rate not in rates:
            rate = next((r for r in rates if r >= rate), rates[-1])
        if name == "libmp3lame" and av.AudioLayout(layout).nb_channels > 2:
            layout = "stereo"
        stream = output.add_stream(name, rate=rate, layout=layout)
        if name in ("aac", "libopus", "libmp3lame"):
            # Transparent for speech and music; low sample rates can't carry as many bits.
            stream.bit_rate = min(96_000, 4 * rate) * max(1, stream.codec_context.layout.nb_channels)
        if deep and name == "flac":
            stream.codec_context.format = "s32"                       # stored as 24 bits
        return stream
    raise OutputError(f"There is no encoder for the sound of a {suffix} file in this PyAV ({', '.join(names)}): write an .mkv.")


def _blocks(waveform: np.ndarray, rate: int, start: Fraction) -> tuple[Iterator[av.AudioFrame], str]:
    """A host's samples (channels, n) as frames, and their layout; odd channel counts are mixed to stereo."""
    layout, part = _LAYOUTS.get(len(waveform)), waveform[:, round(start * rate):]
    if layout is None:
        part = np.repeat(part.mean(0, keepdims=True), 2, 0)
    return _frames(part, rate, layout or "stereo"), layout or "stereo"


def _frames(samples: np.ndarray, rate: int, layout: str) -> Iterator[av.AudioFrame]:
    """Samples (channels, n), -1..1, as frames of `_BLOCK`."""
    for at in range(0, samples.shape[1], _BLOCK):
        block = np.clip(np.nan_to_num(samples[:, at:at + _BLOCK], nan=0.0), -1, 1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block, np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        yield frame
