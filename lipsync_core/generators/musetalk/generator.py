"""MuseTalk in the pipeline: sound by the piece, faces in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...types import Drive, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Person, Speech
from ..drive import Driving, activity_of
from ..painted import painted_mask
from .audio import Sound
from .network import MASK_ROW, SIZE, MuseTalkNetwork

SLOPE = 10
"""Pixels over which the mask rises at the edges of what is painted: the crop shows as much below the chin."""
BATCH = 8
"""What the authors use."""


@dataclass(frozen=True)
class Heard:
    """A recording."""

    sound: Sound
    activity: np.ndarray
    """As `Driving` wants it."""


@dataclass(frozen=True)
class MuseTalkState:
    """What `start` found out."""

    sound: Sound
    driving: Driving


class MuseTalkGenerator:
    """See `types.Generator`. `network` stays where it is; a host may move it between calls.

    A frame is its own reference and has its own window of sound, so that frames without a face shift nothing.
    """

    def __init__(self, network: MuseTalkNetwork, batch_size: int = BATCH) -> None:
        self.network = network.eval()
        self.spec = GeneratorSpec("musetalk", crop="nose", crop_size=SIZE, batch_size=batch_size)
        self._mask = painted_mask(SIZE, MASK_ROW, SLOPE)

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> Heard:
        return Heard(Sound(speech.samples), activity_of(speech.samples))

    def start(self, person: Person, heard: Heard, drive: Drive, hooks: Hooks | None = None,
              before: MuseTalkState | None = None) -> MuseTalkState:
        return MuseTalkState(heard.sound, Driving(drive, heard.activity))

    def generate(self, batch: Sequence[GeneratorItem], state: MuseTalkState) -> list[GeneratedFace]:
        times = np.array([item.time for item in batch])
        shown = state.driving.shown(times)
        with torch.inference_mode():
            speech = state.sound.windows(times, state.driving.amount(times), self.network)
            painted = self.network(self._faces(batch), speech)
            pixels = painted.float().mul(255).permute(0, 2, 3, 1).cpu().numpy()
        return [GeneratedFace(np.ascontiguousarray(face), self._mask * np.float32(item.activation * share))
                for face, item, share in zip(pixels, batch, shown)]

    def _faces(self, batch: Sequence[GeneratorItem]) -> Tensor:
        """(B, 3, 256, 256), 0..1, of the network's device and precision."""
        like = next(self.network.unet.parameters())
        crops = torch.from_numpy(np.stack([np.asarray(item.crop.pixels) for item in batch])).to(like.device)
        return crops.permute(0, 3, 1, 2).to(like.dtype) / 255
