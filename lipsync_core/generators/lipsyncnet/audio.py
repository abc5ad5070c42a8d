"""From log-mel to an embedding for every frame: convolutions, then recurrent layers over time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

MEL_BANDS = 80
STRIDE = 2
"""Mel columns a step of the recurrent layers: 80 columns a second (`audio.mel`) become 40 steps."""
STEP_RATE = 40.0
DELAY = 5
"""Steps that a frame's embedding is read late, so that the recurrent layers have heard what the lips are getting ready for: 125 ms."""
REACH = 3
"""Mel columns that a step sees beyond its own place: (5 - 1) / 2 of the first convolution and 1 of the second's stride of two."""
LOOK_AHEAD = (DELAY * STRIDE + REACH) / 80 + 0.025
"""Seconds of sound after a frame that its embedding needs, half a spectrum's window (25 ms) included: 0.1875."""


@dataclass(frozen=True)
class AudioState:
    """What is carried from one piece of sound to the next: the last mel columns (B, 80, k), and the recurrent state (layers, B, hidden)."""

    columns: Tensor
    hidden: Tensor


class AudioEncoder(nn.Module):
    """Log-mel (B, 80, T), -4..4, T even -> (B, T / 2, embedding), a step every 25 ms."""

    def __init__(self, width: int, hidden: int, layers: int, embedding: int) -> None:
        super().__init__()
        self.layers, self.hidden = layers, hidden
        self.conv1 = nn.Conv1d(MEL_BANDS, width, 5)
        self.conv2 = nn.Conv1d(width, width, 3, stride=STRIDE)
        self.rnn = nn.GRU(width, hidden, layers, batch_first=True)
        self.out = nn.Linear(hidden, embedding)

    def start(self, batch: int, like: Tensor) -> AudioState:
        """The state before any sound: silence was heard."""
        return AudioState(like.new_full((batch, MEL_BANDS, 2 * REACH), -4.0), like.new_zeros(self.layers, batch, self.hidden))

    def forward(self, mel: Tensor, state: AudioState) -> tuple[Tensor, AudioState]:
        """The steps whose columns are known, `REACH` columns behind the newest one, and the next state. T must be even."""
        x = torch.cat([state.columns, mel], 2)
        y = F.silu(self.conv1(x))
        y = F.silu(self.conv2(y))
        y = rearrange(y, "b c t -> b t c")
        y, hidden = self.rnn(y, state.hidden)
        return self.out(y), AudioState(x[:, :, -2 * REACH:], hidden)
