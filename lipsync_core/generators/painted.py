"""The part of a crop that a network paints, as a mask."""

from __future__ import annotations

import numpy as np


def painted_mask(size: int, first_row: int, slope: int) -> np.ndarray:
    """float32 (size, size), 0..1: the rows from `first_row` down, with a smooth slope of `slope` pixels on every side.

    The region that compositing allows reaches beyond a crop that ends at the chin: without the slope the crop's rim would show.
    """
    at = np.arange(size) + 0.5
    across = np.minimum(at, size - at)
    down = np.minimum(at - first_row, size - at)
    t = np.clip(np.minimum(across[None], down[:, None]) / slope, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
