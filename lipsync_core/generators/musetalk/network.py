"""MuseTalk's three networks as one module: a host moves it between devices as a whole."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

SIZE = 256
"""Side of the crop, pixels."""
MASK_ROW = 128
"""First row that the UNet does not see of the frame it paints; the crop's rule puts the middle of the nose there."""


def positions(tokens: int, width: int) -> Tensor:
    """float32 (tokens, width): the sinusoids of Vaswani et al. 2017, sine and cosine in turn, which mark the place of a token."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(tokens)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


class MuseTalkNetwork(nn.Module):
    """One pass of a UNet over latents of the face without its lower half, beside those of the whole face (architectures: MuseTalk).

    `unet` is a `diffusers.UNet2DConditionModel`, `vae` a `diffusers.AutoencoderKL`, `whisper` the encoder of a
    `transformers.WhisperModel`.
    """

    def __init__(self, unet: nn.Module, vae: nn.Module, whisper: nn.Module) -> None:
        super().__init__()
        self.unet: Any = unet
        self.vae: Any = vae
        self.whisper: Any = whisper

    @property
    def layers(self) -> int:
        """Hidden states that Whisper gives for a step: the input of its first layer, and every layer's output."""
        return int(self.whisper.config.encoder_layers) + 1

    def hear(self, mel: Tensor) -> Tensor:
        """Log-mel (B, bands, 2 P) of pieces -> (B, P, layers, d): all hidden states, 50 steps a second; the last one normalised."""
        states = self.whisper(mel, output_hidden_states=True).hidden_states
        return torch.stack(tuple(states), 2)

    def latents(self, faces: Tensor) -> Tensor:
        """RGB (B, 3, S, S), 0..1 -> (B, 4, S / 8, S / 8), scaled. The distribution's mode, so that a still picture stays still."""
        return self.vae.encode(faces * 2 - 1).latent_dist.mode() * self.vae.config.scaling_factor

    def forward(self, faces: Tensor, speech: Tensor) -> Tensor:
        """RGB (B, 3, 256, 256), 0..1, and what is heard (B, steps, layers, d) -> RGB of the same shape, 0..1."""
        hidden = faces.clone()
        hidden[:, :, MASK_ROW:] = 0
        masked, reference = self.latents(torch.cat([hidden, faces])).chunk(2)
        tokens = speech.flatten(1, 2)
        tokens = tokens + positions(*tokens.shape[1:]).to(tokens)
        # It was taught without noise: there is one step, and its number is 0.
        step = torch.zeros((), dtype=torch.long, device=faces.device)
        painted = self.unet(torch.cat([masked, reference], 1), step, encoder_hidden_states=tokens).sample
        return (self.vae.decode(painted / self.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
