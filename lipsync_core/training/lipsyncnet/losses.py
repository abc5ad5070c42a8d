"""What a made face is measured by, beside the discriminators."""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import CheckpointError
from .discriminators import mouth_of

SCALES = 3
"""Gradients are compared at full, half and quarter resolution."""


def gradient_loss(made: Tensor, true: Tensor) -> Tensor:
    """L1 of the differences of neighbouring pixels at several scales: edges of teeth and lips, not their mean colour."""
    a, b = (rearrange(x, "b t c h w -> (b t) c h w") for x in (made, true))
    losses = []
    for _ in range(SCALES):
        losses += [F.l1_loss(a.diff(dim=-1), b.diff(dim=-1)), F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))]
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return torch.stack(losses).mean()


def flow_smoothness(flow: Tensor) -> Tensor:
    """Mean squared change of a flow (..., 2, h, w) from pixel to pixel, times the square of its side: the same at any resolution."""
    side = flow.shape[-1]
    return side * side * (flow.diff(dim=-1).square().mean() + flow.diff(dim=-2).square().mean())


class Perceptual(nn.Module):
    """L1 between features of made and true pictures: of VGG-16 where its weights are given, else of fixed random convolutions, which see
    texture too (Ulyanov et al. 2016; much weaker than VGG's, but nothing has to be downloaded)."""

    WIDTHS = ((64, 64), (128, 128), (256, 256, 256))
    """VGG-16 up to relu3_3 (Simonyan & Zisserman 2015, configuration D)."""

    def __init__(self, file: Path | None = None, seed: int = 7) -> None:
        super().__init__()
        self.source = f"VGG-16 of {file}" if file else "fixed random features (no VGG file was given)"
        layers, cin = nn.ModuleList(), 3
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for block in self.WIDTHS:
                convs = []
                for width in block if file else (block[0] // 4,):
                    conv = nn.Conv2d(cin, width, 3, padding=1)
                    nn.init.kaiming_normal_(conv.weight)
                    nn.init.zeros_(conv.bias)
                    convs.append(conv)
                    cin = width
                layers.append(nn.ModuleList(convs))
        self.blocks = layers
        if file:
            self._load(file)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.requires_grad_(False)

    def _load(self, file: Path) -> None:
        """torchvision's names: features.0, .2, .5, .7, .10, .12, .14."""
        from safetensors.torch import load_file

        state = load_file(str(file)) if file.suffix == ".safetensors" else torch.load(file, weights_only=True, map_location="cpu")
        convs = [conv for block in self.blocks for conv in block]
        try:
            for conv, number in zip(convs, (0, 2, 5, 7, 10, 12, 14)):
                conv.load_state_dict({"weight": state[f"features.{number}.weight"], "bias": state[f"features.{number}.bias"]})
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{file} does not hold torchvision's VGG-16: give vgg16-397923af.pth, or leave it out.") from error

    def features(self, pictures: Tensor) -> list[Tensor]:
        x, found = (pictures - self.mean) / self.spread, []
        for i, block in enumerate(self.blocks):
            if i:
                x = F.max_pool2d(x, 2)
            for conv in block:
                x = F.relu(conv(x))
            # Unit length at every pixel, as LPIPS does (Zhang et al. 2018): what matters is the pattern.
            found.append(F.normalize(x, dim=1))
        return found

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """Windows (B, T, 3, S, S), 0..1, whole faces and mouths."""
        losses = []
        for cut in (lambda x: x, mouth_of):
            a, b = (rearrange(cut(x), "b t c h w -> (b t) c h w") for x in (made, true))
            losses += [(x - y).abs().sum(1).mean() for x, y in zip(self.features(a), self.features(b))]
        return torch.stack(losses).mean()
