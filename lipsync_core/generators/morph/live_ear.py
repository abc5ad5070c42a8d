"""Mouth shapes of speech that comes piece by piece: what is given out never changes afterwards."""

from __future__ import annotations

import numpy as np

from ...dsp import band_levels, speech_activity
from ...errors import LipSyncError
from ...hearing.listening import SHAPE_RATE, Windows, window_of
from ...types import SPEECH_RATE
from .articulation import NEAR, finish, shape_of
from .articulation_net import BANDS, RATE, energy_of, start_loudness
from .ear import COLUMNS, Ear, EarState
from .streaming import StreamState

WINDOWS = (Windows(past=1.5, step=0.24, future=0.32), Windows(past=1.25, step=0.12, future=0.24))
"""From the longest look-ahead to the shortest: a longer one costs half of the work and hears a little better."""
REACH = round(NEAR * SHAPE_RATE)
"""Rows after one that its shape needs (`articulation.finish`)."""
LOUDNESS = 0.5
"""Seconds of speech from which its loudness is taken before anything of it is heard."""
SAMPLES = round(SPEECH_RATE / SHAPE_RATE)
"""Of a row."""
MEMORY = 6.0
"""Seconds from which room noise is told from speech."""
FLOOR_KNOWN = 3.0
"""Seconds from which on the noise of the room is known."""
MOMENT = 10
"""Levels, a tenth of a second, of which the quietest tells how loud the room is."""
LOUDEST_ROOM = -40.0
"""dB of `band_levels` that no room's own noise is taken to reach."""
SHORTEST = WINDOWS[-1].look_ahead + REACH / SHAPE_RATE
"""Seconds of look-ahead at least: 0.56."""


class LiveEar:
    """See `types.Listener`: `heard` gives what `MorphGenerator.hear` does. `look_ahead`: seconds of speech that are known after a moment
    when its shape is asked for. Raises `LipSyncError` where that is too little."""

    def __init__(self, look_ahead: float, curve_rate: float) -> None:
        fitting = [windows for windows in WINDOWS if windows.look_ahead + REACH / SHAPE_RATE <= look_ahead + 1e-6]
        if not fitting:
            raise LipSyncError(f"A look-ahead of {look_ahead:g} s is too short to hear with: {SHORTEST:g} s are needed.")
        self.until = 0.0
        self._ear, self._rate = Ear(windows=fitting[0]), curve_rate
        self._state: EarState | None = None
        self._samples = np.zeros(0, np.float32)
        """Those remembered: from row `_first` of the stream on."""
        self._raw = np.zeros((0, len(COLUMNS)), np.float32)
        self._shapes = np.zeros((0, 7), np.float32)
        self._pending = self._samples
        """Those that were not heard yet."""
        self._first, self._count, self._ended = 0, 0, False

    def push(self, samples: np.ndarray, *, last: bool = False) -> None:
        """The next samples (n,) float32 at 16 kHz."""
        if self._ended:
            return
        samples = np.asarray(samples, np.float32)
        self._samples, self._pending = np.concatenate([self._samples, samples]), np.concatenate([self._pending, samples])
        self._count += len(samples)
        step = 0 if self._state is None else self._state.step
        # Networks look back: many small pieces cost many times what one costs, and give nothing before the encoder's window is full.
        if not last and self._count < max(window_of(step, self._ear.windows)[1], LOUDNESS * SPEECH_RATE):
            return
        if self._state is None:
            self._state = EarState(StreamState(loudness=start_loudness(energy_of(band_levels(self._samples, BANDS, RATE)))))
        found, self._state = self._ear.feed(self._pending, self._state, last=last)
        self._pending = self._pending[:0]
        self._raw = np.concatenate([self._raw, found])
        ready = len(self._raw) if last else len(self._raw) - REACH
        if ready > len(self._shapes):
            known = len(self._shapes)
            first = max(0, known - round(MEMORY * SHAPE_RATE))
            shapes = finish(self._raw[first:], self._spoken(first))
            self._shapes = np.concatenate([self._shapes, shapes[known - first:ready - first]])
        if last:
            self._shapes = np.concatenate([self._shapes, np.zeros((1, 7), np.float32)])     # at rest after the end
        self._ended = last
        self.until = float("inf") if last else (self._first + len(self._shapes) - 1) / SHAPE_RATE

    def _spoken(self, first: int) -> np.ndarray:
        """Who speaks when from that row on. Of a stream that has just begun the room is not known: it is taken to be as loud as the
        quietest moment so far."""
        levels = band_levels(self._samples[first * SAMPLES:], BANDS, RATE)
        before = max(0, round(FLOOR_KNOWN * RATE) - len(levels))
        power = (10 ** (levels / 10)).mean(1)
        quietest = np.convolve(power, np.full(MOMENT, 1 / MOMENT), mode="valid").min() if len(power) >= MOMENT else power.mean()
        room = min(10 * float(np.log10(quietest)), LOUDEST_ROOM)
        return speech_activity(np.pad(levels, ((before, 0), (0, 0)), constant_values=room), RATE)[before:]

    def forget(self, before: float) -> None:
        """Let go of what was heard before that second, but for what is still needed to hear on."""
        rows = min(int(before * SHAPE_RATE) - self._first, len(self._shapes) - round(MEMORY * SHAPE_RATE))
        if rows > 0 and not self._ended:
            self._samples = self._samples[rows * SAMPLES:]
            self._raw, self._shapes, self._first = self._raw[rows:], self._shapes[rows:], self._first + rows

    def heard(self) -> tuple[np.ndarray, float]:
        """Mouth shapes, float32 (7, m), and the second of the stream that the first one belongs to."""
        times = np.arange(round(max(len(self._shapes), 2) / SHAPE_RATE * self._rate)) / self._rate
        shapes = self._shapes if len(self._shapes) else np.zeros((1, 7), np.float32)
        return shape_of(shapes, times).stack(), self._first / SHAPE_RATE
