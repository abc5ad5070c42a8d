"""Arrays that lie in a file (`audio.store`): their memory is given back once they were read."""

from __future__ import annotations

import mmap

import numpy as np


def let_go(array: np.ndarray) -> None:
    """What was read of a mapped array, or of a view of one, needs no memory until it is read again; of any other this does nothing."""
    held: object = array
    while held is not None and not isinstance(held, mmap.mmap):
        held = getattr(held, "base", None)
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):           # Windows and macOS do it by themselves when memory is short
        held.madvise(mmap.MADV_DONTNEED)
