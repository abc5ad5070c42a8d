"""How a node tells what it does: ComfyUI's bar, words below it, and a picture of what was made last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import comfy.model_management
import comfy.utils
import numpy as np
from comfy_execution.utils import get_executing_context

from ..lipsync_core.types import Hooks

log = logging.getLogger(__name__)
STEPS = 1000
EVERY = 0.7
"""Seconds between two pictures, and between two lines of words."""
LONGEST = 512
"""Longer side of a picture, pixels."""
WORDS = {"analyse": "Looking for faces", "crop": "Cutting faces out", "generate": "Making mouths", "blend": "Blending back",
         "look": "Looking", "pixels": "Comparing pictures", "syncnet": "Comparing with the sound"}


class Progress:
    """Stages (their names and their shares of the whole, in order) on one bar."""

    def __init__(self, shares: dict[str, float]) -> None:
        self._bar, self._context = comfy.utils.ProgressBar(STEPS), get_executing_context()
        self._begun = self._told = self._shown = time.monotonic()
        self._done = 0.0
        self._spans: dict[str, tuple[float, float]] = {}
        whole = 0.0
        for name, share in shares.items():
            self._spans[name] = (whole / sum(shares.values()), share / sum(shares.values()))
            whole += share
        self._last = list(shares)[-1]

    def tell(self, stage: str, done: int, total: int) -> None:
        begin, share = self._spans.get(stage, (1.0, 0.0))
        self._done = begin + share * min(1.0, done / max(total, 1))
        self._bar.update_absolute(int(STEPS * self._done))
        now = time.monotonic()
        if stage == self._last and done >= total > 0 and self._told > self._begun:
            self._say(f"Done in {_clock(now - self._begun)}")         # or the words of before would stay
        elif now - self._told >= EVERY:
            self._told = now
            self._say(f"{WORDS.get(stage, stage)}: {done} of {total or '?'}{self._left(now)}")

    def _left(self, now: float) -> str:
        spent = now - self._begun
        if self._done < 0.02 or spent < 2:                            # too early to tell how fast it goes
            return ""
        return f", about {_clock(spent * (1 - self._done) / self._done)} left"

    def _say(self, words: str) -> None:
        from server import PromptServer

        server = getattr(PromptServer, "instance", None)
        if server is not None and self._context is not None and hasattr(server, "send_progress_text"):
            server.send_progress_text(words, self._context.node_id)

    def show(self, picture: Callable[[int], np.ndarray]) -> None:
        now = time.monotonic()
        if now - self._shown < EVERY:
            return
        from PIL import Image

        self._shown = now
        self._bar.update_absolute(int(STEPS * self._done), STEPS, ("JPEG", Image.fromarray(picture(LONGEST)), LONGEST))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def hooks(**shares: float) -> Hooks:
    """Progress of stages, and ComfyUI's interruption."""
    progress = Progress(shares)
    return Hooks(progress.tell, comfy.model_management.throw_exception_if_processing_interrupted, log.warning, progress.show)
