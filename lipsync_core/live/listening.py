"""Speech as it comes, for any generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..types import SPEECH_RATE, Generator, Listener, Speech

PAST, FUTURE = 2.0, 0.4
"""Seconds of sound before and after a moment that networks which hear whole recordings are given of a stream (Wav2Lip looks at 0.2 s,
MuseTalk at 0.2 s of what Whisper makes of all it is given)."""


def listen(generator: Generator, look_ahead: float) -> Listener:
    """The generator's own way to hear a stream, or windows of it."""
    own = getattr(generator, "listener", None)
    return own(look_ahead) if own is not None else WindowListener(generator)


class WindowListener:
    """See `types.Listener`: the last seconds are heard anew whenever they are asked for."""

    def __init__(self, generator: Generator) -> None:
        self.until = 0.0
        self._generator = generator
        self._samples, self._first = np.zeros(0, np.float32), 0
        self._made: tuple[int, tuple[Any, float]] | None = None

    def push(self, samples: np.ndarray, *, last: bool = False) -> None:
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        end = self._first + len(self._samples)
        self.until = float("inf") if last else max(0.0, end / SPEECH_RATE - FUTURE)

    def forget(self, before: float) -> None:
        spare = round((before - PAST) * SPEECH_RATE) - self._first
        if spare > 0:
            self._samples, self._first = self._samples[spare:], self._first + spare

    def heard(self) -> tuple[Any, float]:
        end = self._first + len(self._samples)
        if self._made is None or self._made[0] != end:
            samples = self._samples if len(self._samples) else np.zeros(SPEECH_RATE, np.float32)
            self._made = end, (self._generator.hear(Speech(samples)), self._first / SPEECH_RATE)
        return self._made[1]
