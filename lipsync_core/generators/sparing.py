"""Batches that are halved where memory does not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from ..errors import ShortOfMemoryError
from ..types import GeneratedFace, Generator, GeneratorItem


class SparingGenerator:
    """A generator whose batches are halved as often as memory runs out, and stay as small as they had to be."""

    def __init__(self, generator: Generator) -> None:
        self._generator, self.spec = generator, generator.spec
        self.hear, self.start = generator.hear, generator.start
        if hasattr(generator, "listener"):
            self.listener = generator.listener
        self._most = 1 << 30
        """Faces that fitted."""

    def generate(self, batch: Sequence[GeneratorItem], state: Any) -> list[GeneratedFace]:
        """Raises `ShortOfMemoryError` where there is not enough for one face."""
        if len(batch) > (most := self._most):                         # what it was before the first part: that may shrink it
            return self.generate(batch[:most], state) + self.generate(batch[most:], state)
        try:
            return self._generator.generate(batch, state)
        except (RuntimeError, MemoryError) as error:
            if not self.ran_out(error):
                raise
            if len(batch) == 1:
                self.give_up(error)
        self.release()
        self._most = (len(batch) + 1) // 2
        return self.generate(batch, state)

    def ran_out(self, error: BaseException) -> bool:
        """Whether an error says that memory did not suffice: torch's own of CUDA, and what MPS, ROCm and the CPU say in words."""
        words = str(error).lower()
        return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "out of memory" in words or "can't allocate memory" in words

    def release(self) -> None:
        """Give back what is kept for later."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif getattr(torch, "mps", None) is not None and torch.backends.mps.is_available():
            torch.mps.empty_cache()

    def give_up(self, error: BaseException) -> NoReturn:
        """One face was too much."""
        raise ShortOfMemoryError(f"There is not enough memory for one face with {self.spec.name}: close other programs, or choose "
                                 "--generator-options precision=fp16 or device=cpu.") from error
