"""The sync expert: do these five mouths go with this sound? Two towers, taught to tell a window from others of the same clip and of
other clips."""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...generators.lipsyncnet.layers import ResBlock
from .discriminators import mouth_of

FRAMES = 5
"""Frames in a window (SyncNet's, Chung & Zisserman 2016): 0.2 s at 25 a second."""
COLUMNS = 24
"""Mel columns in a window, 80 a second: 0.3 s, the frames' own 0.2 s and 50 ms on either side, because lips lead the sound."""
BEFORE = 0.05
"""Seconds of sound before the first frame of a window."""
SIDE = 64
"""Side of the mouth pictures it is shown."""
WIDTHS = {"tiny": 24, "base": 48}


class SyncExpert(nn.Module):
    """Windows of mouths and of sound -> unit vectors whose product tells whether they belong together."""

    def __init__(self, width: int = 24, embedding: int = 128) -> None:
        super().__init__()
        self.width = width
        w = width
        self.mouth = nn.Sequential(
            nn.Conv2d(3 * FRAMES, w, 5, 2, 2), ResBlock(w, w), nn.Conv2d(w, 2 * w, 3, 2, 1), ResBlock(2 * w, 2 * w),
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1), ResBlock(4 * w, 4 * w), nn.Conv2d(4 * w, 8 * w, 3, 2, 1), ResBlock(8 * w, 8 * w))
        self.sound = nn.Sequential(
            nn.Conv2d(1, w, (5, 3), (2, 1), (2, 1)), ResBlock(w, w), nn.Conv2d(w, 2 * w, 3, 2, 1), ResBlock(2 * w, 2 * w),
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1), ResBlock(4 * w, 4 * w), nn.Conv2d(4 * w, 8 * w, 3, (2, 1), 1), ResBlock(8 * w, 8 * w))
        self.mouth_out = nn.Sequential(nn.Dropout(0.4), nn.Linear(8 * w * 16, embedding))
        self.sound_out = nn.Sequential(nn.Dropout(0.4), nn.Linear(8 * w * 5 * 6, embedding))
        self.temperature = nn.Parameter(torch.tensor(2.6))            # exp: 13, learned as in CLIP (Radford et al. 2021)

    def see(self, windows: Tensor) -> Tensor:
        """Windows (B, 5, 3, S, S) of steady crops, 0..1 -> (B, E), length 1."""
        return self.look(mouths(windows))

    def look(self, mouths: Tensor) -> Tensor:
        """Windows (B, 5, 3, SIDE, SIDE) of mouths, 0..1 -> (B, E), length 1."""
        x = self.mouth(2 * rearrange(mouths, "b t c h w -> b (t c) h w") - 1)
        return F.normalize(self.mouth_out(F.silu(x).flatten(1)), dim=1)

    def hear(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, 24), -4..4 -> (B, E), length 1."""
        return F.normalize(self.sound_out(F.silu(self.sound(mel[:, None] / 4)).flatten(1)), dim=1)

    def contrast(self, seen: Tensor, heard: Tensor) -> Tensor:
        """InfoNCE both ways (van den Oord et al. 2018): seen and heard (B, E), row i of one belongs to row i of the other, and to no
        other row. Chance is log B."""
        logits = self.temperature.exp().clamp(max=50) * seen @ heard.T
        truth = torch.arange(len(seen), device=seen.device)
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2


def mouths(windows: Tensor) -> Tensor:
    """The mouths of windows (B, 5, 3, S, S) of steady crops: (B, 5, 3, SIDE, SIDE)."""
    cut = rearrange(mouth_of(windows), "b t c h w -> (b t) c h w")
    cut = F.interpolate(cut, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return rearrange(cut, "(b t) c h w -> b t c h w", t=FRAMES)


def sync_loss(expert: SyncExpert, windows: Tensor, mel: Tensor, others: Tensor) -> Tensor:
    """How much better made windows (B, 5, 3, S, S) go with their sound (B, 80, 24) than with K others of the same clip
    (B, K, 80, 24): cross entropy, chance is log(1 + K). Every sample by itself, so that a batch may be split."""
    seen = expert.see(windows)
    sounds = expert.hear(rearrange(torch.cat([mel[:, None], others], 1), "b k c t -> (b k) c t"))
    logits = torch.einsum("be,bke->bk", seen, rearrange(sounds, "(b k) e -> b k e", b=len(seen)))
    return F.cross_entropy(expert.temperature.exp().clamp(max=50) * logits, torch.zeros(len(seen), dtype=torch.long, device=seen.device))


def save_expert(expert: SyncExpert, file: Path) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in expert.state_dict().items()}, str(file),
              {"architecture": "sync_expert", "width": str(expert.width)})


def load_expert(file: Path) -> SyncExpert:
    """Frozen, ready to judge."""
    with safe_open(str(file), framework="pt") as tensors:
        width = int((tensors.metadata() or {}).get("width", WIDTHS["tiny"]))
        state = {key: tensors.get_tensor(key) for key in tensors.keys()}
    expert = SyncExpert(width)
    expert.load_state_dict(state)
    return expert.eval().requires_grad_(False)
