"""What a generator makes of recordings: each is heard once, and the only one there is while faces are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import contextmanager
from threading import Event
from typing import Any

from .errors import LipSyncError
from .types import Generator, Hooks, Speech

PATIENCE = 0.1
"""Seconds between two looks at whether the user has had enough."""


class Hearing:
    """Everybody in every shot of a film says the same recording, and it is heard once."""

    def __init__(self, generator: Generator, hooks: Hooks) -> None:
        self._generator, self._hooks = generator, hooks
        self._known: dict[int, tuple[Speech, Any]] = {}
        self._begun: tuple[Speech, Future] | None = None

    def __call__(self, speech: Speech) -> Any:
        if id(speech) not in self._known:
            self._known[id(speech)] = speech, self._heard(speech)
        return self._known[id(speech)][1]

    def _heard(self, speech: Speech) -> Any:
        if self._begun is None or self._begun[0] is not speech:
            return self._generator.hear(speech, self._hooks)
        while True:
            self._hooks.check_interrupt()
            try:
                return self._begun[1].result(PATIENCE)
            except TimeoutError:
                if self._begun[1].done():                              # the generator's own
                    raise

    @contextmanager
    def ahead(self, speech: Speech) -> Iterator[None]:
        """Hear `speech` in a thread of its own, which ends with the context: what analysis leaves of the processor suffices. What goes
        wrong there is raised where the result is asked for."""
        enough = Event()

        def check() -> None:
            if enough.is_set():
                raise LipSyncError("Nobody waits for the speech any more.")

        with ThreadPoolExecutor(1, "openlipsync-hear") as thread:
            self._begun = speech, thread.submit(self._generator.hear, speech, Hooks(check_interrupt=check))
            try:
                yield
            finally:
                enough.set()
