"""Teach the sync expert, and say how good it is on people that it was not taught on."""

from __future__ import annotations

import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..precision import autocast
from .sync_expert import WIDTHS, SyncExpert, mouths, save_expert
from .windows import SegmentStore, WindowOptions, Windows, enough

log = logging.getLogger(__name__)
TOGETHER = 8
"""Windows of a batch that come from one clip: the hard ones to tell apart, since voice and face are the same."""
OFFSETS = 15
"""Frames either way over which the offset curve is shown."""


def train_expert(shards: Path, *, width: str = "tiny", size: int = 128, batch: int = 48, minutes: float = 20.0, steps: int | None = None,
                 rate: float = 1e-3, seed: int = 0, device: str = "cpu") -> tuple[SyncExpert, list[float]]:
    """A new expert, and its loss step by step. `batch` windows, `TOGETHER` from each of `batch / TOGETHER` clips."""
    options = WindowOptions(size, 0, 1, windows_of_a_clip=TOGETHER)
    windows = Windows(SegmentStore(shards, "train", 3 << 30, enough(size)), options, seed)
    torch.manual_seed(seed)
    expert = SyncExpert(WIDTHS[width]).to(device)
    optimiser = torch.optim.AdamW(expert.parameters(), lr=rate, weight_decay=0.02)
    losses, began, step = [], time.monotonic(), 0
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(windows.batch, 0, range(batch))
        while True:
            done = step / steps if steps else (time.monotonic() - began) / (60 * minutes)
            if done >= 1:
                break
            now = ahead.result().to(device)
            ahead = reader.submit(windows.batch, step + 1, range(batch))
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) + 0.01)
            with autocast(device):
                loss = expert.contrast(expert.look(_harder_to_see(mouths(now.faces))), expert.hear(_harder_to_hear(now.window)))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(expert.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
            step += 1
            if step % 50 == 0:
                log.info("step %d, %.0f s: InfoNCE %.4f (chance %.2f)", step, time.monotonic() - began, float(np.mean(losses[-50:])),
                         math.log(batch))
        ahead.result()
    return expert.eval().requires_grad_(False), losses


def _harder_to_see(windows: Tensor) -> Tensor:
    """Mouths (B, 5, 3, S, S) each with other colours, contrast and sharpness, a patch gone: who it is must not tell what is said. All
    five frames of a window alike, so that what moves is what the mouth did."""
    count, frames = windows.shape[:2]
    each = (count, 1, 1, 1, 1)
    grey = (torch.rand(each, device=windows.device) < 0.5).float()
    colour = grey * windows.mean(2, keepdim=True) + (1 - grey) * windows
    middle = colour.mean((1, 2, 3, 4), keepdim=True)
    changed = (colour - middle) * (0.6 + 0.8 * torch.rand(each, device=windows.device)) + middle
    changed = changed + 0.2 * (torch.rand(each, device=windows.device) - 0.5)
    soft = F.interpolate(F.avg_pool2d(changed.flatten(0, 1), 2), windows.shape[-2:], mode="bilinear", align_corners=False)
    blurred = (torch.rand(each, device=windows.device) < 0.25).float()
    changed = blurred * soft.unflatten(0, (count, frames)) + (1 - blurred) * changed
    side = windows.shape[-1]
    place = torch.arange(side, device=windows.device)
    inside = []
    for _ in range(2):
        low = torch.randint(-side // 4, side, (count, 1), device=windows.device)
        inside.append((place >= low) & (place < low + side // 4))
    gone = (inside[0][:, :, None] & inside[1][:, None, :])[:, None, None]
    return torch.where(gone, middle, changed).clamp(0, 1)


def _harder_to_hear(mel: Tensor) -> Tensor:
    """Log-mel (B, 80, C) of other voices and rooms: bands moved by up to four, some bands and columns gone (SpecAugment, Park et al.
    2019), noise."""
    count, bands, columns = mel.shape
    device = mel.device
    moved = (torch.arange(bands, device=device)[None] + torch.randint(-4, 5, (count, 1), device=device)).clamp(0, bands - 1)
    changed = mel.gather(1, moved[:, :, None].expand_as(mel)) + 0.2 * torch.rand(count, 1, 1, device=device) * torch.randn_like(mel)
    for size, most, dim in ((bands, 14, 1), (columns, 4, 2)):
        low, wide = torch.randint(0, size, (count, 1), device=device), torch.randint(0, most + 1, (count, 1), device=device)
        place = torch.arange(size, device=device)[None]
        gone = ((place >= low) & (place < low + wide)).unsqueeze(3 - dim)
        changed = torch.where(gone, changed.mean((1, 2), keepdim=True), changed)
    return changed.clamp(-4, 4)


@torch.no_grad()
def judge(expert: SyncExpert, shards: Path, split: str = "test", *, size: int = 128, most: int = 60) -> dict:
    """On segments of people held out: how often a window prefers its own sound to one of the same clip at least 0.4 s away (2-way
    accuracy, chance 0.5), and the offset at which mouths and sound agree best, segment by segment and over all (s; the loss of a
    2-way choice that knows nothing is 0.69)."""
    store = SegmentStore(shards, split, 1 << 29)
    rows, curves, right, loss, count = [], [], 0.0, 0.0, 0
    for index in np.linspace(0, len(store) - 1, min(most, len(store))).round().astype(int):
        segment, mel = store.load(int(index))
        windows = Windows.plain(segment, mel, size, OFFSETS)
        if windows is None:
            continue
        faces, sounds, shift = windows
        seen = torch.cat([expert.see(part) for part in faces.split(16)])
        heard = torch.cat([expert.hear(part) for part in sounds.split(64)])
        table = seen @ heard.T                                        # window i against the sound of window j + shift
        n = len(seen)
        own = torch.arange(n) + shift
        for i in range(n):
            far = [j for j in range(len(heard)) if abs(j - int(own[i])) >= 10]
            if far:
                better = table[i, own[i]] - table[i, far]
                right += float((better > 0).float().mean())
                loss += float(torch.nn.functional.softplus(-expert.temperature.exp().clamp(max=50) * better).mean())
                count += 1
        curve = np.array([float(table[torch.arange(n), own + k].mean()) for k in range(-shift, shift + 1)])
        curves.append(curve)
        rows.append({"clip": segment.meta["clip"], "frames": n, "offset_frames": int(curve.argmax()) - shift,
                     "confidence": float(curve.max() - np.median(curve))})
    offsets = np.array([row["offset_frames"] for row in rows])
    mean = np.mean(curves, 0)
    return {"segments": len(rows), "two_way_accuracy": right / max(count, 1), "two_way_loss": loss / max(count, 1),
            "offset_error_frames": float(np.median(np.abs(offsets))), "within_one_frame": float((np.abs(offsets) <= 1).mean()),
            "offset_of_mean_curve": int(mean.argmax()) - OFFSETS, "curve": mean.round(4).tolist(), "rows": rows}


def run(shards: Path, output: Path, *, minutes: float, steps: int | None, width: str, seed: int, device: str) -> dict:
    """Teach, judge, write the expert and its figures beside it."""
    expert, losses = train_expert(shards, width=width, minutes=minutes, steps=steps, seed=seed, device=device)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_expert(expert.cpu(), output)
    found = judge(expert.cpu(), shards) if list(shards.glob("test-*.tar")) else {}
    found["loss"] = [round(float(np.mean(losses[i:i + 50])), 4) for i in range(0, len(losses), 50)]
    output.with_suffix(".json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found

