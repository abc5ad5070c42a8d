"""Put the given sound beside the new picture: copied where the container allows, else encoded well."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.error import FFmpegError

from ..errors import MediaError
from ..types import AudioOriginal
from .source import open_media

_COPY = {".mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}, ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le",
         "pcm_s24le", "pcm_s32le", "pcm_f32le"}, ".webm": {"opus", "vorbis"}, ".avi": {"mp3", "mp2", "ac3", "pcm_s16le"}}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_COPY[".m4v"] = _COPY[".mp4"]
_ENCODE = {".mp4": "aac", ".m4v": "aac", ".mov": "aac", ".webm": "libopus", ".mkv": "flac", ".avi": "libmp3lame"}


class AudioTrack:
    """Feeds one sound track to an output container a little ahead of the picture, reading as it goes.

    The sound of `original.start` falls on the first frame. A stream copy starts and ends on whole packets (at most 26 ms of
    AAC or MP3), an encoded one on the sample.
    """

    def __init__(self, original: AudioOriginal, output: av.container.OutputContainer, suffix: str) -> None:
        self.original = original
        self._input: av.container.InputContainer | None = None
        start = max(0.0, original.start)
        if original.path is not None:
            self._input = open_media(original.path, "audio")
            streams = [s for s in self._input.streams.audio if s.codec_context is not None]
            if not streams:
                raise MediaError(f"{original.path} has no sound track: give a file with speech.")
            stream = streams[0]
            name = stream.codec_context.name
            copy = suffix == ".mkv" or name in _COPY.get(suffix, ())
            # A part cut out in the middle must start on the sample: packets would start it up to 26 ms early.
            if copy and start == 0:
                self.stream = output.add_stream_from_template(stream)
                self._packets: Iterator[tuple[float, list[av.Packet]]] = self._copied(stream)
            else:
                channels = stream.codec_context.layout.nb_channels
                self.stream = _encoder(output, suffix, stream.codec_context.sample_rate, _LAYOUTS.get(channels, "stereo"))
                self._packets = self._encoded(self._decoded(stream, start))
        else:
            waveform = np.asarray(original.waveform, np.float32)
            layout = _LAYOUTS.get(len(waveform), "stereo")
            if layout == "stereo" and len(waveform) != 2:
                waveform = np.repeat(waveform.mean(0, keepdims=True), 2, 0)
            self.stream = _encoder(output, suffix, original.sample_rate, layout)
            self._packets = self._encoded(_blocks(waveform, original.sample_rate, layout, start))
        self._output = output
        self._until = -1.0
        self._limit = original.duration
        self._done = False

    def advance(self, until: float, end: float | None = None) -> None:
        """Mux all sound before `until` seconds; with `end`, nothing from there on (the picture's end)."""
        if end is not None:
            self._limit = end if self._limit is None else min(self._limit, end)
        while not self._done and self._until < until:
            try:
                time, packets = next(self._packets)
            except StopIteration:
                self._done = True
                return
            self._until = time
            for packet in packets:
                self._output.mux(packet)

    def close(self) -> None:
        self._packets.close()
        if self._input is not None:
            self._input.close()

    def _over(self, time: float) -> bool:
        return self._limit is not None and time >= self._limit - 1e-6

    def _copied(self, stream: av.audio.stream.AudioStream) -> Iterator[tuple[float, list[av.Packet]]]:
        first = None
        for packet in self._input.demux(stream):
            if packet.dts is None:
                continue
            first = packet.dts if first is None else first
            time = float((packet.dts - first) * packet.time_base)
            if self._over(time):
                return
            packet.pts = (packet.pts if packet.pts is not None else packet.dts) - first
            packet.dts -= first
            packet.stream = self.stream
            yield time, [packet]

    def _decoded(self, stream: av.audio.stream.AudioStream, start: float) -> Iterator[av.AudioFrame]:
        rate = stream.codec_context.sample_rate
        skip = round(start * rate)
        for packet in self._input.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                if skip >= frame.samples:
                    skip -= frame.samples
                    continue
                yield _part(frame, skip, frame.samples) if skip else frame
                skip = 0

    def _encoded(self, frames: Iterator[av.AudioFrame]) -> Iterator[tuple[float, list[av.Packet]]]:
        context = self.stream.codec_context
        resampler = av.AudioResampler(format=context.format.name, layout=context.layout.name, rate=context.sample_rate)
        done = 0
        for frame in frames:
            frame.pts = None
            for piece in resampler.resample(frame):
                if self._limit is not None:
                    left = round(self._limit * context.sample_rate) - done
                    if left <= 0:
                        break
                    piece = _part(piece, 0, left) if left < piece.samples else piece
                piece.pts, piece.time_base = done, Fraction(1, context.sample_rate)
                done += piece.samples
                yield done / context.sample_rate, list(self.stream.encode(piece))
            if self._over(done / context.sample_rate):
                break
        yield done / context.sample_rate, list(self.stream.encode(None))


def _part(frame: av.AudioFrame, begin: int, end: int) -> av.AudioFrame:
    """Samples `begin` to `end` of a frame."""
    step = 1 if frame.format.is_planar else frame.layout.nb_channels
    data = np.ascontiguousarray(frame.to_ndarray()[:, begin * step:end * step])
    layout = _LAYOUTS.get(frame.layout.nb_channels, frame.layout.name)
    part = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=layout)
    part.sample_rate = frame.sample_rate
    return part


def _encoder(output: av.container.OutputContainer, suffix: str, rate: int, layout: str) -> av.audio.stream.AudioStream:
    name = _ENCODE.get(suffix, "flac")
    if name == "libopus" and rate not in (8000, 12000, 16000, 24000, 48000):
        rate = 48000
    stream = output.add_stream(name, rate=rate, layout=layout)
    if name in ("aac", "libmp3lame"):
        # Transparent for speech and music; low sample rates can't carry as many bits.
        stream.bit_rate = min(96_000, 4 * rate) * max(1, stream.codec_context.layout.nb_channels)
    return stream


def _blocks(waveform: np.ndarray, rate: int, layout: str, start: float) -> Iterator[av.AudioFrame]:
    for at in range(round(start * rate), waveform.shape[1], rate):
        block = np.ascontiguousarray(np.clip(waveform[:, at:at + rate], -1, 1))
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = rate
        yield frame


