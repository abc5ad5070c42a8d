"""Any sound file, or the sound of any video, as 16 kHz mono speech."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import soxr

from ..errors import MediaError
from ..files import check_file, own_reader
from ..types import SPEECH_RATE, AudioOriginal, Speech
from .store import Store

if TYPE_CHECKING:
    import av


def load_speech(path: Path | str | BinaryIO, *, start: float = 0.0, duration: float | None = None, channel: str | int = "mix") -> Speech:
    """Read, mix down (or take one `channel`, from 0) and resample to 16 kHz; block by block; what is longer than `store.LONG` lies
    in a temporary file.

    `start` and `duration` in seconds. The file itself stays named in `Speech.original` for muxing.
    Raises `MediaError`: no such file, a folder, not media, no sound track, no such channel, nothing to hear in the window.
    """
    path = _checked(path)
    try:
        samples = _collect(_soundfile_blocks(path), start, duration, channel, path)
    except soundfile.LibsndfileError:
        samples = _collect(_av_blocks(path), start, duration, channel, path)
    if not len(samples):
        raise MediaError(f"{_name(path)} holds no sound{_window(start, duration)}: give a recording with speech in it.")
    return Speech(samples, AudioOriginal(path=path, start=start, duration=duration))


def sound_blocks(file: Path | BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    """Any sound file, or the sound of any video, block by block: float32 (n, channels), and the rate. Raises `MediaError`."""
    file, begun = _checked(file), False
    if not isinstance(file, Path) and not hasattr(file, "seek"):      # libsndfile asks for a file's length first
        for block, rate in _av_blocks(file):
            yield _clean(block), rate
        return
    try:
        for block, rate in _soundfile_blocks(file):
            begun = True
            yield _clean(block), rate
        return
    except soundfile.LibsndfileError:
        if begun:                                                     # damaged from here on
            return
    for block, rate in _av_blocks(file):
        yield _clean(block), rate


def _checked(file: Path | str | BinaryIO) -> Path | BinaryIO:
    """A path that is there, or what is open for reading: a reader of its own, since somebody else reads it too."""
    if isinstance(file, (str, Path)):
        check_file(Path(file), "audio")
        return Path(file)
    return own_reader(file)


def _name(file: object) -> str:
    return str(file) if isinstance(file, Path) else "The given video"


def speech_from_samples(waveform: np.ndarray, rate: int, channel: str | int = "mix") -> Speech:
    """A host's samples, (channels, n) or (n,) float -1..1 at `rate` Hz, as speech: mixed down, or one `channel` from 0. They are kept
    for muxing as they are. Raises `MediaError`."""
    waveform = np.atleast_2d(np.asarray(waveform, np.float32))
    if not waveform.shape[1]:
        raise MediaError("The given audio has no samples: connect a recording with speech in it.")
    mono = soxr.resample(_clean(_mono(waveform.T, channel, "The given audio")), rate, SPEECH_RATE).astype(np.float32)
    return Speech(mono, AudioOriginal(waveform=waveform, sample_rate=rate))


def read_samples(path: Path, *, start: float = 0.0, duration: float | None = None) -> tuple[np.ndarray, int]:
    """All channels of any sound file, or of the sound of any video, at its own rate: float32 (channels, n), and the rate.

    `start` and `duration` in seconds. Raises `MediaError` as `load_speech` does.
    """
    check_file(path, "audio")
    for reader in (_soundfile_blocks, _av_blocks):
        parts: list[np.ndarray] = []
        rate, position = SPEECH_RATE, 0
        try:
            for block, rate in reader(path):
                begin = round(start * rate)
                end = begin + round(duration * rate) if duration else position + len(block)
                parts.append(block[max(0, begin - position):max(0, end - position)])
                position += len(block)
                if duration and position >= end:
                    break
        except soundfile.LibsndfileError:
            continue
        samples = np.concatenate(parts).T if parts else np.zeros((1, 0), np.float32)
        if not samples.shape[1]:
            raise MediaError(f"{path} holds no sound{_window(start, duration)}: give a recording with speech in it.")
        return np.ascontiguousarray(samples), rate
    raise MediaError(f"{path} can't be read as audio: convert it to WAV.")


LOWEST_RATE = 100
"""Hz: what a damaged file may say; nothing lower is a sound."""
LOUDNESS, PEAK = -20.0, 0.99
"""dBFS (RMS) of speech that was made as loud as usual, about what broadcasters ask for; the highest sample it may have."""


def normalise_loudness(samples: np.ndarray) -> np.ndarray:
    """Speech (n,) float32 at `LOUDNESS` while somebody speaks (the loudest half of its 50 ms pieces), its peaks at `PEAK` at most; what
    is silent stays as it is."""
    piece = SPEECH_RATE // 20
    power = np.square(samples[:len(samples) // piece * piece], dtype=np.float64).reshape(-1, piece).mean(1)
    if not len(power) or power.max() < 1e-10:
        return samples
    spoken = power[power >= max(np.median(power), 1e-4 * power.max())]
    gain = 10 ** (LOUDNESS / 20) / np.sqrt(spoken.mean())
    return (samples * min(gain, PEAK / max(float(np.abs(samples).max()), 1e-9))).astype(np.float32)


def _window(start: float, duration: float | None) -> str:
    return f" between {start:g} s and {start + duration:g} s" if duration else (f" after {start:g} s" if start else "")


def _mono(part: np.ndarray, channel: str | int, name: object) -> np.ndarray:
    """(n, channels) -> (n,): their mean, or one of them. Raises `MediaError`."""
    if channel == "mix":
        return part.mean(1)
    if not 0 <= int(channel) < part.shape[1]:
        raise MediaError(f"{name} has {part.shape[1]} channel(s): channel {channel} is not one of them (the first is 0).")
    return part[:, int(channel)]


def _clean(block: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _collect(blocks: Iterator[tuple[np.ndarray, int]], start: float, duration: float | None, channel: str | int,
             path: Path | BinaryIO) -> np.ndarray:
    """Blocks ((n, channels) float32, rate) -> float32 (m,) at 16 kHz of the window."""
    resampler: soxr.ResampleStream | None = None
    position, parts = 0, Store()
    for block, rate in blocks:
        resampler = resampler or soxr.ResampleStream(rate, SPEECH_RATE, 1, dtype="float32")
        begin = round(start * rate)
        end = begin + round(duration * rate) if duration else None
        low = max(0, begin - position)
        high = len(block) if end is None else min(len(block), end - position)
        position += len(block)
        if high > low:
            parts.add(resampler.resample_chunk(_clean(_mono(block[low:high], channel, _name(path)))))
        if end is not None and position >= end:
            break
    if resampler is None:
        return np.zeros(0, np.float32)
    parts.add(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return parts.array()


def _soundfile_blocks(path: Path | BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    if isinstance(path, Path):                                        # soundfile knows no names that are no UTF-8, but bytes
        path = str(path) if os.name == "nt" else os.fsencode(path)
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(blocksize=10 * file.samplerate, dtype="float32", always_2d=True):
            yield block, file.samplerate


def _av_blocks(path: Path | BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    import av
    from av.error import FFmpegError

    try:
        if not isinstance(path, Path) and hasattr(path, "seek"):
            path.seek(0)
        container = av.open(str(path) if isinstance(path, Path) else path, mode="r", metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0].rstrip(".")
        raise MediaError(f"{_name(path)} can't be read as audio ({reason}): it is damaged, incomplete, or not a media file.") from error
    with container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            raise MediaError(f"{_name(path)} has no sound track: give a file with speech.")
        rate, layout = streams[0].codec_context.sample_rate, streams[0].codec_context.layout
        if rate < LOWEST_RATE or not layout.nb_channels:
            raise MediaError(f"{_name(path)} has a sound track of {rate} Hz and {layout.nb_channels} channels: it is damaged.")
        # Packed: PyAV reads beyond its pointers where there are more than eight planes.
        resampler = av.AudioResampler(format="flt", layout=layout.name, rate=rate)
        packets = container.demux(streams[0])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (FFmpegError, OSError):                            # the rest is damaged
                return
            try:
                pieces = [piece for frame in packet.decode() for piece in _resampled(resampler, frame)]
            except FFmpegError:
                continue
            for piece in pieces:
                yield piece.to_ndarray().reshape(-1, layout.nb_channels), rate


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame) -> list[av.AudioFrame]:
    frame.pts = None
    try:
        return resampler.resample(frame)
    except ValueError:                                                # a sound that changes its format in the middle
        return []
