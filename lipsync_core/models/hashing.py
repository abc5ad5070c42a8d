"""SHA-256 of files that may be large."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..types import Hooks

BLOCK = 1 << 20
MEGA = 1_000_000


def sha256_of(file: Path, hooks: Hooks | None = None) -> str:
    """Hexadecimal; progress (stage `check`) in megabytes. Raises `OSError`."""
    hooks = hooks or Hooks()
    total, done, digest = file.stat().st_size, 0, hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            hooks.check_interrupt()
            digest.update(block)
            done += len(block)
            hooks.progress("check", megabytes(done), megabytes(total))
    return digest.hexdigest()


def megabytes(count: int) -> int:
    """Bytes in megabytes, rounded up, for progress."""
    return -(-count // MEGA)
