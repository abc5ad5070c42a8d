"""LipSyncNet in the pipeline: sound once, references once, faces in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...audio import mel_blocks
from ...errors import FaceError
from ...faces.align import steady_matrix
from ...pixels import ArrayPixels
from ...types import Drive, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Person, Speech
from ..drive import Driving
from .audio import DELAY, MEL_BANDS, REACH, STEP_RATE, STRIDE
from .config import LipSyncNetConfig
from .network import LipSyncNet
from .region import hidden_region


@dataclass(frozen=True)
class LipSyncNetState:
    """What `start` found out; nothing in it changes afterwards."""

    embeddings: Tensor
    """float16 (steps, E): what is said, every 25 ms, already late by what the network looks ahead."""
    quiet: Tensor
    """(E,): the embedding of silence."""
    references: Tensor
    """(1, R, 3, S, S)."""
    features: list[Tensor]
    driving: Driving


class LipSyncNetGenerator:
    """See `types.Generator`. `network` stays where it is; a host may move it between calls."""

    def __init__(self, network: LipSyncNet) -> None:
        self.network = network.eval()
        config: LipSyncNetConfig = network.config
        self.spec = GeneratorSpec("lipsyncnet", crop="steady", crop_size=config.size, references=config.references, batch_size=16)
        self._region = hidden_region(config.size)

    def start(self, person: Person, speech: Speech, drive: Drive, hooks: Hooks | None = None) -> LipSyncNetState:
        with torch.inference_mode():
            like = self._like()
            embeddings = self.embed(speech.samples, hooks or Hooks())
            quiet, _ = self.network.audio(like.new_full((1, MEL_BANDS, 80), -4.0), self.network.audio.start(1, like))
            references = self._references(person).to(like)
            features = self.network.encode_references(references)
        return LipSyncNetState(embeddings, quiet[0, -1], references, features, Driving.of(speech.samples, drive))

    def generate(self, batch: Sequence[GeneratorItem], state: LipSyncNetState) -> list[GeneratedFace]:
        like = self._like()
        times = np.array([item.time for item in batch])
        with torch.inference_mode():
            embedding = self._at(state, times)
            amount = torch.from_numpy(state.driving.amount(times)).to(like)
            embedding = state.quiet + amount[:, None] * (embedding - state.quiet)
            faces = torch.from_numpy(np.stack([np.asarray(item.crop.pixels) for item in batch])).to(like.device)
            faces = (faces.permute(0, 3, 1, 2).to(like.dtype) / 255).contiguous(memory_format=torch.channels_last)
            size = len(batch)
            out = self.network(faces, self._region.to(like), embedding, state.references.expand(size, -1, -1, -1, -1),
                               [f.expand(size, -1, -1, -1, -1) for f in state.features])
            pixels = out.pixels.float().mul(255).permute(0, 2, 3, 1).cpu().numpy()
            masks = out.mask.float()[:, 0].cpu().numpy()
        shown = state.driving.shown(times) * [item.activation for item in batch]
        return [GeneratedFace(np.ascontiguousarray(p), m * np.float32(s)) for p, m, s in zip(pixels, masks, shown)]

    def embed(self, samples: np.ndarray, hooks: Hooks) -> Tensor:
        """Speech (n,) -> float16 (steps, E): row j belongs to j / 40 seconds; the last one to the end of the speech or later."""
        like = self._like()
        state = self.network.audio.start(1, like)
        # Step j of the recurrent layers is at mel column 2 j - REACH; a frame's is read DELAY later.
        skip, rows = DELAY + -(-REACH // STRIDE), []
        for columns in _mel_blocks(samples, tail=STRIDE * (skip + 2)):
            hooks.check_interrupt()
            steps, state = self.network.audio(columns[None].to(like), state)
            rows.append(steps[0].half())
        return torch.cat(rows)[skip:]

    def _at(self, state: LipSyncNetState, times: np.ndarray) -> Tensor:
        """Embeddings (B, E) at times (B,), read between steps; the ends hold. Half a step is lost to the whole-numbered `skip`."""
        position = np.clip(times * STEP_RATE - (-(-REACH // STRIDE) - REACH / STRIDE), 0, len(state.embeddings) - 1.001)
        low = torch.from_numpy(position.astype(np.int64))
        share = torch.from_numpy((position - position.astype(np.int64)).astype(np.float32)).to(state.embeddings.device)[:, None]
        low = low.to(state.embeddings.device)
        found = state.embeddings[low].float() * (1 - share) + state.embeddings[low + 1].float() * share
        return found.to(self._like().dtype)

    def _references(self, person: Person) -> Tensor:
        """float32 (1, R, 3, S, S), 0..1; fewer than R are repeated. Raises `FaceError` where there is none."""
        if not person.references:
            raise FaceError("There is no frame in which the person can be seen well enough to copy teeth and skin from: use morph.")
        size, wanted = self.spec.crop_size, self.spec.references
        crops = [ArrayPixels(crop.pixels).warp(steady_matrix(crop.landmarks, size), (size, size)) for crop in person.references]
        crops = [crops[i % len(crops)] for i in range(wanted)]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)[None].float() / 255

    def _like(self) -> Tensor:
        """A tensor of the network's device and precision."""
        return next(self.network.parameters()).detach()[:0]


def _mel_blocks(samples: np.ndarray, tail: int) -> Iterator[Tensor]:
    """Log-mel columns (80, k), k even, of speech with `tail` columns of silence after it, block by block."""
    for columns in mel_blocks(samples):
        yield _even(columns)
    yield torch.full((MEL_BANDS, tail + tail % 2), -4.0)


def _even(columns: Tensor) -> Tensor:
    """Only the last block can be odd: it gets one more column of silence."""
    return columns if columns.shape[1] % 2 == 0 else torch.nn.functional.pad(columns, (0, 1), value=-4.0)
