"""A pool of processes: a job that takes its process with it takes no other job."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from . import worker
from .jobs import Job

LONGEST = 10.0
"""Seconds that a worker has to end when it is asked to."""


@dataclass(frozen=True)
class Result:
    """How a job ended."""

    job: Job
    status: str
    """'done' or 'failed'."""
    error: str
    report: dict[str, Any] | None
    """`DubReport.as_dict`."""
    seconds: float
    tries: int


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    tries: int = 0
    begun: float = 0.0
    share: float = 0.0


class Pool:
    """`run` gives results as they come. Leaving it early ends what runs, and leaves no partial file."""

    def __init__(self, workers: int, *, retries: int = 1, force: bool = False) -> None:
        self._size, self._retries, self._force = workers, retries, force
        self._context = multiprocessing.get_context("spawn")          # a fork of a process with threads may hang
        self._threads = max(1, (os.cpu_count() or 1) // workers)
        self._workers: list[_Worker] = []

    def run(self, jobs: Sequence[Job], tell: Callable[[float], None] = lambda running: None) -> Iterator[Result]:
        """`tell` is called now and then with how much is done of what runs, in jobs."""
        waiting = deque((job, 1) for job in jobs)
        try:
            while waiting or any(one.job is not None for one in self._workers):
                self._give(waiting)
                # A pipe speaks before its process is seen to have ended, so that the last word of a worker counts.
                ready = wait([one.pipe for one in self._workers] + [one.process.sentinel for one in self._workers], 1.0)
                for one in list(self._workers):
                    if one.pipe in ready or one.process.sentinel in ready:
                        yield from self._heard(one, waiting)
                tell(sum(one.share for one in self._workers if one.job is not None))
        finally:
            self._end()

    def _give(self, waiting: deque[tuple[Job, int]]) -> None:
        for one in self._workers:
            if one.job is None and waiting:
                self._start(one, *waiting.popleft())
        while waiting and len(self._workers) < self._size:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=worker.main, args=(theirs, self._threads), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))
            self._start(self._workers[-1], *waiting.popleft())

    def _start(self, one: _Worker, job: Job, tries: int) -> None:
        one.job, one.tries, one.begun, one.share = job, tries, time.monotonic(), 0.0
        with contextlib.suppress(OSError):                            # it has just died: that is heard next
            one.pipe.send((job.arguments, str(job.output), self._force or tries > 1))

    def _heard(self, one: _Worker, waiting: deque[tuple[Job, int]]) -> Iterator[Result]:
        try:
            while one.pipe.poll():
                kind, *word = one.pipe.recv()
                if kind == "progress":
                    one.share = word[0]
                else:
                    yield from self._ended(one, *word, waiting)
        except (EOFError, OSError):
            pass
        if not one.process.is_alive():
            self._workers.remove(one)
            one.pipe.close()
            if one.job is not None:
                _swept(one.job)
                yield from self._ended(one, "again", f"Its process died ({_why(one.process.exitcode)}).", None, waiting)

    def _ended(self, one: _Worker, status: str, error: str, report: dict | None, waiting: deque[tuple[Job, int]]) -> Iterator[Result]:
        job, one.job = one.job, None
        if job is None:
            return
        if status == "again" and one.tries <= self._retries:
            waiting.append((job, one.tries + 1))
            return
        yield Result(job, "done" if status == "done" else "failed", error, report, time.monotonic() - one.begun, one.tries)

    def _end(self) -> None:
        for one in self._workers:
            if one.job is None:
                with contextlib.suppress(OSError):
                    one.pipe.send(None)
            else:
                one.process.terminate()
        for one in self._workers:
            one.process.join(LONGEST)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.pipe.close()
            if one.job is not None:
                _swept(one.job)
        self._workers = []


def _swept(job: Job) -> None:
    """Without the partial files that a killed process left beside the output (`media.writer`)."""
    with contextlib.suppress(OSError):
        for file in job.output.parent.iterdir():
            if file.name.startswith(f".{job.output.stem}.") and file.name.endswith(f".partial{job.output.suffix}"):
                file.unlink(missing_ok=True)


def _why(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
