"""Teach the articulation network: phones and their shapes from synthetic speech, what mouths really do from clips."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...dsp import band_levels
from ...generators.morph.articulation_net import BANDS, CHANNELS, RATE, STRIDE, ArticulationNet, Loudness, normalise
from ..precision import autocast
from . import shapes
from .augment import augment, no_speech
from .corpus import load
from .real import RealClip

log = logging.getLogger(__name__)

SECONDS = 4.0
"""Length of a training segment."""
AHEAD = 0.06
"""Seconds that mouths are ahead of what dominance functions say: the median lag between a network taught on these alone and the
mouths of clips in sync."""
WARM = 40
"""Shapes at a segment's begin that are not scored: the network has not seen their past."""
OPENING, WIDTH, JAW, CLOSURE, TUCK, ROUND = range(len(CHANNELS))
PAUSES, SILENCES, EDGE = 0.35, 0.07, 5
"""Share of synthetic segments that get a long pause, and of those in which nobody speaks at all; shapes around a pause's ends that
are not scored."""
RARE = 3.0
"""What a shut lip or a tuck counts more than none."""
WEIGHTS = (2.0, 1.0, 0.7, 1.5, 0.7, 0.7)
"""What a channel's error counts."""


@dataclass
class Spoken:
    """An utterance with targets: levels (2 m, BANDS) float16 dB, channels (m, 6), classes (m,)."""

    levels: np.ndarray
    channels: np.ndarray
    classes: np.ndarray


def prepare(file: Path) -> list[Spoken]:
    """A saved corpus -> what the training wants of it."""
    result = []
    for item in load(file):
        samples = item.samples.astype(np.float32) / 32768
        levels = band_levels(samples, BANDS, RATE)
        channels, classes = shapes.curves(item.phones, len(samples) / 16_000)
        early = round(AHEAD * RATE)
        channels = np.concatenate([channels[early:], np.repeat(channels[-1:], early, 0)])
        m = min(len(levels), len(channels)) // STRIDE
        result.append(Spoken(levels[:STRIDE * m].astype(np.float16), channels[:STRIDE * m:STRIDE], classes[:STRIDE * m:STRIDE]))
    return result


def _segment(array: np.ndarray, first: int, count: int, fill: float) -> np.ndarray:
    """Rows first .. first + count of `array`, `fill` where there are none."""
    result = np.full((count, *array.shape[1:]), fill, np.float32)
    low, high = max(first, 0), min(first + count, len(array))
    if high > low:
        result[low - first:high - first] = array[low:high]
    return result


def _stretch(levels: np.ndarray, factor: float, count: int) -> np.ndarray:
    """The first `count` rows of `levels` played `factor` times as fast."""
    position = np.minimum(np.arange(count) * factor, len(levels) - 1.001)
    below = position.astype(int)
    share = (position - below)[:, None] if levels.ndim == 2 else position - below
    return levels[below] * (1 - share) + levels[below + 1] * share


class Batches:
    """Random segments: `real` of each batch from clips, the rest synthetic."""

    def __init__(self, spoken: list[Spoken], clips: list[RealClip], batch: int, real: float, seed: int) -> None:
        self.spoken, self.clips, self.batch = spoken, clips, batch
        self.real = round(batch * real) if clips else 0
        self.rng = np.random.default_rng(seed)
        self.lengths = np.array([len(s.classes) for s in spoken], float) if spoken else np.ones(1)
        # Of one person in hundreds of clips no more than of ten others.
        weight = np.array([len(c.opening) * (0.15 if c.name.startswith("grid_s1") else 1.0) for c in clips], float)
        self.clip_weight = weight / weight.sum() if clips else weight

    def __call__(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """levels (B, 2 m, BANDS) dB, channels (B, 6, m), scored (B, 6, m), classes (B, m) with -1 where unknown."""
        rng, m = self.rng, round(SECONDS * RATE / STRIDE)
        levels = np.empty((self.batch, STRIDE * m, BANDS), np.float32)
        channels, scored = np.zeros((self.batch, m, 6), np.float32), np.zeros((self.batch, m, 6), np.float32)
        classes = np.full((self.batch, m), -1, np.int64)
        for row in range(self.batch):
            fast = float(np.exp(rng.uniform(-0.18, 0.18)))
            need = int(m * fast) + 3
            if row < self.real:
                clip = self.clips[rng.choice(len(self.clips), p=self.clip_weight)]
                first = int(rng.integers(-WARM, max(len(clip.opening) - need + WARM, 1 - WARM) + 1))
                levels[row] = _stretch(_segment(clip.levels, STRIDE * first, STRIDE * need, -70), fast, STRIDE * m)
                shut = np.where(clip.opening < 0.12, 1.0, 0.0) * (clip.spoken > 0.5)
                truth = np.stack([np.clip(clip.opening, 0, 1), np.clip(clip.width, -1, 1), np.clip(clip.jaw, 0, 1), shut], 1)
                channels[row, :, :4] = _stretch(_segment(truth, first, need, 0), fast, m)
                seen = (_stretch(_segment(clip.seen.astype(np.float32), first, need, 0), fast, m) > 0.99).astype(np.float32)
                # While nobody speaks people breathe, swallow and smile: the sound can't know.
                seen *= 0.25 + 0.75 * np.clip(_stretch(_segment(clip.spoken, first, need, 0), fast, m), 0, 1)
                for channel, share in ((OPENING, 1.0), (WIDTH, 0.5), (JAW, 0.5), (CLOSURE, 0.5)):
                    scored[row, :, channel] = share * seen
            else:
                item = self.spoken[rng.choice(len(self.spoken), p=self.lengths / self.lengths.sum())]
                first = int(rng.integers(-WARM, max(len(item.classes) - need + WARM, 1 - WARM) + 1))
                levels[row] = _stretch(_segment(item.levels, STRIDE * first, STRIDE * need, -70), fast, STRIDE * m)
                channels[row] = _stretch(_segment(item.channels, first, need, 0), fast, m)
                scored[row] = 1.0
                nearest = np.minimum(np.rint(np.arange(m) * fast).astype(int), need - 1)
                classes[row] = _segment(item.classes, first, need, 0)[nearest]
                self._pause(levels[row], channels[row], scored[row], classes[row])
        scored[:, :WARM], classes[:, :WARM] = 0, -1
        return (torch.from_numpy(levels), torch.from_numpy(channels).transpose(1, 2), torch.from_numpy(scored).transpose(1, 2),
                torch.from_numpy(classes))

    def _pause(self, levels: np.ndarray, channels: np.ndarray, scored: np.ndarray, classes: np.ndarray) -> None:
        """Now and then a long pause, or no speech at all: engines read without breathing. Changes its arguments, rows of a batch."""
        rng, m, chance = self.rng, len(classes), self.rng.random()
        if chance < SILENCES:
            levels[:], channels[:], classes[:] = no_speech(len(levels), levels.shape[1], rng), 0, 0
        elif chance < SILENCES + PAUSES:
            first = int(rng.integers(0, m - 20))
            last = min(m, first + int(rng.uniform(0.3, 2.5) * RATE / STRIDE))
            levels[STRIDE * first:STRIDE * last] = _silence_of(levels, rng)
            channels[first:last], classes[first:last] = 0, 0
            scored[max(0, first - EDGE):first + EDGE] = 0
            scored[max(0, last - EDGE):last + EDGE] = 0


def _silence_of(levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A level (BANDS,) of a row's own silence: digital, or its quietest moments."""
    return np.full(levels.shape[1], rng.uniform(-100, -70)) if rng.random() < 0.5 else np.quantile(levels, 0.03, axis=0)


def inputs(levels: Tensor, rng: np.random.Generator) -> Tensor:
    """dB (B, T, BANDS) -> normalised (B, BANDS, T), the loudness remembered from before the segment at random."""
    rows = [normalise(row, Loudness(float(rng.uniform(-40, -8))))[0] for row in levels.numpy()]
    return torch.from_numpy(np.stack(rows)).transpose(1, 2)


def loss_of(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor, Tensor], rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the channels, cross entropy of the classes, and 1 - r of the opening in each segment."""
    levels, channels, scored, classes = batch
    with autocast():
        mouth, logits = net(inputs(augment(levels, rng), rng))
    mouth, logits = mouth.float(), logits.float()
    weight = scored * torch.tensor(WEIGHTS)[None, :, None]
    squared = (weight * (mouth - channels) ** 2).sum() / weight.sum().clamp_min(1)
    entropy = F.cross_entropy(logits, classes, ignore_index=-1, label_smoothing=0.05) if (classes >= 0).any() else squared * 0
    apart = 0.0
    for channel, share in ((OPENING, 1.0), (WIDTH, 0.4)):
        seen = scored[:, channel]
        count = seen.sum(1).clamp_min(1)

        def centred(x: Tensor, seen: Tensor = seen, count: Tensor = count) -> Tensor:
            return (x - ((x * seen).sum(1) / count)[:, None]) * seen

        ours, theirs = centred(mouth[:, channel]), centred(channels[:, channel])
        r = (ours * theirs).sum(1) / ((ours**2).sum(1) * (theirs**2).sum(1) + 1e-6).sqrt()
        known = ((theirs**2).sum(1) > 0.05).float()
        apart = apart + share * ((1 - r) * known).sum() / known.sum().clamp_min(1)
    total = 8 * squared + 0.35 * entropy + 0.6 * apart
    return total, {"squared": squared.item(), "classes": entropy.item(), "1-r": float(torch.as_tensor(apart).detach())}


def train(batches: Batches, minutes: float, *, width: int = 128, rate: float = 2e-3, seed: int = 0, steps: int | None = None,
          start: ArticulationNet | None = None, report=None) -> ArticulationNet:
    """Train for `minutes` (or `steps`), one cycle of the learning rate; returns the running mean of the weights."""
    torch.manual_seed(seed)
    net = start or ArticulationNet(width)
    mean = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    began, step, sums, last = time.monotonic(), 0, {}, 0.0
    while True:
        done = step / steps if steps else (time.monotonic() - began) / (60 * minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * done)) + 0.01)
        net.train()
        loss, parts = loss_of(net, batches(), batches.rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(net)
        step += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value
        if step % 200 == 0:
            log.info("step %d, %.0f s: %s", step, time.monotonic() - began, ", ".join(f"{k} {v / 200:.4f}" for k, v in sums.items()))
            sums = {}
            if report and time.monotonic() - last > 60:
                report(mean.module)
                last = time.monotonic()
    return mean.module.eval()
