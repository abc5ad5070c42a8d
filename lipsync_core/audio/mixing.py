"""Several sounds as one: voices at their own levels, a background under them, no clipping, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from ..dsp import band_levels, speech_activity
from ..errors import MediaError
from ..types import SPEECH_RATE, AudioOriginal
from .load import sound_blocks

HIGHEST_RATE = 48_000
"""Hz: what every player and encoder takes."""
BLOCK = 0.1
"""Seconds that are mixed at a time."""
JOINT = 0.02
"""Seconds over which a loop fades out and in where it begins again, so that it does not click."""
PEAK = 0.99
"""The highest sample: more can't be stored, and lossy formats come out a little above what they were given."""
HEARD = 0.94
"""A gain below which the limiter is worth a word (0.5 dB): a recording that was mastered to full scale is none."""
PIECE, RELEASE = 0.01, 0.2
"""Seconds: the limiter's step, by which it also looks ahead, and how long it takes to let go of a sound that it silenced."""
DUCK_DB = -12.0
"""Level of a background while somebody speaks."""
DUCK_RATE = 100
"""Values a second of a duck curve."""
BEFORE, AFTER, SLOPE = 0.15, 0.5, 0.3
"""Seconds by which a background is lowered before speech and stays low after it (the pauses between words), and in which it changes."""
SURROUND = {3: np.array([[1, 0, 0.7071], [0, 1, 0.7071]], np.float32),
            5: np.array([[1, 0, 0.7071, 0.7071, 0], [0, 1, 0.7071, 0, 0.7071]], np.float32),
            6: np.array([[1, 0, 0.7071, 0, 0.7071, 0], [0, 1, 0.7071, 0, 0, 0.7071]], np.float32),
            7: np.array([[1, 0, 0.7071, 0, 0.5, 0.7071, 0], [0, 1, 0.7071, 0, 0.5, 0, 0.7071]], np.float32),
            8: np.array([[1, 0, 0.7071, 0, 0.7071, 0, 0.7071, 0], [0, 1, 0.7071, 0, 0, 0.7071, 0, 0.7071]], np.float32)}
"""3.0, 5.0, 5.1, 6.1 and 7.1 to stereo (ITU-R BS.775, without the low-frequency channel)."""


@dataclass(frozen=True)
class Layer:
    """One of the sounds."""

    original: AudioOriginal
    offset: float = 0.0
    """Seconds into the result at which it begins; below 0 its beginning is left out."""
    volume: float = 1.0
    loop: bool = False
    fade: float = 0.0
    """Seconds over which it comes in and goes out at the ends of the result."""
    ducked: bool = False


class Mix:
    """See `types.SoundBlocks`: `seconds` of all layers together, stereo where one of them is. Levels are kept; where the sum would pass
    `PEAK` a limiter takes it down, and `limited` is set. `duck` as `duck_curve` gives it. Raises `MediaError` for a file without sound."""

    def __init__(self, layers: Sequence[Layer], seconds: float, *, duck: np.ndarray | None = None) -> None:
        kinds = [_kind(layer.original) for layer in layers]
        self.sample_rate = min(HIGHEST_RATE, max((rate for rate, _ in kinds), default=HIGHEST_RATE))
        self.channels = 2 if any(channels > 1 for _, channels in kinds) else 1
        self.limited = False
        self._layers, self._seconds, self._duck = layers, seconds, duck

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 (channels, n), -1..1; `seconds` in all."""
        yield from self._limit(self._sum())

    def _sum(self) -> Iterator[np.ndarray]:
        size, total = round(BLOCK * self.sample_rate), round(self._seconds * self.sample_rate)
        feeds = [_Feed(layer, self.sample_rate, self.channels) for layer in self._layers]
        for first in range(0, total, size):
            count = min(size, total - first)
            times = (first + np.arange(count)) / self.sample_rate
            mixed = np.zeros((self.channels, count), np.float32)
            for layer, feed in zip(self._layers, feeds):
                gain = self._gain(layer, times)
                part = feed.take(count)
                mixed += part if gain is None else part * gain
            yield mixed

    def _gain(self, layer: Layer, times: np.ndarray) -> np.ndarray | None:
        """float32 (n,); None = as it is."""
        gain = np.full(len(times), layer.volume, np.float32)
        if layer.fade:
            gain *= np.clip(np.minimum(times, self._seconds - times) / layer.fade, 0, 1).astype(np.float32)
        if layer.ducked and self._duck is not None and len(self._duck):
            low = np.interp(times, np.arange(len(self._duck)) / DUCK_RATE, self._duck)
            gain *= (10 ** (DUCK_DB / 20 * low)).astype(np.float32)
        return None if (gain == 1).all() else gain

    def _limit(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The gain runs in straight lines between the edges of pieces, and is nowhere above what the piece needs."""
        size, rise = max(1, round(PIECE * self.sample_rate)), PIECE / RELEASE
        held: np.ndarray | None = None
        edge, need = 1.0, 1.0
        for block in blocks:
            if edge == need == 1.0 and np.abs(block).max() <= PEAK:   # most of any sound: only what comes next matters to its end
                if held is not None:
                    yield held
                if block.shape[1] > size:
                    yield block[:, :-size]
                held = block[:, -size:]
                continue
            for first in range(0, block.shape[1], size):
                piece = block[:, first:first + size]
                wanted = min(1.0, PEAK / max(float(np.abs(piece).max()), 1e-9))
                after = min(need, wanted, edge + rise)
                if held is not None:
                    yield self._scaled(held, edge, after)
                    edge = after
                else:
                    edge = wanted
                held, need = piece, wanted
        if held is not None:
            yield self._scaled(held, edge, min(need, edge + rise))

    def _scaled(self, piece: np.ndarray, begin: float, end: float) -> np.ndarray:
        if begin == end == 1.0:
            return piece
        self.limited = self.limited or min(begin, end) < HEARD
        return np.clip(piece * np.linspace(begin, end, piece.shape[1], dtype=np.float32), -PEAK, PEAK)


def _kind(original: AudioOriginal) -> tuple[int, int]:
    """Rate and channels. Raises `MediaError`."""
    if original.path is None:
        return original.sample_rate, len(np.atleast_2d(original.waveform))
    blocks = sound_blocks(original.path)
    first = next(blocks, None)
    blocks.close()
    if first is None or not len(first[0]):
        name = original.path if isinstance(original.path, (str, Path)) else "The given file"
        raise MediaError(f"{name} holds no sound: give a recording.")
    return first[1], first[0].shape[1]


class _Feed:
    """A layer's samples, as many as are asked for at a time, silence where it has none."""

    def __init__(self, layer: Layer, rate: int, channels: int) -> None:
        self._parts = _later(layer, rate, channels)
        self._left = np.zeros((channels, 0), np.float32)

    def take(self, count: int) -> np.ndarray:
        """float32 (channels, count)."""
        parts, have = [self._left], self._left.shape[1]
        while have < count and (part := next(self._parts, None)) is not None:
            parts.append(part)
            have += part.shape[1]
        joined = np.concatenate(parts, 1) if len(parts) > 1 else parts[0]
        self._left = joined[:, count:]
        part = joined[:, :count]
        return part if part.shape[1] == count else np.pad(part, ((0, 0), (0, count - part.shape[1])))


def _later(layer: Layer, rate: int, channels: int) -> Iterator[np.ndarray]:
    """The layer from the result's beginning on."""
    if layer.offset > 0:
        silence = round(layer.offset * rate)
        for first in range(0, silence, rate):
            yield np.zeros((channels, min(rate, silence - first)), np.float32)
    once, joint = _resampled(layer.original, max(0.0, -layer.offset), rate, channels), round(JOINT * rate)
    yield from _faded(once, joint, begin=False) if layer.loop else once
    while layer.loop:
        something = False
        for part in _faded(_resampled(layer.original, 0.0, rate, channels), joint):
            something = something or part.shape[1] > 0
            yield part
        if not something:
            return


def _faded(parts: Iterator[np.ndarray], size: int, *, begin: bool = True) -> Iterator[np.ndarray]:
    """Faded in (with `begin`) and out over `size` samples."""
    done, held = 0, None
    for part in parts:
        if begin and done < size:
            part = part * np.clip(np.arange(done + 1, done + part.shape[1] + 1) / size, 0, 1).astype(np.float32)
        done += part.shape[1]
        held = part if held is None else np.concatenate([held, part], 1)
        if held.shape[1] > size:
            yield held[:, :-size]
            held = held[:, -size:]
    if held is not None:
        yield held * np.linspace(1, 0, held.shape[1], dtype=np.float32)


def _resampled(original: AudioOriginal, skip: float, rate: int, channels: int) -> Iterator[np.ndarray]:
    """Blocks (channels, n) of the part that is meant, without its first `skip` seconds."""
    stream: soxr.ResampleStream | None = None
    position, start = 0, max(0.0, original.start) + skip
    for block, own in _blocks(original):
        begin = round(start * own)
        end = None if original.duration is None else round((max(0.0, original.start) + original.duration) * own)
        low, high = max(0, begin - position), len(block) if end is None else min(len(block), end - position)
        position += len(block)
        if high > low:
            part = _channelled(block[low:high], channels)
            if own == rate:
                yield np.ascontiguousarray(part.T)
            else:
                stream = stream or soxr.ResampleStream(own, rate, channels, dtype="float32")
                yield stream.resample_chunk(np.ascontiguousarray(part)).reshape(-1, channels).T
        if end is not None and position >= end:
            break
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).reshape(-1, channels).T


def _blocks(original: AudioOriginal) -> Iterator[tuple[np.ndarray, int]]:
    if original.path is not None:
        yield from sound_blocks(original.path)
        return
    samples = np.atleast_2d(np.asarray(original.waveform, np.float32))
    for first in range(0, samples.shape[1], original.sample_rate):
        yield np.nan_to_num(samples[:, first:first + original.sample_rate].T), original.sample_rate


def _channelled(block: np.ndarray, channels: int) -> np.ndarray:
    """(n, any) -> (n, channels), 1 or 2."""
    have = block.shape[1]
    if have == channels:
        return block
    if channels == 1:
        return block.mean(1, keepdims=True)
    if have in SURROUND:
        return block @ SURROUND[have].T
    return np.repeat(block.mean(1, keepdims=True) if have > 1 else block, 2, 1)


def duck_curve(speeches: Sequence[np.ndarray], seconds: float) -> np.ndarray:
    """When somebody speaks, 0..1, `DUCK_RATE` a second, float32 (n,), soft at the ends. `speeches`: samples (n,) at 16 kHz from the
    result's beginning."""
    count = round(seconds * DUCK_RATE) + 1
    spoken = np.zeros(count, np.float32)
    for samples in speeches:
        if len(samples) < SPEECH_RATE // 10:
            continue
        active = speech_activity(band_levels(samples, rate=DUCK_RATE), DUCK_RATE)[:count]
        spoken[:len(active)] = np.maximum(spoken[:len(active)], active)
    before, after, slope = (round(value * DUCK_RATE) for value in (BEFORE + SLOPE / 2, AFTER + SLOPE / 2, SLOPE))
    padded = np.pad(spoken, (after, before))
    low = np.lib.stride_tricks.sliding_window_view(padded, before + after + 1).max(-1)
    soft = np.convolve(np.pad(low, slope // 2, mode="edge"), np.full(slope + 1, 1 / (slope + 1)), mode="valid")
    return soft[:count].astype(np.float32)
