"""A generator whose faces a face restorer sharpens before they are blended back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from ..array_pixels import warp_array
from ..compositing import difference, region_of
from ..errors import LipSyncError
from ..faces.align import crop_matrix, invert, transform
from ..types import Drive, FaceCrop, FaceTrack, GeneratedFace, Generator, GeneratorItem, Hooks, Person, Speech
from .painted import painted_mask

SIZE = 512
"""Side of the pictures that GFPGAN, CodeFormer and RestoreFormer take and give, pixels."""
RIM = 24
"""Pixels over which the mask falls to 0 at the head's rim: the generator's crop, and the region that may change, can reach beyond it."""
BATCH = 4
"""Faces that a restorer is given at a time: at 512 pixels a network gains nothing from more, and needs much memory."""


class Restorer(Protocol):
    """Makes faces sharper; `restorers.load_restorer` gives one of a file."""

    name: str

    def __call__(self, faces: Tensor) -> Tensor:
        """RGB float32 (B, 3, 512, 512), 0..1, on the CPU, aligned as FFHQ is (`faces.align.ffhq_matrix`) -> the same, restored."""


@dataclass(frozen=True)
class RestoredState:
    """The generator's own state, and the track that its crops are cut by."""

    inner: Any
    track: FaceTrack


class RestoredGenerator:
    """See `types.Generator`. `strength` 0..1 is how much of what the restorer changes is taken.

    It asks for the whole head in 512 pixels and cuts the generator's own crop out of that; the answer is put into the head as blending
    will do it, so that the restorer sees a whole face in its surroundings, and its picture is kept in 512 pixels: detail that a crop of 96
    or 256 has no room for. What is added is the difference between the restorer's picture and what it was shown, so that a restorer
    that changes nothing changes nothing. At strength 0, and around generators of native pixels, it does nothing at all.

    Raises `LipSyncError` for a strength out of range.
    """

    def __init__(self, generator: Generator, restorer: Restorer, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise LipSyncError(f"A restorer's strength of {strength:g} is out of range: use 0 (off) to 1 (all of it).")
        self._generator, self._restorer, self._strength = generator, restorer, float(strength)
        self._native = generator.spec.crop == "native"
        self.off = self._native or strength == 0
        if hasattr(generator, "listener"):
            self.listener = generator.listener
        """Whether the generator works as if there were no restorer."""
        self.spec = generator.spec if self.off else replace(generator.spec, name=f"{generator.spec.name}+{restorer.name}", crop="ffhq",
                                                             crop_size=SIZE)

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> Any:
        return self._generator.hear(speech, hooks)

    def start(self, person: Person, heard: Any, drive: Drive, hooks: Hooks | None = None,
              before: RestoredState | None = None) -> RestoredState:
        if self._native and self._strength and hooks is not None and before is None:
            hooks.warn(f"{self._generator.spec.name} moves the video's own pixels, which are as sharp as the video: {self._restorer.name} "
                       f"is left out.")
        inner = self._generator.start(person, heard, drive, hooks, None if before is None else before.inner)
        return RestoredState(inner, person.track)

    def generate(self, batch: Sequence[GeneratorItem], state: RestoredState) -> list[GeneratedFace]:
        if self.off:
            return self._generator.generate(batch, state.inner)
        given = [self._item(item, state.track) for item in batch]
        answers = self._generator.generate(given, state.inner)
        faces = [_in_head(answer, inner.crop.matrix, item.crop.matrix) for answer, inner, item in zip(answers, given, batch)]
        shown = [_composite(item, face) for item, face in zip(batch, faces)]
        wanted = [i for i, picture in enumerate(shown) if picture is not None]
        for first in range(0, len(wanted), BATCH):
            part = wanted[first:first + BATCH]
            pictures = np.stack([shown[i] for i in part])
            for i, change in zip(part, self._restore(pictures) - pictures):
                faces[i] = GeneratedFace(np.clip(faces[i].pixels + self._strength * change, 0, 255), faces[i].mask)
        return faces

    def _item(self, item: GeneratorItem, track: FaceTrack) -> GeneratorItem:
        """The generator's own crop, cut out of the head."""
        spec = self._generator.spec
        matrix = crop_matrix(spec.crop, track, item.row, spec.crop_size)
        from_head = _after(matrix, invert(item.crop.matrix))
        pixels = warp_array(np.asarray(item.crop.pixels), from_head, (spec.crop_size, spec.crop_size))
        crop = FaceCrop(pixels, matrix, transform(from_head, item.crop.landmarks).astype(np.float32), item.crop.frame)
        return replace(item, crop=crop, region=region_of(crop))

    def _restore(self, pictures: np.ndarray) -> np.ndarray:
        """RGB float32 (B, 512, 512, 3), 0..255."""
        given = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
        return self._restorer(given).clamp(0, 1).mul(255).permute(0, 2, 3, 1).numpy()


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine (2, 3) that does `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]])


def _in_head(face: GeneratedFace, own: np.ndarray, head: np.ndarray) -> GeneratedFace:
    """A face of the crop `own` in the pixels of the crop `head` (affines, picture -> crop)."""
    matrix = _after(head, invert(own))
    pixels = np.ascontiguousarray(face.pixels, np.float32)
    if abs(np.linalg.det(matrix[:, :2])) > 1:
        pixels = cv2.warpAffine(pixels, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    else:
        pixels = warp_array(pixels, matrix, (SIZE, SIZE))
    mask = cv2.warpAffine(np.ascontiguousarray(face.mask, np.float32), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_CONSTANT)
    return GeneratedFace(np.clip(pixels, 0, 255), mask * painted_mask(SIZE, 0, RIM))


def _composite(item: GeneratorItem, face: GeneratedFace) -> np.ndarray | None:
    """The head as it will be, RGB float32 (512, 512, 3), 0..255; None where nothing changes."""
    change = difference(item.crop, face, item.region)
    return None if change is None else np.clip(np.asarray(item.crop.pixels, np.float32) + change, 0, 255)
