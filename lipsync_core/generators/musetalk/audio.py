"""What MuseTalk hears of a frame: Whisper's hidden states around the moment at which it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...dsp import mel_filters
from ...types import SPEECH_RATE
from .network import MuseTalkNetwork

STEP_RATE = 50
"""Whisper's steps a second."""
STEP = SPEECH_RATE // STEP_RATE
BEFORE, STEPS = 4, 10
"""A window's steps before the frame's own, and all of them: two frames before and two after, at the 25 a second of its training."""
KEPT = 3
"""Pieces whose states are kept: the one that is spoken and its neighbours."""
N_FFT, HOP = 400, 160


def whisper_mel(samples: np.ndarray, columns: int, bands: int = 80) -> Tensor:
    """Speech (n,) float32 at 16 kHz -> float32 (bands, columns), 100 columns a second, zeros after the speech.

    Whisper's front end (Radford et al. 2022, section 2.2): 25 ms windows every 10 ms, mirrored at both ends, power in Slaney bands of 0 to
    8000 Hz, log10 with a floor 8 below the loudest, (x + 4) / 4.
    """
    signal = torch.zeros(columns * HOP)
    known = torch.from_numpy(np.array(samples[:columns * HOP], np.float32))
    signal[:len(known)] = known
    spectrum = torch.stft(signal, N_FFT, HOP, window=torch.hann_window(N_FFT), center=True, pad_mode="reflect", return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    levels = (mel_filters(bands, N_FFT, 0.0, 8000.0) @ power).clamp_min(1e-10).log10()
    return (levels.maximum(levels.max() - 8) + 4) / 4


@dataclass(frozen=True)
class Heard:
    """One piece of a recording."""

    speech: Tensor
    """(P, layers, d)."""
    quiet: Tensor
    """The same of a piece without a sound, at the floor of this piece's levels: so is a pause in it. Whisper's states hold the place in
    the piece, so that every step has its own silence."""


@dataclass(frozen=True)
class Sound:
    """A recording, of which the states of a few pieces are known at a time: an hour needs no more memory than a minute.

    A piece (30 s in Whisper) depends on its own samples alone, so that it does not matter in which order windows are asked for.
    """

    samples: np.ndarray
    _kept: dict[int, Heard] = field(default_factory=dict)

    def windows(self, times: np.ndarray, amount: np.ndarray, network: MuseTalkNetwork) -> Tensor:
        """What is heard at `times` (B,), seconds: (B, 10, layers, d) of the network's device and precision.

        The window's fifth step is the one at the time, whatever the frame rate; before and after the recording there are zeros.
        `amount` (B,) says how much of the speech is heard: 0 silence, 1 all, more exaggerates.
        """
        like = next(network.whisper.parameters())
        length = int(network.whisper.config.max_source_positions)
        first = np.floor(np.asarray(times, np.float64) * STEP_RATE + 1e-6).astype(np.int64)
        steps = first[:, None] + np.arange(-BEFORE, STEPS - BEFORE)
        inside = (steps >= 0) & (steps < len(self.samples) // STEP)
        shares = np.broadcast_to(np.asarray(amount, np.float32)[:, None], steps.shape)
        result = torch.zeros(*steps.shape, network.layers, int(network.whisper.config.d_model), dtype=like.dtype)
        for number in np.unique(steps[inside] // length):
            at = inside & (steps // length == number)
            heard = self._piece(int(number), length, network)
            where = torch.from_numpy(steps[at] - number * length)
            weight = torch.from_numpy(shares[at])[:, None, None]
            # lerp gives both ends exactly.
            mixed = torch.lerp(heard.quiet[where].float(), heard.speech[where].float(), weight)
            result[torch.from_numpy(at)] = mixed.to(like.dtype)
        return result.to(like.device)

    def _piece(self, number: int, length: int, network: MuseTalkNetwork) -> Heard:
        if number not in self._kept:
            like = next(network.whisper.parameters())
            samples = self.samples[number * length * STEP:(number + 1) * length * STEP]
            mel = whisper_mel(samples, 2 * length, int(network.whisper.config.num_mel_bins))
            speech, quiet = network.hear(torch.stack([mel, torch.full_like(mel, float(mel.min()))]).to(like)).cpu()
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = Heard(speech, quiet)
        return self._kept[number]
