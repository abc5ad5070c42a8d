"""Any sound file, or the sound of any video, as 16 kHz mono speech."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..errors import MediaError
from ..types import SPEECH_RATE, AudioOriginal, Speech


def load_speech(path: Path | str, *, start: float = 0.0, duration: float | None = None, channel: str | int = "mix") -> Speech:
    """Read, mix down (or take one `channel`, from 0) and resample to 16 kHz; block by block, so that an hour fits.

    `start` and `duration` in seconds. The file itself stays named in `Speech.original` for muxing.
    Raises `MediaError`: no such file, a folder, not media, no sound track, no such channel, nothing to hear in the window.
    """
    path = Path(path)
    if not path.exists():
        raise MediaError(f"There is no file {path}: check the name of the audio.")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: name the audio file in it.")
    try:
        samples = _collect(_soundfile_blocks(path), start, duration, channel, path)
    except soundfile.LibsndfileError:
        samples = _collect(_av_blocks(path), start, duration, channel, path)
    if not len(samples):
        where = f" between {start:g} s and {start + duration:g} s" if duration else (f" after {start:g} s" if start else "")
        raise MediaError(f"{path} holds no sound{where}: give a recording with speech in it.")
    return Speech(samples, AudioOriginal(path=path, start=start, duration=duration))


def speech_from_samples(waveform: np.ndarray, rate: int) -> Speech:
    """A host's samples, (channels, n) or (n,) float -1..1 at `rate` Hz, as speech; they are kept for muxing as they are."""
    waveform = np.atleast_2d(np.asarray(waveform, np.float32))
    if not waveform.shape[1]:
        raise MediaError("The given audio has no samples: connect a recording with speech in it.")
    mono = soxr.resample(_clean(waveform.mean(0)), rate, SPEECH_RATE).astype(np.float32)
    return Speech(mono, AudioOriginal(waveform=waveform, sample_rate=rate))


def _clean(block: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _collect(blocks: Iterator[tuple[np.ndarray, int]], start: float, duration: float | None, channel: str | int,
             path: Path) -> np.ndarray:
    """Blocks ((n, channels) float32, rate) -> float32 (m,) at 16 kHz of the window."""
    resampler: soxr.ResampleStream | None = None
    position, parts = 0, []
    for block, rate in blocks:
        resampler = resampler or soxr.ResampleStream(rate, SPEECH_RATE, 1, dtype="float32")
        begin = round(start * rate)
        end = begin + round(duration * rate) if duration else None
        low = max(0, begin - position)
        high = len(block) if end is None else min(len(block), end - position)
        position += len(block)
        if high > low:
            part = block[low:high]
            if channel != "mix":
                if not 0 <= int(channel) < part.shape[1]:
                    raise MediaError(f"{path} has {part.shape[1]} channel(s): channel {channel} is not one of them (the first "
                                     f"is 0).")
                part = part[:, int(channel)]
            else:
                part = part.mean(1)
            parts.append(resampler.resample_chunk(_clean(part)))
        if end is not None and position >= end:
            break
    if resampler is None:
        return np.zeros(0, np.float32)
    parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts).astype(np.float32)


def _soundfile_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    with soundfile.SoundFile(str(path)) as file:
        for block in file.blocks(blocksize=10 * file.samplerate, dtype="float32", always_2d=True):
            yield block, file.samplerate


def _av_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(str(path), mode="r", metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0].rstrip(".")
        raise MediaError(f"{path} can't be read as audio ({reason}): it is damaged, incomplete, or not a media file.") from error
    with container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            raise MediaError(f"{path} has no sound track: give a file with speech.")
        rate = streams[0].codec_context.sample_rate
        resampler = av.AudioResampler(format="fltp", layout=streams[0].codec_context.layout.name, rate=rate)
        for packet in container.demux(streams[0]):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                frame.pts = None
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray().T, rate
