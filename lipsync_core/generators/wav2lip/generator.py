"""Wav2Lip in the pipeline: mel once, faces in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...array_pixels import ArrayPixels
from ...audio import mel_blocks, mel_window
from ...faces.align import box_matrix, detector_box
from ...types import Drive, FaceCrop, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Person, Speech
from ..drive import Driving, activity_of
from ..painted import painted_mask
from .crop import upstream_matrix
from .network import Wav2Lip
from .options import Wav2LipOptions

SLOPE = 1 / 24
"""Width of the mask's edges over the side of the crop: 4 of 96 pixels, as much as the crop shows below the chin."""
SILENT_WINDOW = (1, 1, 80, 16), -4.0
"""Shape, and log-mel of digital silence."""


@dataclass(frozen=True)
class Heard:
    """A recording."""

    mel: Tensor
    """float32 (80, T), -4..4, on the CPU."""
    activity: np.ndarray
    """As `Driving` wants it."""


@dataclass(frozen=True)
class Wav2LipState:
    """What `start` found out; nothing in it changes afterwards."""

    mel: Tensor
    """As `Heard.mel`."""
    quiet: Tensor
    """(1, 512, 1, 1): what the network hears in silence."""
    driving: Driving
    reference: Tensor | None
    """uint8 (1, 3, S, S), RGB: what every frame is copied from; None = each from itself."""


class Wav2LipGenerator:
    """See `types.Generator`. `network` stays where it is; a host may move it between calls.

    Strength and silence act on what the network hears: between the embedding of silence (0) and that of the speech (1), and beyond.
    """

    def __init__(self, network: Wav2Lip, options: Wav2LipOptions | None = None) -> None:
        self.network = network.eval()
        self.options = options = options or Wav2LipOptions()
        size = network.size
        self.spec = GeneratorSpec("wav2lip" if size == 96 else f"wav2lip-{size}", upstream_matrix if options.upstream_crop else "detector",
                                  size, references=int(options.reference == "open"), batch_size=options.batch)
        self._mask = painted_mask(size, size // 2, round(SLOPE * size))

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> Heard:
        hooks, columns = hooks or Hooks(), []
        for block in mel_blocks(speech.samples):
            hooks.check_interrupt()
            columns.append(block)
        return Heard(torch.cat(columns, 1), activity_of(speech.samples))

    def start(self, person: Person, heard: Heard, drive: Drive, hooks: Hooks | None = None,
              before: Wav2LipState | None = None) -> Wav2LipState:
        reference = None
        if self.options.reference == "open":
            if person.references:
                reference = self._reference(person.references[0])
            elif hooks is not None and before is None:
                hooks.warn("There is no frame with a mouth that is open and clear enough to copy from: each frame is its own reference.")
        with torch.inference_mode():
            quiet = self.network.hear(torch.full(*SILENT_WINDOW).to(self._like()))
        return Wav2LipState(heard.mel, quiet, Driving(drive, heard.activity), reference)

    def generate(self, batch: Sequence[GeneratorItem], state: Wav2LipState) -> list[GeneratedFace]:
        times, half = np.array([item.time for item in batch]), self.network.size // 2
        with torch.inference_mode():
            painted = self.network.paint(self._heard(times, state), self._faces(batch, state.reference), half)
            lower = painted.flip(1).float().mul(255).permute(0, 2, 3, 1).cpu().numpy()
        shown = state.driving.shown(times) * np.array([item.activation for item in batch], np.float32)
        faces = []
        for item, rows, share in zip(batch, lower, shown):
            # What the network has seen of the frame is better as it is.
            pixels = np.array(item.crop.pixels, np.float32)
            pixels[half:] = rows
            faces.append(GeneratedFace(pixels, self._mask * share))
        return faces

    def _heard(self, times: np.ndarray, state: Wav2LipState) -> Tensor:
        """(B, 512, 1, 1): what is said at `times` (B,), as much of it as is wanted."""
        like = self._like()
        windows = [mel_window(state.mel, time - self.options.offset_ms / 1000) for time in times.tolist()]
        heard = self.network.hear(torch.stack(windows)[:, None].to(like))
        amount = torch.from_numpy(state.driving.amount(times)).to(like)[:, None, None, None]
        # lerp gives both ends exactly. What the network paints from is never below 0, and more of the speech must not be either.
        return torch.lerp(state.quiet.to(like).expand_as(heard), heard, amount).clamp_min(0)

    def _faces(self, batch: Sequence[GeneratorItem], reference: Tensor | None) -> Tensor:
        """(B, 6, S, S), as `Wav2Lip.forward` wants them."""
        like = self._like()
        crops = torch.from_numpy(np.stack([np.asarray(item.crop.pixels) for item in batch])).permute(0, 3, 1, 2)
        frames = crops.to(like.device).flip(1).to(like.dtype) / 255
        whole = frames if reference is None else (reference.to(like.device).flip(1).to(like.dtype) / 255).expand_as(frames)
        hidden = frames.clone()
        hidden[:, :, self.network.size // 2:] = 0
        return torch.cat([hidden, whole], 1).contiguous(memory_format=torch.channels_last)

    def _reference(self, crop: FaceCrop) -> Tensor:
        """uint8 (1, 3, S, S)."""
        size = self.spec.crop_size
        pixels = ArrayPixels(np.asarray(crop.pixels)).warp(box_matrix(detector_box(crop.landmarks), size), (size, size))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    def _like(self) -> Tensor:
        """A tensor of the network's device and precision."""
        return next(self.network.parameters()).detach()[:0]
