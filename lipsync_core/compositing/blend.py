"""What a generated face changes in its frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..array_pixels import each_channel
from ..errors import LipSyncError
from ..types import FaceCrop, GeneratedFace
from .masks import FEATHER, lower_face_mask
from .paste import match_colour


@dataclass(frozen=True)
class Blending:
    """How a generated face is put back."""

    feather: float = FEATHER
    """Width of the mask's slope over the distance of the outer eye corners, 0.02 (hard) to 0.6 (soft)."""
    grow: float = 0.0
    """How far the mask reaches beyond the lower face, in the same unit, -0.1 to 0.3; never beyond the crop."""
    colour_match: bool = True
    """Tint the new face so that it continues the skin around it."""

    def check(self) -> None:
        """Raise `LipSyncError` for a value out of range."""
        if not 0.02 <= self.feather <= 0.6:
            raise LipSyncError(f"A feather of {self.feather:g} is out of range: use 0.02 (hard) to 0.6 (soft).")
        if not -0.1 <= self.grow <= 0.3:
            raise LipSyncError(f"A mask cannot grow by {self.grow:g}: use -0.1 (smaller) to 0.3 (larger).")


def region_of(crop: FaceCrop, blending: Blending = Blending()) -> np.ndarray:
    """Where the frame may change: float32 (h, w), 0..1, of a crop."""
    height, width = crop.pixels.shape[:2]
    return lower_face_mask(crop.landmarks, (width, height), grow=blending.grow, feather=blending.feather)


def difference(crop: FaceCrop, face: GeneratedFace, region: np.ndarray, colour_match: bool = True) -> np.ndarray | None:
    """What is added to the crop's pixels, RGB float32 (h, w, 3) in units of 0..255; None where nothing changes.

    `region` is that of `region_of`; with `colour_match` the new face is tinted to continue what is around it.
    """
    if not face.mask.any():
        return None
    old = np.asarray(crop.pixels, np.float32)
    mask = face.mask * region
    new = match_colour(face.pixels, old, mask) if colour_match else face.pixels
    return (new - old) * each_channel(mask)
