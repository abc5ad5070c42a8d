"""What of the crop the network never sees of the frame it paints."""

from __future__ import annotations

import torch
from torch import Tensor

TOP, BOTTOM, SIDES, SQUARENESS = 0.50, 1.0, 0.40, 3.0
"""The hidden region in shares of the crop: from the nose tip's height (`faces.align`: eyes at 0.27, nose tip at 0.52, jaw at 0.85) down
to the rim, as wide as cheeks and jaw, corners round. It is fixed in a crop that nose and eyes alone decide, so that neither its
outline nor its place tells what the mouth does."""


def hidden_region(size: int) -> Tensor:
    """float32 (1, 1, size, size), 1 where the network must not look."""
    at = (torch.arange(size) + 0.5) / size
    x = ((at - 0.5) / SIDES).abs()[None]
    y = ((at - TOP) / (BOTTOM - TOP)).clamp_min(0)[:, None]
    # The upper half of a rounded rectangle stands on the crop's lower rim.
    up = (1 - y).clamp(0, 1)
    inside = (x**SQUARENESS + up**SQUARENESS * (at[:, None] >= TOP) <= 1) & (at[:, None] >= TOP)
    return inside.float()[None, None]
