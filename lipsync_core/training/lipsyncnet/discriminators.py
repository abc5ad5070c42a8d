"""What tells real faces from made ones: patches of the face, of the mouth, and of five mouths in a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

MOUTH = (0.27, 0.50, 0.73, 0.96)
"""Left, top, right, bottom of the mouth in a steady crop (`faces.align`: nose tip at 0.52, jaw at 0.85), shares of its side."""


def mouth_of(pictures: Tensor) -> Tensor:
    """(..., 3, S, S) -> the square of the mouth, (..., 3, s, s)."""
    size = pictures.shape[-1]
    x0, y0, x1, y1 = (round(share * size) for share in MOUTH)
    return pictures[..., y0:y1, x0:x1]


class PatchDiscriminator(nn.Module):
    """(B, cin, S, S) -> scores of patches (B, 1, s, s), and the features on the way (pix2pix's patch discriminator, Isola et al. 2017,
    with spectral norm instead of batch norm, so that a batch on one machine or on several gives the same)."""

    def __init__(self, cin: int, width: int = 48, depth: int = 3) -> None:
        super().__init__()
        widths = [cin] + [width * 2 ** i for i in range(depth)]
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in zip(widths, widths[1:]))
        self.last = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.last(x), features


class Discriminators(nn.Module):
    """All of them. Windows (B, T, 3, S, S) 0..1 -> a list of (scores, features), one entry a discriminator."""

    def __init__(self, frames: int, width: int = 48) -> None:
        super().__init__()
        self.face = PatchDiscriminator(3, width, 4)
        self.face_half = PatchDiscriminator(3, width, 3)
        self.mouth = PatchDiscriminator(3, width, 3)
        self.motion = PatchDiscriminator(3 * frames, width, 3)

    def forward(self, windows: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        pictures = 2 * rearrange(windows, "b t c h w -> (b t) c h w") - 1
        in_a_row = rearrange(2 * mouth_of(windows) - 1, "b t c h w -> b (t c) h w")
        return [self.face(pictures), self.face_half(F.avg_pool2d(pictures, 2)), self.mouth(mouth_of(pictures)), self.motion(in_a_row)]


def hinge_real_fake(real: Sequence[tuple[Tensor, list[Tensor]]], fake: Sequence[tuple[Tensor, list[Tensor]]]) -> Tensor:
    """What the discriminators minimise (hinge loss, Lim & Ye 2017): mean over them."""
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for (r, _), (f, _) in zip(real, fake)]
    return torch.stack(losses).mean()


def fooled(fake: Sequence[tuple[Tensor, list[Tensor]]]) -> Tensor:
    """What the generator minimises against them."""
    return torch.stack([-scores.mean() for scores, _ in fake]).mean()


def feature_matching(real: Sequence[tuple[Tensor, list[Tensor]]], fake: Sequence[tuple[Tensor, list[Tensor]]]) -> Tensor:
    """Mean absolute difference of their features of the true and the made pictures (Wang et al. 2018, pix2pixHD)."""
    losses = [F.l1_loss(b, a.detach()) for (_, ra), (_, fb) in zip(real, fake) for a, b in zip(ra, fb)]
    return torch.stack(losses).mean()


def r1_penalty(discriminators: Discriminators, windows: Tensor) -> Tensor:
    """Squared gradient of the scores at real windows (Mescheder et al. 2018), mean over the batch."""
    windows = windows.detach().requires_grad_(True)
    total = sum(scores.mean((1, 2, 3)).sum() for scores, _ in discriminators(windows))
    gradient, = torch.autograd.grad(total, windows, create_graph=True)
    return gradient.square().sum((1, 2, 3, 4)).mean()
