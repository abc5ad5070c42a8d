"""The training: one loop for one process, many, and many machines (`accelerate launch`, torch's own launcher below it; DDP or FSDP)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from ...errors import LipSyncError
from ...generators.lipsyncnet import LipSyncNet, build, drawn
from ...generators.lipsyncnet.checkpoint import load as load_network
from ...generators.lipsyncnet.checkpoint import save as save_network
from . import state
from .discriminator import Judge, fooled_loss, judge_loss
from .losses import STEADY_PART, STEADY_SHIFT, again, contrast_loss, energy_loss, loss_of, spread, steady_loss, weights_of
from .pack import unpack
from .perception import Perception, alike_loss
from .reader import Batch, Reader, joined
from .settings import Settings

log = logging.getLogger(__name__)
PIXELS, ENERGY, ALIKE, STEADY, CONTRAST = 2.0, 10.0, 0.3, 10.0, 0.4
"""Weights of pixels, of the amount of fine detail, of how alike pictures look, of how steady what is drawn is, and of the contrast of open
mouths; what the discriminator says has `Settings.judged`."""
KEEP = 2
"""Checkpoints of a run."""
FACES = 24
"""Held-out pairs that a run is watched with."""
FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Drawing(nn.Module):
    """A network that makes pictures of whole batches."""

    def __init__(self, network: LipSyncNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, warped: Tensor, maps: Tensor, references: Tensor, reference_maps: Tensor) -> Tensor:
        return drawn(self.network, warped, maps, references, reference_maps)


class Trainer:
    """One run in a folder. `fit` goes on from the newest checkpoint there is."""

    def __init__(self, settings: Settings, pack: Path, run: Path, *, cpu: bool = False) -> None:
        """Raises `LipSyncError` where `pack` holds no pairs, or a batch can't be shared by the processes."""
        self.settings, self.run = settings, run
        precision = {"auto": "no" if cpu or not torch.cuda.is_available() else "bf16", "fp32": "no"}.get(settings.precision,
                                                                                                         settings.precision)
        # The discriminator is called several times a step: DDP must not wait for gradients that a call does not make.
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=precision,
                                       kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)])
        processes = self.accelerator.num_processes
        if settings.batch % processes:
            raise LipSyncError(f"A batch of {settings.batch} can't be shared by {processes} processes: use a multiple.")
        self.share = settings.batch // processes
        config, device = settings.config(), self.accelerator.device
        self.taught = Reader(unpack(pack, "taught"), device, config.size, config.references)
        self.watched = Reader(unpack(pack, "held_out"), device, config.size, config.references)
        torch.manual_seed(settings.seed)
        network = build(config)
        if settings.start:
            network.load_state_dict(_like(load_network(Path(settings.start)), network))
        model, judge = Drawing(network), Judge()
        self.perception = Perception().to(device)
        by_model = torch.optim.AdamW(model.parameters(), settings.rate, betas=(0.9, 0.99))
        by_judge = torch.optim.AdamW(judge.parameters(), settings.rate, betas=(0.5, 0.99))
        self.model, self.judge, self.by_model, self.by_judge = self.accelerator.prepare(model, judge, by_model, by_judge)
        self.average = {name: value.detach().clone() for name, value in self._own_parameters()}
        self.step, self.best, self.stale = 0, math.inf, 0
        log.info("%s: %.1f million parameters, %d pairs to teach, %d of people held out", settings.preset,
                 sum(p.numel() for p in model.parameters()) / 1e6, len(self.taught), len(self.watched))

    def _own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return self.accelerator.unwrap_model(self.model).named_parameters()

    def fit(self) -> None:
        """Teach for `settings.minutes`, up to `settings.steps`, or until held-out people gain no more; checkpoints, the averaged weights
        (`lipsyncnet.safetensors`, and `best.safetensors` by the held-out measure), a log and pictures lie in the folder."""
        settings = self.settings
        if (newest := state.latest(self.run)) is not None:
            self.restore(newest)
        began, told, lines = time.monotonic(), time.monotonic(), 0
        while True:
            spent = self._agreed((time.monotonic() - began) / (60 * settings.minutes))
            share = self.step / settings.steps if settings.steps else spent
            if spent >= 1 or share >= 1 or (settings.patience and self.stale >= settings.patience):
                break
            first, rng = self.accelerator.process_index * self.share, np.random.default_rng([settings.seed, self.step])
            batch = self.taught.drawn_lot(settings.batch, rng, slice(first, first + self.share))
            losses = self._one(batch, share)
            if self._agreed(float(time.monotonic() - told > settings.tell_every)):
                told = time.monotonic()
                line = {"step": self.step, "minutes": round((told - began) / 60, 2), **losses}
                lines += 1
                self._tell(line | (self.watch() if lines % settings.watch_every == 0 else {}))
                self.save()
        self._tell({"step": self.step, "minutes": round((time.monotonic() - began) / 60, 2), **self.watch()})
        self.save()

    def _agreed(self, value: float) -> float:
        """The main process's clock, for all."""
        if self.accelerator.num_processes == 1:
            return value
        return float(self.accelerator.reduce(torch.tensor(value if self.accelerator.is_main_process else 0.0,
                                                          device=self.accelerator.device), "sum"))

    def rate(self, share: float) -> float:
        """Learning rate of the step at hand, `share` 0..1 of the training behind."""
        up = min(1.0, (self.step + 1) / max(self.settings.warmup, 1))
        return self.settings.rate * up * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))

    def _one(self, batch: Batch, share: float) -> dict[str, float]:
        accelerator = self.accelerator
        for optimiser, times in ((self.by_model, 1.0), (self.by_judge, self.settings.judge_rate)):
            for group in optimiser.param_groups:
                group["lr"] = times * self.rate(share)
        rng = np.random.default_rng([self.settings.seed, self.step, 1])
        count = max(1, len(batch.warped) // STEADY_PART)
        shift = (float(rng.uniform(-STEADY_SHIFT, STEADY_SHIFT)), float(rng.uniform(-STEADY_SHIFT, STEADY_SHIFT)))
        noise = torch.from_numpy(rng.standard_normal((count, *batch.warped.shape[1:]), np.float32)).to(batch.warped)
        whole = joined(batch, again(batch, count, shift, noise))
        with accelerator.autocast():
            made = self.model(whole.warped, whole.maps, whole.references, whole.reference_maps)
        made, made_again = made.float().split([len(batch.warped), count])
        with accelerator.autocast():
            seen = self.perception(made)
            with torch.no_grad():
                wanted = self.perception(batch.truth)
        weight = weights_of(batch.maps)
        found = {"pixels": loss_of(made, batch), "energy": energy_loss(made, batch), "alike": alike_loss(seen, wanted, weight),
                 "steady": steady_loss(made, made_again, shift, batch.maps), "contrast": contrast_loss(made, batch)}
        total = (PIXELS * found["pixels"] + ENERGY * found["energy"] + ALIKE * found["alike"] + STEADY * found["steady"]
                 + CONTRAST * found["contrast"])
        if share >= self.settings.judge_after:
            self.judge.requires_grad_(True)
            self.by_judge.zero_grad()
            with accelerator.autocast():
                told = self.judge([part.detach() for part in seen], batch.maps)
                found["judge"] = judge_loss(self.judge(wanted, batch.maps), told, weight)
            accelerator.backward(found["judge"])
            self.by_judge.step()
            self.judge.requires_grad_(False)
            with accelerator.autocast():
                found["fooled"] = fooled_loss(self.judge(seen, batch.maps), weight)
            total = total + self.settings.judged * found["fooled"]
        self.by_model.zero_grad()
        accelerator.backward(total)
        accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.by_model.step()
        self.step += 1
        keep = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self._own_parameters():
                self.average[name].lerp_(value.detach(), 1 - keep)
        names = sorted(found)
        values = accelerator.reduce(torch.stack([found[name].detach() for name in names]), "mean")
        return {name: round(value, 5) for name, value in zip(names, values.tolist())}

    # -- looking -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights."""
        now = {name: value.detach().clone() for name, value in self._own_parameters()}
        with torch.no_grad():
            for name, value in self._own_parameters():
                value.copy_(self.average[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._own_parameters():
                    value.copy_(now[name])

    def watch(self) -> dict[str, float]:
        """Held-out error inside open mouths and of lips, and how unlike the truth they look, over the warp's, and their contrast over the
        truth's; the same faces as a picture: warp, network, truth."""
        batch = self.watched.batch(self.watched.opened(FACES))
        parts = (batch.warped, batch.maps, batch.references, batch.reference_maps)
        self.model.eval()
        with self.averaged(), torch.no_grad():
            made = torch.cat([self.model(*(part[k:k + 8] for part in parts)).float() for k in range(0, len(batch.warped), 8)])
        self.model.train()
        found = {}
        for name, plane in (("held_inside", 0), ("held_lips", 1)):
            where = batch.maps[:, plane:plane + 1] > 0.5
            errors = [((picture - batch.truth).abs().mean(1, keepdim=True) * where).sum() for picture in (made, batch.warped)]
            found[name] = round(float(errors[0] / errors[1].clamp_min(1e-6)), 4)
        weight = weights_of(batch.maps)
        with torch.no_grad():
            wanted = self.perception(batch.truth)
            looks = [float(alike_loss(self.perception(picture), wanted, weight)) for picture in (made, batch.warped)]
        found["held_looks"] = round(looks[0] / max(looks[1], 1e-6), 4)
        score = self._agreed(sum(found.values()))                     # all processes must come to the same verdict
        found["held_contrast"] = round(float((spread(made, batch.maps[:, :1]) / spread(batch.truth, batch.maps[:, :1])).median()), 4)
        better, self.best = score < self.best, min(score, self.best)
        self.stale = 0 if better else self.stale + 1
        if better:
            self._weights("best.safetensors")
        if self.accelerator.is_main_process:
            tiles = torch.cat([batch.warped, made.clamp(-1, 1), batch.truth], 3)
            tiles = ((tiles + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            rows = [np.concatenate(list(tiles[k:k + 3]), 1) for k in range(0, len(tiles) - 2, 3)] or [np.concatenate(list(tiles), 1)]
            self.run.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self.run / f"seen-{self.step:08d}.jpg"), np.concatenate(rows)[:, :, ::-1])
        return found

    def _tell(self, line: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            log.info("%s", json.dumps(line))
            self.run.mkdir(parents=True, exist_ok=True)
            with open(self.run / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    # -- checkpoints -------------------------------------------------------------------------------------------------------

    def _weights(self, name: str) -> None:
        with self.averaged():
            weights = _copies(get_model_state_dict(self.model, options=FULL))
        if self.accelerator.is_main_process:
            self.run.mkdir(parents=True, exist_ok=True)
            network = build(self.settings.config())
            network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
            save_network(network, self.run / name, {"steps": str(self.step), "settings": json.dumps(dataclasses.asdict(self.settings))})

    def save(self) -> Path:
        """Leave a checkpoint and the averaged weights; all processes must come here."""
        folder = self.run / f"step-{self.step:08d}"
        tree: dict[str, Any] = {"step": self.step, "best": self.best, "stale": self.stale, "settings": dataclasses.asdict(self.settings)}
        for name, part, optimiser in (("model", self.model, self.by_model), ("judge", self.judge, self.by_judge)):
            tree[name] = _copies(get_model_state_dict(part, options=FULL))
            tree[f"by_{name}"] = _copies(get_optimizer_state_dict(part, optimiser.optimizer, options=FULL))
        with self.averaged():
            tree["average"] = _copies(get_model_state_dict(self.model, options=FULL))
        if self.accelerator.is_main_process:
            self.run.mkdir(parents=True, exist_ok=True)
            state.save(folder, tree, piece_mb=self.settings.piece_mb)
            state.prune(self.run, KEEP)
        self._weights("lipsyncnet.safetensors")
        self.accelerator.wait_for_everyone()
        return folder

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises `CheckpointError`."""
        tree = state.load(folder)
        set_model_state_dict(self.model, tree["average"], options=FULL)
        self.average = {name: value.detach().clone() for name, value in self._own_parameters()}
        for name, part, optimiser in (("model", self.model, self.by_model), ("judge", self.judge, self.by_judge)):
            part.requires_grad_(True)
            set_model_state_dict(part, tree[name], options=FULL)
            if tree[f"by_{name}"].get("state"):
                set_optimizer_state_dict(part, optimiser.optimizer, tree[f"by_{name}"], options=FULL)
        self.step, self.best, self.stale = int(tree["step"]), float(tree["best"]), int(tree["stale"])
        log.info("goes on from %s", folder)


def _like(found: LipSyncNet, wanted: LipSyncNet) -> dict[str, Tensor]:
    """Tensors of one network for another of the same sizes. Raises `LipSyncError`."""
    if dataclasses.replace(found.config, soft=wanted.config.soft) != wanted.config:
        raise LipSyncError(f"The weights to start with are of another network ({found.config}): choose its preset and size.")
    return found.state_dict()


def _copies(tree: Any) -> Any:
    """On a CPU a state is made of the parameters themselves, which go on changing."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu().clone()
    return {key: _copies(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
