"""The two training loops: landmarks and detector. bf16 on the CPU or a GPU, averaged weights, cosine schedule, resumable."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...faces.networks import DetectorNet, LandmarkNet
from ...threads import Prefetch
from ..precision import autocast
from .data import face_batches, load_backgrounds, load_samples, scene_batches

log = logging.getLogger(__name__)

POINT_WEIGHT = torch.ones(68)
POINT_WEIGHT[:17] = 0.5
POINT_WEIGHT[48:] = 2.5
"""The jaw line is vague in any labelling; the lips are what a lip-sync needs."""


def to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, h, w) float32 0..1, channels last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)


def landmark_loss(points: Tensor, logits: Tensor, target: Tensor, is_face: Tensor) -> Tensor:
    """Log-like distance of the points (robust to a teacher's slips, sharp near zero), the lips' own opening, the confidence."""
    unit = (target[:, 45] - target[:, 36]).norm(dim=-1).clamp_min(0.1)[:, None]
    distance = (points - target).norm(dim=-1) / unit
    near = 0.04
    wing = torch.where(distance < near, near * torch.log1p(distance / near * 4), near * math.log(5) + 0.8 * (distance - near))
    shape = (wing * POINT_WEIGHT.to(points)).mean(1)
    top, bottom = [61, 62, 63, 51], [67, 66, 65, 57]
    opening = ((points[:, bottom] - points[:, top]) - (target[:, bottom] - target[:, top])).norm(dim=-1) / unit
    faces = is_face.sum().clamp_min(1)
    fit = (((shape + 0.6 * opening.mean(1)) * is_face).sum()) / faces
    return fit * 10 + 0.3 * F.binary_cross_entropy_with_logits(logits[:, 0], is_face)


def detector_loss(out: Tensor, boxes: list[np.ndarray]) -> Tensor:
    """Penalty-reduced focal loss of the centres (CenterNet, Zhou et al. 2019, alpha 2, beta 4) and L1 of offset and size."""
    b, _, h, w = out.shape
    heat = torch.zeros(b, h, w)
    total_fit = out.new_zeros(())
    count = 0
    ys, xs = np.mgrid[0:h, 0:w]
    owner, cells, targets = [], [], []
    for k, found in enumerate(boxes):
        for x0, y0, x1, y1 in found / DetectorNet.STRIDE:
            cx, cy, bw, bh = (x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5, x1 - x0, y1 - y0
            sigma = max(0.6, 0.12 * float(np.sqrt(bw * bh)))
            bump = np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / (2 * sigma**2))
            ix, iy = int(np.clip(round(cx), 0, w - 1)), int(np.clip(round(cy), 0, h - 1))
            bump[iy, ix] = 1
            heat[k] = torch.maximum(heat[k], torch.from_numpy(bump).float())
            # Every cell near the centre learns the box: a detection need not hit the middle.
            near = np.argwhere(np.hypot(xs - cx, ys - cy) <= max(0.75, 0.15 * min(bw, bh)))
            for jy, jx in near:
                owner.append(k)
                cells.append(int(jy) * w + int(jx))
                targets.append((cx - jx, cy - jy, math.log(max(bw, 0.2)), math.log(max(bh, 0.2))))
            count += 1
    heat = heat.to(out.device)
    p = out[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = heat >= 0.999
    focal = -torch.where(positive, (1 - p) ** 2 * p.log(), (1 - heat) ** 4 * p**2 * (1 - p).log()).sum()
    if owner:
        chosen = out[:, 1:].flatten(2)[owner, :, cells]
        total_fit = F.smooth_l1_loss(chosen, torch.tensor(targets, device=out.device), beta=0.1)
    return focal / max(count, 1) + total_fit


class Average:
    """Exponential moving average of a network's weights and buffers."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.network, self.decay = copy.deepcopy(network).eval(), decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (20 + step))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def _loop(network: nn.Module, batches: Iterator, step_loss, minutes: float, rate: float, checkpoint: Path,
          resume: bool) -> nn.Module:
    device = next(network.parameters()).device
    network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    average, step, used = Average(network), 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        network.load_state_dict(state["network"])
        average.network.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, used = state["step"], state["used"]
    begin, last, running = time.monotonic() - used, time.monotonic(), 0.0
    with Prefetch(batches, 6) as stream:
        for batch in stream:
            done = (time.monotonic() - begin) / (60 * minutes)
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
            loss = step_loss(network, batch, device)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            average.update(network, step)
            step += 1
            value = float(loss.detach())
            running = value if step == 1 else 0.98 * running + 0.02 * value
            if time.monotonic() - last > 60:
                last = time.monotonic()
                log.info("step %d, %.0f %% of the time, loss %.4f", step, 100 * done, running)
                _save(checkpoint, network, average, optimiser, step, last - begin)
    _save(checkpoint, network, average, optimiser, step, time.monotonic() - begin)
    return average.network


def _save(path: Path, network: nn.Module, average: Average, optimiser: torch.optim.Optimizer, step: int, used: float) -> None:
    partial = path.with_name(path.name + ".partial")
    torch.save({"network": network.state_dict(), "average": average.network.state_dict(),
                "optimiser": optimiser.state_dict(), "step": step, "used": used}, partial)
    partial.replace(path)


def fit_landmarks(labels: Path, checkpoint: Path, minutes: float, *, batch: int = 96, seed: int = 1, resume: bool = False,
                  device: str = "cpu") -> nn.Module:
    """Teach `LandmarkNet` for `minutes`; returns the averaged network (not folded). The checkpoint is written each minute."""
    torch.manual_seed(seed)
    samples, backgrounds = load_samples(labels, held_out=False), load_backgrounds(labels, held_out=False)
    log.info("%d crops of %d clips and stills, %d backgrounds", len(samples.crops), len(samples.names), len(backgrounds))

    def step_loss(network: nn.Module, item: tuple, where: torch.device) -> Tensor:
        images, points, is_face = item
        with autocast(where):
            out, logits = network(to_tensor(images, where))
        return landmark_loss(out, logits, torch.from_numpy(points).to(where), torch.from_numpy(is_face).to(where))

    return _loop(LandmarkNet().to(device), face_batches(samples, backgrounds, batch, seed), step_loss, minutes, 2e-3,
                 checkpoint, resume)


def fit_detector(labels: Path, checkpoint: Path, minutes: float, *, batch: int = 24, seed: int = 1, resume: bool = False,
                 device: str = "cpu") -> nn.Module:
    """Teach `DetectorNet` for `minutes`; returns the averaged network (not folded)."""
    torch.manual_seed(seed)

    def step_loss(network: nn.Module, item: tuple, where: torch.device) -> Tensor:
        images, boxes = item
        with autocast(where):
            out = network(to_tensor(images, where))
        return detector_loss(out, boxes)

    return _loop(DetectorNet().to(device), scene_batches(labels, batch, seed), step_loss, minutes, 1.5e-3, checkpoint, resume)
