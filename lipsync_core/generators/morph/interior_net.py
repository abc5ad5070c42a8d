"""The learned inner mouth: a small network that draws teeth, tongue and dark for a shape of the lips.

It works in a window of the person's canonical frame (see geometry.py) whose place is fixed to the skull: x from the middle of
the mouth, y from the height of the lip line at rest. So the upper teeth stay where they are whatever the lips do. What it
draws is divided by the brightness of the lips, so that the light of the frame lights the mouth. It is a function of the
shape and nothing else: the same lips give the same pixels, and lips that move a little change them a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from ...array_pixels import cubic
from ...inference import WEIGHTS, inference, load_network
from .interior_layout import ACROSS, DOWN, UNIT
from .interior_model import InteriorNet
from .opening import Opening

SIZE = (112, 64)
"""Pixels of the window, width and height."""
KNEE, SLOPE = 0.88, np.float32(0.5)
"""From which share of the skin's brightness on, and how far, what is brighter is held back."""
SEAM_ROW = 16
"""The row on which the lip line of the mouth at rest lies."""
WEIGHTS_FILE = "mouth_interior.safetensors"


@dataclass(frozen=True)
class Colours:
    """What a frame tells about light: mean RGB (3,) of the lips and of the skin beside them, 0..255."""

    lips: np.ndarray
    skin: np.ndarray


@dataclass(frozen=True)
class Window:
    """Where the network's window lies: canonical (x, y) -> its pixels. Mouths too large for it are shrunk into it, below the
    lip line and across."""

    centre: float
    seam: float
    scale_x: float
    scale_y: float

    def place(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Canonical x, y -> column, row."""
        down = y - self.seam
        return ((x - self.centre) * self.scale_x / UNIT + (SIZE[0] - 1) / 2,
                np.where(down > 0, down * self.scale_y, down) / UNIT + SEAM_ROW)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Canonical x (w,) of the columns and y (h,) of the rows."""
        x = (np.arange(SIZE[0]) - (SIZE[0] - 1) / 2) * UNIT / self.scale_x + self.centre
        down = (np.arange(SIZE[1]) - SEAM_ROW) * UNIT
        return x, self.seam + np.where(down > 0, down / self.scale_y, down)


def window_of(opening: Opening, seam_y: float) -> Window:
    reach_x, reach_y = UNIT * (SIZE[0] / 2 - 2), UNIT * (SIZE[1] - SEAM_ROW - 4)
    half = opening.half_width + abs(opening.middle - opening.centre)
    return Window(opening.middle, seam_y, min(1.0, reach_x / half),
                  min(1.0, reach_y / max(float(opening.bottom.max()) - seam_y, 1e-6)))


def describe(opening: Opening, seam_y: float, colours: Colours, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """What the network is told: planes float32 (MAPS, h, w) and numbers float32 (CONDITIONS,), all of order 1."""
    x, y = window.points()
    top, bottom = np.interp(x, opening.x, opening.top), np.interp(x, opening.x, opening.bottom)
    above = (y[:, None] - top) / 0.1
    below = (bottom - y[:, None]) / 0.1
    side = (opening.half_width - np.abs(x - opening.centre)) / 0.1
    inside = np.clip(np.minimum(np.minimum(above, below), side) * (0.1 / UNIT) / 2 + 0.5, 0, 1)
    across = np.broadcast_to((x - window.centre) * window.scale_x / ACROSS, above.shape)
    down = np.broadcast_to((y[:, None] - seam_y) / DOWN, above.shape)
    planes = np.stack([np.clip(above, -1, 2.5), np.clip(below, -1, 2.5), inside, across, down])
    numbers = [opening.gap / 0.1 - 1, opening.half_width / 0.05 - 5, (float(np.median(opening.top)) - seam_y) / 0.03,
               *tones(colours)]
    return planes.astype(np.float32), np.array(numbers, np.float32)


def tones(colours: Colours) -> np.ndarray:
    """Brightness, redness and blueness of the skin, and the lips' RGB over the skin's: float32 (6,), of order 1."""
    skin, lips = (np.log(np.maximum(np.asarray(c, np.float32), 4)) for c in (colours.skin, colours.lips))
    light = np.log(light_of(colours.skin) / 150)
    return np.array([light, 4 * (skin[0] - skin[1]) - 1, 4 * (skin[2] - skin[1]) + 0.5, *(2 * (lips - skin) + 1)], np.float32)


def light_of(skin: np.ndarray) -> float:
    """The brightness that pictures are divided by: mean of the skin's RGB, 0..255, never 0."""
    return float(np.clip(np.mean(skin), 16, 230))


def skin_colour(pixels: np.ndarray, lips: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """RGB float32 (3,) of the cheeks beside the mouth: mean of the brighter half of small patches, so that neither beard nor
    shadow is taken for skin. `lips` (20,) and `jaw` (17,) complex pixels."""
    spots = np.array([jaw[i] + share * (lips[corner] - jaw[i]) for corner, side in ((0, (2, 3, 4)), (6, (14, 13, 12)))
                      for i in side for share in (0.4, 0.55, 0.7)])
    reach = max(1.0, 0.02 * abs(jaw[14] - jaw[2])) * np.array([-1, 0, 1])
    z = spots[:, None] + (reach + 1j * reach[:, None]).reshape(-1)
    found = cv2.remap(pixels, z.real.astype(np.float32), z.imag.astype(np.float32), cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE).astype(np.float32).mean(1)
    return found[np.argsort(found.mean(1))[len(found) // 2:]].mean(0)


@lru_cache(maxsize=2)
def load_interior(file: Path | None = None) -> InteriorNet:
    """The network that ships with the package, or another's file; raises `CheckpointError`."""
    return load_network(InteriorNet(), file or WEIGHTS / WEIGHTS_FILE)


def draw(opening: Opening, seam_y: float, colours: Colours, window: Window, network: InteriorNet | None = None,
         part: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """The inner mouth in the network's window: RGB float32 (h, w, 3), 0..255; meaningless outside the lips. Of `part` (x0, y0, x1, y1;
    even) only that box."""
    network = network or load_interior()
    planes, numbers = describe(opening, seam_y, colours, window)
    with inference():
        picture = network(torch.from_numpy(planes)[None], torch.from_numpy(numbers)[None], part=part)[0].numpy()
    light = light_of(colours.skin)
    picture = np.maximum(picture.transpose(1, 2, 0) * np.float32(light), 0)
    # Nothing in a mouth is greener than the light, and skin is redder than the light: no green teeth on pale faces.
    skin = np.maximum(np.asarray(colours.skin, np.float32), 1)
    picture[..., 0] = np.maximum(picture[..., 0], picture[..., 1] * min(1.0, skin[0] / skin[1]))
    # Teeth lie deeper than the skin: brighter than a well lit face they'd look pasted in.
    knee = np.float32(max(KNEE * light, 120.0))
    mean = np.maximum(picture.mean(-1, keepdims=True), 1)
    return np.minimum(picture * np.minimum(1, (knee + SLOPE * (mean - knee)) / mean), 255).astype(np.float32)


def learned(x: np.ndarray, y: np.ndarray, opening: Opening, seam_y: float, colours: Colours,
            network: InteriorNet | None = None) -> np.ndarray:
    """The inner mouth at canonical points x, y (h, w float32): RGB float32 (h, w, 3), 0..255."""
    window = window_of(opening, seam_y)
    column, row = window.place(x, y)
    step = abs(float(column[0, -1] - column[0, 0])) / max(column.shape[1] - 1, 1)
    sigma = 0.45 * step if step > 1.2 else 0.0                         # a small face: shrinking must not alias
    reach = 2 + math.ceil(4 * sigma)
    (x0, x1), (y0, y1) = (_even(at.min() - reach, at.max() + 1 + reach, limit) for at, limit in zip((column, row), SIZE))
    picture = draw(opening, seam_y, colours, window, network, (x0, y0, x1, y1))
    if sigma:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    return cubic(cv2.split(picture), cv2.merge([(column - x0).astype(np.float32), (row - y0).astype(np.float32)]))


def _even(low: float, high: float, limit: int) -> tuple[int, int]:
    """The span of even ends around low..high, inside 0..limit (even), never empty."""
    first = 2 * int(min(max(low, 0), limit - 2) // 2)
    return first, max(first + 2, min(limit, 2 * math.ceil(high / 2)))
