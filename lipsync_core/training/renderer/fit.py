"""Teach the renderer on packed pairs: at first what is there on average, then what looks sharp."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from .network import MAPS, PRESETS, Renderer, lip_maps
from .pack import Packed, unpack
from .pairs import SIDE

log = logging.getLogger(__name__)
INSIDE, LIPS = 6.0, 2.0
"""Weights of the mouth's inside and of the lips beside the rest of the picture."""
DETAIL = 0.5
"""Weight of the differences between neighbouring pixels beside the pixels."""
JUDGED = 0.02
"""Weight of what the discriminator says."""
JUDGE_AFTER = 0.35
"""Share of the time after which it says anything."""
MOUTH = np.s_[:, :, 24:104, 16:112]
"""What the discriminator looks at."""
AVERAGE = 0.995
"""Of the running mean of the weights, which is what is kept."""


@dataclass(frozen=True)
class Settings:
    preset: str = "tiny"
    batch: int = 8
    rate: float = 4e-4
    minutes: float = 20.0
    seed: int = 0
    device: str = "cpu"


class Judge(nn.Module):
    """A patch discriminator of a mouth (B, 3 + MAPS, h, w)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers, channels = [], 3 + MAPS
        for i in range(3):
            layers += [nn.utils.spectral_norm(nn.Conv2d(channels, width << i, 4, 2, 1)), nn.LeakyReLU(0.2)]
            channels = width << i
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, 1, 1))

    def forward(self, pictures: Tensor, maps: Tensor) -> Tensor:
        return self.layers(torch.cat([pictures[MOUTH], maps[MOUTH]], 1))


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, SIDE, SIDE) -1..1, maps (B, MAPS, SIDE, SIDE), references (B, R, ...)."""

    warped: Tensor
    truth: Tensor
    maps: Tensor
    references: Tensor
    reference_maps: Tensor


class Reader:
    """Batches of packed pairs, each a little different from the last: mirrored, lighter, another colour. All pairs lie on the device."""

    def __init__(self, packed: Packed, device: torch.device) -> None:
        n, r = packed.reference_lips.shape[:2]
        pictures = np.concatenate([packed.warped[:, None], packed.truth[:, None], packed.references], 1)
        self._pictures = torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).contiguous().to(device)
        self._maps = torch.from_numpy(lip_maps(packed.lips).astype(np.float16)).to(device)
        others = lip_maps(packed.reference_lips.reshape(n * r, 20)).astype(np.float16)
        self._others = torch.from_numpy(others).view(n, r, MAPS, SIDE, SIDE).to(device)
        # Whoever has many pairs is seen more often, but not as much more often.
        weights = (1 / np.sqrt(np.bincount(packed.people)))[packed.people]
        self._weights = weights / weights.sum()

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """`rng` None: as they are."""
        index = torch.from_numpy(np.asarray(rows, np.int64)).to(self._maps.device)
        x = self._pictures[index].float() / 127.5 - 1
        maps, others = self._maps[index].float(), self._others[index].float()
        if rng is not None:
            gain = rng.uniform(0.75, 1.25, (len(rows), 1, 1, 1, 1)) * rng.uniform(0.92, 1.08, (len(rows), 1, 3, 1, 1))
            x = ((x + 1) * torch.from_numpy(gain).to(x) - 1).clamp(-1, 1)
            flip = torch.from_numpy(rng.random(len(rows)) < 0.5).to(x.device)
            x, maps, others = (torch.where(flip.view(-1, *[1] * (t.dim() - 1)), t.flip(-1), t) for t in (x, maps, others))
        return Batch(x[:, 0], x[:, 1], maps, x[:, 2:], others)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        while True:
            yield self.batch(rng.choice(len(self._weights), size, p=self._weights), rng)


def weights_of(maps: Tensor) -> Tensor:
    """(B, 1, SIDE, SIDE): how much a pixel counts."""
    inside, lips = (F.max_pool2d(maps[:, i:i + 1], 5, 1, 2) for i in (0, 1))
    return 1 + LIPS * lips + INSIDE * inside


def loss_of(made: Tensor, batch: Batch) -> Tensor:
    """Pixels and what is between neighbours, where it counts."""
    weight = weights_of(batch.maps)
    away = made - batch.truth
    loss = (weight * away.abs()).mean()
    for dim in (2, 3):
        loss = loss + DETAIL * (weight.narrow(dim, 1, SIDE - 1) * away.diff(dim=dim).abs()).mean()
    return loss


def fit(pack: Path, run: Path, settings: Settings) -> None:
    """Teach for `settings.minutes`; weights, state and a log lie in `run`, where a later call goes on."""
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    rng, device = np.random.default_rng(settings.seed), torch.device(settings.device)
    network, judge = Renderer(PRESETS[settings.preset]).to(device), Judge().to(device)
    mean = Renderer(PRESETS[settings.preset]).to(device).requires_grad_(False)
    first = torch.optim.AdamW(network.parameters(), settings.rate, betas=(0.9, 0.99))
    second = torch.optim.AdamW(judge.parameters(), settings.rate, betas=(0.5, 0.99))
    steps = 0
    if (state := run / "state.pt").exists():
        kept = torch.load(state, weights_only=True, map_location=device)
        for part, name in ((network, "network"), (judge, "judge"), (mean, "mean"), (first, "first"), (second, "second")):
            part.load_state_dict(kept[name])
        steps = kept["steps"]
        rng = np.random.default_rng([settings.seed, steps])
    else:
        mean.load_state_dict(network.state_dict())
    batches, began, told = Reader(unpack(pack, "taught"), device).batches(settings.batch, rng), time.monotonic(), 0.0
    while (share := (time.monotonic() - began) / (60 * settings.minutes)) < 1:
        batch = next(batches)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made = network(batch.warped, batch.maps, batch.references, batch.reference_maps)
        made = made.float()
        loss = loss_of(made, batch)
        total = loss
        if share > JUDGE_AFTER:
            second.zero_grad()
            real, drawn = judge(batch.truth, batch.maps), judge(made.detach(), batch.maps)
            (F.relu(1 - real).mean() + F.relu(1 + drawn).mean()).backward()
            second.step()
            total = loss - JUDGED * judge(made, batch.maps).mean()
        first.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in first.param_groups:
            group["lr"] = settings.rate * min(1.0, (steps + 1) / 200) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        first.step()
        steps += 1
        with torch.no_grad():
            keep = min(AVERAGE, (1 + steps) / (10 + steps))
            for a, b in zip(mean.state_dict().values(), network.state_dict().values()):
                a.lerp_(b, 1 - keep)
        if time.monotonic() - told > 30 or told == 0.0:
            told = time.monotonic()
            line = {"steps": steps, "minutes": round((told - began) / 60, 2), "loss": round(loss.item(), 4)}
            log.info("%s", json.dumps(line))
            with open(run / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            _save(run, network, judge, mean, first, second, steps, settings)
    _save(run, network, judge, mean, first, second, steps, settings)


def _save(run: Path, network: nn.Module, judge: nn.Module, mean: nn.Module, first: torch.optim.Optimizer, second: torch.optim.Optimizer,
          steps: int, settings: Settings) -> None:
    parts = {"network": network, "judge": judge, "mean": mean, "first": first, "second": second}
    torch.save({name: part.state_dict() for name, part in parts.items()} | {"steps": steps}, run / "state.partial")
    (run / "state.partial").replace(run / "state.pt")
    save_file({name: value.contiguous() for name, value in mean.state_dict().items()}, run / "renderer.safetensors",
              {"settings": json.dumps(asdict(settings)), "steps": str(steps)})


def load(file: Path, preset: str = "tiny", device: str = "cpu") -> Renderer:
    """A network of `fit`'s."""
    network = Renderer(PRESETS[preset])
    network.load_state_dict(load_file(file))
    return network.eval().requires_grad_(False).to(device)
