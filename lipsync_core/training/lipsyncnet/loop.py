"""The training of the generator: one loop for one process, many, and many machines (Hugging Face accelerate)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from ...errors import LipSyncError
from ...generators.lipsyncnet import build, preset
from ..precision import has_bf16
from . import state
from .discriminators import Discriminators, hinge_real_fake, mouth_of, r1_penalty
from .losses import Perceptual
from .model import Criterion, WindowNet, adversarial_part, made_by, save_memory
from .settings import Settings
from .sync_expert import FRAMES, SyncExpert, sync_loss
from .windows import Batch, SegmentStore, WindowOptions, Windows, enough

log = logging.getLogger(__name__)
FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Trainer:
    """One run in a folder. `fit` goes on from the newest checkpoint there is."""

    def __init__(self, settings: Settings, shards: Path, run: Path, *, expert: SyncExpert | None = None, perceptual: Path | None = None,
                 cpu: bool = False) -> None:
        self.settings, self.run = settings, run
        # The discriminators are called several times a step: DDP must not wait for gradients that a call does not make.
        precision = "no" if cpu and settings.precision == "bf16" and not has_bf16("cpu") else settings.precision
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=precision,
                                       kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)])
        processes = self.accelerator.num_processes
        if settings.batch % processes:
            raise LipSyncError(f"A batch of {settings.batch} can't be shared by {processes} processes: use a multiple.")
        self.share = settings.batch // processes
        config = preset(settings.preset, size=settings.size, references=settings.references)
        options = WindowOptions(settings.size, settings.references, settings.others, settings.augment)
        cache = int(settings.cache_gb * 1e9)
        self.windows = Windows(SegmentStore(shards, "train", cache, enough(settings.size)), options, settings.seed)
        self.test = self._test_windows(shards, dataclasses.replace(options, augment=False))
        torch.manual_seed(settings.seed)
        net = build(config)
        if settings.checkpointing:
            save_memory(net)
        model: torch.nn.Module = WindowNet(net)
        if settings.compile:
            model = torch.compile(model)
        critics = Discriminators(FRAMES, settings.discriminator_width)
        device = self.accelerator.device
        self.criterion = Criterion(settings.weights, Perceptual(perceptual).to(device), expert.to(device) if expert else None,
                                   model.hidden.to(device))
        optimisers = [torch.optim.AdamW(part.parameters(), lr=settings.rate, betas=(0.9, 0.99), weight_decay=1e-4)
                      for part in (model, critics)]
        self.model, self.critics, self.by_model, self.by_critics = self.accelerator.prepare(model, critics, *optimisers)
        self.average = {name: value.detach().clone() for name, value in self._own_parameters()}
        self.step = 0
        self._reader = ThreadPoolExecutor(1)
        self._writer: Any = None
        log.info("%s: %.1f million parameters, %d segments, perceptual loss: %s, sync expert: %s", settings.preset,
                 sum(p.numel() for p in net.parameters()) / 1e6, len(self.windows.store), self.criterion.perceptual.source,
                 "given" if expert else "none")

    def _test_windows(self, shards: Path, options: WindowOptions) -> Windows | None:
        found = list(shards.glob("test-*.tar"))
        return Windows(SegmentStore(shards, "test", 1 << 29), options, 12345) if found else None

    def _own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return self.accelerator.unwrap_model(self.model).named_parameters()

    # -- steps -------------------------------------------------------------------------------------------------------------

    def fit(self, *, minutes: float | None = None, steps: int | None = None) -> list[dict[str, float]]:
        """Train to `settings.steps`, or for so many minutes or steps more; a checkpoint is left. Returns the losses of every step."""
        settings, history = self.settings, []
        newest = state.latest(self.run)
        if newest is not None:
            self.restore(newest)
        last = min(settings.steps, self.step + steps) if steps is not None else settings.steps
        began, spoken = time.monotonic(), time.monotonic()
        ahead = self._reader.submit(self._batches, self.step)
        saved = told = self.step
        while self.step < last and (minutes is None or time.monotonic() - began < 60 * minutes):
            batches = ahead.result()
            ahead = self._reader.submit(self._batches, self.step + 1)
            losses = self._one(batches)
            self.step += 1
            history.append(losses)
            if self.step % settings.log_every == 0 or self.step == last:
                now = time.monotonic()
                self._tell(losses, (self.step - told) * settings.batch * settings.accumulate * FRAMES / (now - spoken))
                spoken, told = now, self.step
            if self.step % settings.image_every == 0:
                self._picture(batches[0])
            if self.step % settings.evaluate_every == 0:
                self.evaluate()
            if self.step % settings.checkpoint_every == 0:
                self.save()
                saved = self.step
        ahead.result()
        if self.step > saved:
            self.save()
        return history

    def _batches(self, step: int) -> list[Batch]:
        """What this process sees in a step: its share of the whole batch, `accumulate` times."""
        first = self.accelerator.process_index * self.share
        return [self.windows.batch(step * self.settings.accumulate + i, range(first, first + self.share))
                for i in range(self.settings.accumulate)]

    def rate(self) -> float:
        """Learning rate of the step at hand."""
        settings = self.settings
        up = min(1.0, (self.step + 1) / max(settings.warmup, 1))
        done = min(1.0, self.step / max(settings.steps, 1))
        return settings.rate * up * (0.55 + 0.45 * math.cos(math.pi * done))

    def _one(self, batches: list[Batch]) -> dict[str, float]:
        settings, accelerator = self.settings, self.accelerator
        fighting = self.step >= settings.adversarial_from
        self.critics.requires_grad_(False)                            # they stand still while the generator is taught
        for optimiser in (self.by_model, self.by_critics):
            for group in optimiser.param_groups:
                group["lr"] = self.rate()
        sums: dict[str, Tensor] = {}
        made_of: list[tuple[Tensor, Tensor]] = []
        self.model.train()
        for i, batch in enumerate(batches):
            batch = batch.to(accelerator.device)
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                with accelerator.autocast():
                    made = made_by(self.model, batch)
                made = type(made)(*(value.float() for value in vars(made).values()))
                total, parts = self.criterion(made, batch, sync=self.step >= settings.sync_from)
                if fighting:
                    composed = made.pixels * self.criterion.hidden + batch.faces * (1 - self.criterion.hidden)
                    against, more = adversarial_part(accelerator.unwrap_model(self.critics), composed, batch.faces, settings.weights)
                    total, parts = total + against, parts | more
                    made_of.append((composed.detach(), batch.faces))
                accelerator.backward(total / len(batches))
            for name, value in (parts | {"total": total}).items():
                sums[name] = sums.get(name, torch.zeros_like(value.detach())) + value.detach() / len(batches)
        sums["gradient_norm"] = accelerator.clip_grad_norm_(self.model.parameters(), settings.clip).detach()
        self.by_model.step()
        self.by_model.zero_grad(set_to_none=True)
        if fighting:
            sums |= self._critics(made_of)
        with torch.no_grad():
            for name, value in self._own_parameters():
                self.average[name].lerp_(value.detach(), 1 - settings.ema)
        names = sorted(sums)
        values = accelerator.reduce(torch.stack([sums[name].float() for name in names]), "mean")
        return dict(zip(names, values.tolist()))

    def _critics(self, made_of: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        settings, accelerator = self.settings, self.accelerator
        self.critics.requires_grad_(True)
        losses = []
        for made, true in made_of:
            loss = hinge_real_fake(self.critics(true), self.critics(made))
            if settings.weights.r1 and self.step % settings.r1_every == 0:
                loss = loss + settings.weights.r1 * r1_penalty(accelerator.unwrap_model(self.critics), true)
            accelerator.backward(loss / len(made_of))
            losses.append(loss.detach())
        accelerator.clip_grad_norm_(self.critics.parameters(), settings.clip)
        self.by_critics.step()
        self.by_critics.zero_grad(set_to_none=True)
        return {"critics": torch.stack(losses).mean()}

    # -- looking -----------------------------------------------------------------------------------------------------------

    def _tell(self, losses: dict[str, float], faces: float) -> None:
        if not self.accelerator.is_main_process:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, **losses}) + "\n")
        log.info("step %d: %s, %.1f faces a second", self.step, ", ".join(f"{k} {v:.4f}" for k, v in losses.items()), faces)
        for name, value in losses.items():
            self.writer.add_scalar(f"train/{name}", value, self.step)
        self.writer.add_scalar("train/rate", self.rate(), self.step)
        self.writer.add_scalar("train/faces_a_second", faces, self.step)

    @property
    def writer(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.run / "tensorboard"))
        return self._writer

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

    def _picture(self, batch: Batch) -> None:
        if not self.accelerator.is_main_process:
            return
        self.writer.add_image("windows", self.sheet(batch), self.step)

    def sheet(self, batch: Batch, most: int = 4) -> Tensor:
        """(3, H, W): for each window the first reference, what was true, what was made, and what was only copied."""
        batch = batch.to(self.accelerator.device)
        self.model.eval()
        with torch.no_grad():
            made = made_by(self.accelerator.unwrap_model(self.model), batch)
        hidden = self.criterion.hidden
        composed = made.pixels.float() * hidden + batch.faces * (1 - hidden)
        rows = [torch.cat([batch.references[i, 0], batch.faces[i, 2], composed[i, 2], made.copied[i, 2].float()], 2)
                for i in range(min(most, len(composed)))]
        return torch.cat(rows, 1).clamp(0, 1).cpu()

    def evaluate(self) -> dict[str, float]:
        """L1 and PSNR of the mouth and what the sync expert says, with averaged weights, on windows of people held out."""
        if self.test is None:
            return {}
        settings, device = self.settings, self.accelerator.device
        sums: dict[str, float] = {}
        size = min(self.share, settings.evaluate_windows)
        batches = [self.test.batch(i, range(size)) for i in range(max(1, settings.evaluate_windows // size))]
        self.model.eval()
        with self.averaged(), torch.no_grad():
            model = self.accelerator.unwrap_model(self.model)
            for batch in batches:
                batch = batch.to(device)
                made = made_by(model, batch)
                hidden = self.criterion.hidden
                composed = made.pixels.float() * hidden + batch.faces * (1 - hidden)
                error = mouth_of(composed - batch.faces)
                found = {"mouth_l1": float(error.abs().mean()),
                         "mouth_psnr": float((-10 * torch.log10(error.square().mean((2, 3, 4)).clamp_min(1e-8))).mean())}
                if self.criterion.expert is not None:
                    found["sync"] = float(sync_loss(self.criterion.expert, composed, batch.window, batch.others))
                    found["sync_of_true"] = float(sync_loss(self.criterion.expert, batch.faces, batch.window, batch.others))
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
        if self.accelerator.is_main_process:
            log.info("held out, step %d: %s", self.step, ", ".join(f"{k} {v:.4f}" for k, v in sums.items()))
            for name, value in sums.items():
                self.writer.add_scalar(f"test/{name}", value, self.step)
            self.run.mkdir(parents=True, exist_ok=True)
            with (self.run / "evaluation.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **sums}) + "\n")
        return sums

    # -- checkpoints -------------------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Leave a checkpoint; all processes must come here."""
        folder = self.run / f"step-{self.step:08d}"
        tree: dict[str, Any] = {"step": self.step, "settings": dataclasses.asdict(self.settings)}
        for name, part, optimiser in (("model", self.model, self.by_model), ("critics", self.critics, self.by_critics)):
            tree[name] = _copies(get_model_state_dict(part, options=FULL))
            tree[f"by_{name}"] = _copies(get_optimizer_state_dict(part, optimiser.optimizer, options=FULL))
        with self.averaged():
            tree["average"] = _copies(get_model_state_dict(self.model, options=FULL))
        if self.accelerator.is_main_process:
            self.run.mkdir(parents=True, exist_ok=True)
            state.save(folder, tree, piece_mb=self.settings.piece_mb)
            state.prune(self.run, self.settings.keep)
        self.accelerator.wait_for_everyone()
        return folder

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        tree = state.load(folder)
        set_model_state_dict(self.model, tree["average"], options=FULL)
        self.average = {name: value.detach().clone() for name, value in self._own_parameters()}
        for name, part, optimiser in (("model", self.model, self.by_model), ("critics", self.critics, self.by_critics)):
            set_model_state_dict(part, tree[name], options=FULL)
            if tree[f"by_{name}"].get("state"):
                set_optimizer_state_dict(part, optimiser.optimizer, tree[f"by_{name}"], options=FULL)
        self.step = int(tree["step"])
        log.info("goes on from %s", folder)


def _copies(tree: Any) -> Any:
    """On a CPU a state is made of the parameters themselves, which go on changing."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu().clone()
    return {key: _copies(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
