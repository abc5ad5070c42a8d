"""Rows that come one after the other, kept in large blocks: an array of its own for each, between the large ones that come and go, keeps
these from being given back (13 KB for each frame of a clip, glibc)."""

from __future__ import annotations

import numpy as np

BLOCK = 512
"""Rows of a block."""


class Rows:
    """A list of rows of one shape that grows at its end and is shortened at its beginning."""

    def __init__(self, shape: tuple[int, ...], dtype: type = np.float32) -> None:
        self.shape, self.dtype = shape, dtype
        self._blocks: list[np.ndarray] = []
        self._first = self._end = 0
        """Places of the first row and of the one after the last, counted from the first block."""

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, row: int) -> np.ndarray:
        """One row, as -1 counts from the end; not a copy."""
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        at = self._first + row % len(self)
        return self._blocks[at // BLOCK][at % BLOCK]

    def append(self, row: np.ndarray) -> None:
        self.extend(np.asarray(row)[None])

    def extend(self, rows: np.ndarray) -> None:
        """`rows` (n, *shape)."""
        while len(rows):
            if self._end == BLOCK * len(self._blocks):
                self._blocks.append(np.empty((BLOCK, *self.shape), self.dtype))
            at = self._end % BLOCK
            part = rows[:BLOCK - at]
            self._blocks[-1][at:at + len(part)] = part
            self._end, rows = self._end + len(part), rows[len(part):]

    def drop(self, count: int) -> None:
        """Without the first `count` rows."""
        self._first = min(self._first + count, self._end)
        whole = self._first // BLOCK
        del self._blocks[:whole]
        self._first, self._end = self._first - BLOCK * whole, self._end - BLOCK * whole

    def array(self) -> np.ndarray:
        """All of them, (n, *shape)."""
        return np.concatenate(self._blocks)[self._first:self._end] if self._blocks else np.empty((0, *self.shape), self.dtype)
