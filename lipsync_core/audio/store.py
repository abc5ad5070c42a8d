"""Samples of a recording: in memory, or, of a long one, in a temporary file that goes with them."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np

from ..types import SPEECH_RATE

LONG = 600.0
"""Seconds of speech, 38 MB, from which it is kept in a file: three hours would be 690 MB of memory."""


class Store:
    """float32 samples that are added block by block."""

    def __init__(self, long: float = LONG) -> None:
        self._most = round(long * SPEECH_RATE)
        self._parts: list[np.ndarray] = []
        self._count = 0
        """Samples in `_parts`."""
        self._file: IO[bytes] | None = None

    def add(self, samples: np.ndarray) -> None:
        self._parts.append(np.asarray(samples, np.float32))
        self._count += len(samples)
        if self._count > self._most:
            self._put()

    def _put(self) -> None:
        try:
            self._file = self._file or tempfile.TemporaryFile()
            at = self._file.seek(0, 2)
            try:
                for part in self._parts:
                    self._file.write(part.tobytes())
                self._file.flush()
            except OSError:
                self._file.truncate(at)
                raise
        except OSError:
            # No room or no temporary folder: in memory it is, as long as that lasts.
            held = self._mapped()
            self._parts, self._file, self._most = [*([held] if held is not None else []), *self._parts], None, 1 << 62
            return
        self._parts, self._count = [], 0

    def _mapped(self) -> np.ndarray | None:
        if self._file is None or not self._file.seek(0, 2):
            return None
        return np.memmap(self._file, np.float32, "r")

    def array(self) -> np.ndarray:
        """All of them, float32 (n,)."""
        if self._file is not None and self._parts:
            self._put()
        found = self._mapped() if self._file is not None else None
        if found is not None:
            return found
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
