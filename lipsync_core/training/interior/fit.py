"""Training: every person has a code, every picture a small shift; teeth get edges by an adversary that also sees mouths whose
shape is one person's and whose code is another's, which is how the network is used."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from ...generators.morph.interior_layout import ACROSS, DOWN, UNIT
from ...generators.morph.interior_model import CODE, InteriorNet
from ..precision import autocast
from .data import Samples

log = logging.getLogger(__name__)

BATCH = 16
ADVERSARY_FROM = 0.35
"""Share of the time after which the adversary joins."""
ADVERSARY_WEIGHT = 0.04
CODE_NOISE = 0.08


class Patches(nn.Module):
    """Real or drawn, patch by patch: (B, 3, h, w) pictures and (B, 3, h, w) planes -> (B, 1, h', w')."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o, stride in ((6, 24, 2), (24, 40, 2), (40, 64, 1)):
            layers += [spectral_norm(nn.Conv2d(i, o, 4, stride, 1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(64, 1, 3, 1, 1)))

    def forward(self, picture: Tensor, planes: Tensor) -> Tensor:
        return self.layers(torch.cat([(picture - 0.5) * planes[:, 2:3], planes[:, :3]], 1))


class Course(nn.Module):
    """What is learned: the network, the code of every person, where the teeth of every picture are (shift across and down in
    pixels of the window: a part that follows the head's turn, and a rest of each picture's own)."""

    def __init__(self, people: int, pictures: int) -> None:
        super().__init__()
        self.network = InteriorNet()
        self.codes = nn.Embedding(people, CODE)
        self.turn = nn.Linear(2, 2, bias=False)
        self.shifts = nn.Embedding(pictures, 2, sparse=True)
        nn.init.normal_(self.codes.weight, std=0.5)
        nn.init.zeros_(self.turn.weight)
        nn.init.zeros_(self.shifts.weight)

    def moved(self, planes: Tensor, rows: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Planes whose coordinates are shifted as the rows' pictures need it; and the shifts (B, 2) of their own."""
        own = self.shifts(rows)
        shift = (own + self.turn(turns / 10)) * own.new_tensor([UNIT / ACROSS, UNIT / DOWN])
        return torch.cat([planes[:, :3], planes[:, 3:] + shift[..., None, None]], 1), own


def weight_of(planes: Tensor) -> Tensor:
    """Where the loss looks: inside the lips, and a little at their rims. (B, 1, h, w)."""
    rim = (torch.minimum(planes[:, 0:1], planes[:, 1:2]) > -0.12).float()
    return planes[:, 2:3] + 0.15 * rim


def picture_loss(drawn: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """L1 of values and of differences between neighbours, at full and half size."""
    total = drawn.new_zeros(())
    for scale, share in ((1, 1.0), (2, 0.5)):
        a, b, w = (F.avg_pool2d(t, scale) if scale > 1 else t for t in (drawn, real, weight))
        error = a - b
        norm = w.sum() * 3 + 1e-6
        total = total + share * ((error.abs() * w).sum() + 1.5 * ((error[..., 1:] - error[..., :-1]).abs() * w[..., 1:]).sum()
                                 + 1.0 * ((error[..., 1:, :] - error[..., :-1, :]).abs() * w[..., 1:, :]).sum()) / norm
    return total


def fit(samples: Samples, work: Path, minutes: float, *, seed: int = 0, batch: int = BATCH) -> Course:
    """Teach for `minutes` of wall time on the caller's threads; `work` keeps the course (a torch file of tensors)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    course, adversary = Course(len(samples.who), len(samples.people)), Patches()
    course.network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([{"params": course.network.parameters(), "lr": 2e-3},
                                   {"params": [*course.codes.parameters(), *course.turn.parameters()], "lr": 1e-2}],
                                  weight_decay=1e-4, betas=(0.9, 0.98))
    register = torch.optim.SparseAdam(course.shifts.parameters(), lr=0.2)
    judge = torch.optim.Adam(adversary.parameters(), lr=4e-4, betas=(0.5, 0.98))
    rates = [group["lr"] for group in optimizer.param_groups]
    fine = np.flatnonzero(samples.fine)
    fine_weight = samples.weights[fine] / max(samples.weights[fine].sum(), 1e-9)
    average = {k: v.clone() for k, v in course.state_dict().items()}
    start, step, seen = time.monotonic(), 0, []
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        register.param_groups[0]["lr"] = 0.2 * (1 - share)
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * min(1.0, (step + 1) / 100) * max(0.02, 1 - share**2)
        rows = rng.choice(len(samples.people), batch, p=samples.weights)
        planes, numbers, real = (torch.from_numpy(v) for v in samples.batch(rows, rng))
        turns = torch.from_numpy(samples.turns[rows])
        code = course.codes(torch.from_numpy(samples.people[rows]))
        moved, own = course.moved(planes, torch.from_numpy(rows), turns)
        code = code + CODE_NOISE * torch.randn_like(code)
        swap = batch // 2 if share > ADVERSARY_FROM and len(fine) >= batch else 0
        if swap:
            others = course.codes(torch.from_numpy(samples.people[rng.choice(fine, swap, p=fine_weight)])).detach()
            moved, numbers, code = (torch.cat(pair) for pair in ((moved, planes[:swap]), (numbers, numbers[:swap]), (code, others)))
        with autocast():                                              # half precision does no harm here
            both = course.network(moved.contiguous(memory_format=torch.channels_last), numbers, code)
        drawn, swapped = both.float().split([batch, swap])
        loss = picture_loss(drawn, real, weight_of(planes)) + 2e-4 * (code**2).sum(1).mean() + 1e-3 * (own**2).sum(1).mean()
        fooled = 0.0
        if swap:
            true_planes, _, true = (torch.from_numpy(v) for v in samples.batch(rng.choice(fine, swap, p=fine_weight), rng))
            judged = (F.relu(1 - adversary(true, true_planes)).mean()
                      + F.relu(1 + adversary(swapped.detach(), planes[:swap])).mean())
            judge.zero_grad()
            judged.backward()
            judge.step()
            judgement = -adversary(swapped, planes[:swap]).mean()
            loss = loss + ADVERSARY_WEIGHT * min(1.0, (share - ADVERSARY_FROM) / 0.1) * judgement
            fooled = float(judgement.detach())
        optimizer.zero_grad()
        register.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*course.network.parameters(), *course.codes.parameters()], 1.0)
        optimizer.step()
        if step > 200:
            register.step()
        step += 1
        keep = min(0.998, step / (step + 10))
        for key, value in course.state_dict().items():
            average[key].lerp_(value, 1 - keep)
        seen.append(float(loss.detach()))
        if step % 200 == 0:
            log.info("step %d, %.0f %% of the time, loss %.4f, adversary %.3f", step, 100 * share, np.mean(seen[-200:]), fooled)
    course.load_state_dict(average)
    work.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"course": course.state_dict(), "who": samples.who}, work)
    log.info("%d steps", step)
    return course.eval()
