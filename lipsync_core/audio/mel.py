"""The log-mel features of Wav2Lip and its descendants, and the window of them that belongs to a video frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..dsp import magnitudes, mel_filters

MEL_RATE = 80.0
"""Mel frames a second: 16 kHz over a hop of 200 samples."""
MEL_STEP = 16
"""Mel frames in a window: 200 ms."""
HOP, CONTEXT = 200, 4
"""Samples a mel frame; frames before and after a block that its spectra need."""
BLOCK = 1600
"""Mel frames that are worked on at a time (20 s): the spectra of an hour of speech need no more memory than those of a minute."""


def wav2lip_mel(samples: np.ndarray) -> Tensor:
    """Speech (n,) float32 at 16 kHz -> log-mel (80, 1 + n // 200) float32, -4..4 (digital silence is -4).

    Constants of Wav2Lip's audio front end: pre-emphasis 0.97, 800-point STFT every 200 samples, 80 Slaney bands from 55 to
    7600 Hz, 20 log10 of magnitudes floored at 1e-5, reference level 20 dB, range 100 dB mapped to 8 units.
    """
    samples = np.asarray(samples, np.float32)
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1]).astype(np.float32)
    mel = mel_filters(80, 800, 55.0, 7600.0) @ magnitudes(emphasised, 800, 200)
    decibels = 20 * torch.log10(mel.clamp_min(1e-5)) - 20
    return (8 * (decibels + 100) / 100 - 4).clamp(-4, 4)


def mel_blocks(samples: np.ndarray) -> Iterator[Tensor]:
    """The columns of `wav2lip_mel` (80, 1 + n // 200) in order, block by block: (80, k), k at most `BLOCK`."""
    total = 1 + len(samples) // HOP
    for first in range(0, total, BLOCK):
        last = min(total, first + BLOCK)
        begin = max(0, first - CONTEXT)
        yield wav2lip_mel(samples[begin * HOP:(last + CONTEXT) * HOP])[:, first - begin:last - begin]


def mel_window(mel: Tensor, time: float) -> Tensor:
    """The 16 columns of `mel` (80, T) that belong to a frame shown at `time` seconds: (80, 16).

    Starts at column int(80 time), as Wav2Lip's inference does, whatever the frame rate; the last windows are the last 16
    columns; speech shorter than a window is continued with silence.
    """
    if mel.shape[1] < MEL_STEP:
        mel = torch.nn.functional.pad(mel, (0, MEL_STEP - mel.shape[1]), value=-4.0)
    start = min(max(int(time * MEL_RATE + 1e-6), 0), mel.shape[1] - MEL_STEP)
    return mel[:, start:start + MEL_STEP]
