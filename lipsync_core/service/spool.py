"""Files that are still coming: written by whoever receives them, read by whoever works on them, kept on disk."""

from __future__ import annotations

import threading
from pathlib import Path

from ..errors import LipSyncError

SEGMENT = 16 << 20
"""Bytes of one file on disk: what a reader has left behind is deleted in such pieces."""
BACKLOG = 32 << 20
"""Bytes that a sender may be ahead of a reader who waits for nothing."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong: nobody wants the result any more
    """The request was cancelled or given up."""


class UploadError(LipSyncError):
    """What came is not what may come; `exhausted`: it is too much."""

    def __init__(self, sentence: str, exhausted: bool = False) -> None:
        super().__init__(sentence)
        self.exhausted = exhausted


class Flow:
    """What the files of one request share: a lock, and whether it goes on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.stopped = False
        self.error: UploadError | None = None
        self.waiting = 0
        """Readers who can do nothing until more comes."""

    def stop(self) -> None:
        """Nobody wants the result any more: every wait ends with `Stopped`."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def fail(self, error: UploadError) -> None:
        """What was sent can't be: every wait ends with `error`."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def check(self) -> None:
        if self.stopped:
            raise Stopped
        if self.error is not None:
            raise self.error

    def wait(self) -> None:
        """For a change, by a reader who holds the lock and has nothing to do."""
        self.waiting += 1
        self.changed.notify_all()
        try:
            self.changed.wait(1.0)
        finally:
            self.waiting -= 1
        self.check()


class Spool:
    """One file of a request. `rolling` once it is read by a single reader and never again: what was read is deleted. `endless` where that
    makes room for more: only what was not read yet counts against the limit."""

    def __init__(self, flow: Flow, folder: Path, name: str, limit: int) -> None:
        self._flow, self._folder, self.name, self._limit = flow, folder, name, limit
        self.size = 0
        self.ended = False
        self.rolling = self.endless = False
        self._dropped = 0
        """Segments that are deleted."""
        self._passed = 0
        """How far a reader has come, bytes."""

    def segment(self, number: int) -> Path:
        return self._folder / f"{self.name}.{number:06d}"

    def write(self, data: bytes) -> None:
        """The next piece. Raises `UploadError` where there is no more room for it."""
        with self._flow.changed:
            if self.size + len(data) - self.endless * self._dropped * SEGMENT > self._limit:
                raise UploadError(f"The {self.name} is larger than the {self._limit} bytes that this server takes.", True)
            at = self.size
        while data:
            room = SEGMENT - at % SEGMENT
            try:
                with open(self.segment(at // SEGMENT), "ab") as file:
                    file.write(data[:room])
            except OSError as error:
                raise UploadError(f"The {self.name} can't be kept on this server ({error.strerror}).", True) from error
            at += len(data[:room])
            data = data[room:]
        with self._flow.changed:
            self.size = at
            self._flow.changed.notify_all()

    def end(self) -> None:
        with self._flow.changed:
            self.ended = True
            self._flow.changed.notify_all()

    @property
    def backlog(self) -> int:
        """Bytes that a single reader has not read yet; 0 for what several read."""
        return self.size - self._passed if self.rolling else 0

    def wait_for(self, count: int, reader: SpoolReader | None = None) -> int:
        """Wait until `count` bytes are there, or the end, or `reader` is closed; gives how many are."""
        with self._flow.changed:
            self._flow.check()
            while self.size < count and not self.ended and not (reader is not None and reader.closed):
                self._flow.wait()
            return self.size

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._flow.changed:
            self._flow.changed.notify_all()

    def head(self, count: int) -> bytes:
        """The first `count` bytes, or what there is in all."""
        self.wait_for(count)
        with open(self.segment(0), "rb") as file:
            return file.read(min(count, SEGMENT))

    def again(self) -> SpoolReader:
        """Another reader, at the beginning (see `files.own_reader`)."""
        return SpoolReader(self)

    def passed(self, position: int) -> None:
        """A reader has come to `position`."""
        with self._flow.changed:
            self._passed = max(self._passed, position)
            while self.rolling and (self._dropped + 1) * SEGMENT <= self._passed:
                self.segment(self._dropped).unlink(missing_ok=True)
                self._dropped += 1
            self._flow.changed.notify_all()

    def check(self) -> None:
        self._flow.check()


class SpoolReader:
    """What FFmpeg reads from: waits for what has not come yet, and can't go back. Where nobody wants more, or what came can't be, it is at
    its end; who reads must ask `Spool.check` why."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._position, self._closed = spool, 0, False

    def again(self) -> SpoolReader:
        return self._spool.again()

    def read(self, count: int = -1) -> bytes:
        try:
            return self._read(count)
        except (Stopped, UploadError):                                # FFmpeg's callers can't pass it on: PyAV would print it
            return b""

    def _read(self, count: int) -> bytes:
        if count < 0:
            count = self._spool.wait_for(1 << 62, self) - self._position
        there = self._spool.wait_for(self._position + 1, self) - self._position
        self._spool.check()
        inside = self._position % SEGMENT
        count = min(count, there, SEGMENT - inside)
        if count <= 0:
            return b""
        with open(self._spool.segment(self._position // SEGMENT), "rb") as file:
            file.seek(inside)
            data = file.read(count)
        self._position += len(data)
        self._spool.passed(self._position)
        return data

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Nobody reads on: what waits here is at the end."""
        self._closed = True
        self._spool.wake()


def stored(spool: Spool, target: Path) -> Path:
    """All of a spool as one file, once it has ended."""
    spool.rolling = True
    with open(target, "wb") as file:
        reader = SpoolReader(spool)
        while data := reader.read(1 << 20):
            file.write(data)
    spool.check()
    if spool.size:
        spool.segment((spool.size - 1) // SEGMENT).unlink(missing_ok=True)
    return target
