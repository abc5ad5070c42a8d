"""Bounded queues between decode, generate and encode, so that each runs on its own core and none runs ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


class Prefetch(Generic[T]):
    """Iterates `items` in a thread, at most `depth` ahead. Use as a context manager: leaving it stops the thread.

    What the iterable raises is raised where its item would have come.
    """

    def __init__(self, items: Iterable[T], depth: int = 4) -> None:
        self._items = items
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="openlipsync-decode", daemon=True)

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # carried over to the consumer, whatever it is
            self._error = error
        self._put(_END)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return iter(self._consume())

    def _consume(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if item is _END:
                if self._error is not None:
                    raise self._error
                return
            yield item

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


class Background(Generic[T]):
    """Calls `consume(item)` in a thread for what is `put`, at most `depth` behind.

    The first error of `consume` is raised by the next `put`, or when the context is left; leaving it because of another error
    drops what is still queued.
    """

    def __init__(self, consume: Callable[[T], None], depth: int = 4) -> None:
        self._consume = consume
        self._queue: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(target=self._run, name="openlipsync-encode", daemon=True)

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if not self._drop and self._error is None:
                try:
                    self._consume(item)
                except BaseException as error:  # carried over to the producer, whatever it is
                    self._error = error
            self._queue.task_done()

    def put(self, item: T) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def join(self) -> None:
        """Wait until all that was put is done."""
        self._queue.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Background[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._drop = kind is not None
        self._queue.put(_END)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
