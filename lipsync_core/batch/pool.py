"""A pool of processes: a task that takes its process with it takes no other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from .schedule import AGAIN, Answer, Result, Schedule, Task
from .worker import Worker, swept

LONGEST = 10.0
"""Seconds that a worker has to end when it is asked to."""


def work(pipe: Connection, threads: int) -> None:
    """What a process does: answers ("progress", share), then ("ended", `Answer`) to every `Task`; None ends it."""
    # Ctrl-C reaches every process of a terminal: the pool decides, and asks with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    try:
        worker = Worker(threads)
        while (task := pipe.recv()) is not None:
            pipe.send(("ended", worker.do(task, lambda share: pipe.send(("progress", share)))))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass                                                          # the pool has gone, or wants no more


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@dataclass
class _Process:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    share: float = 0.0


class Pool:
    """`run` gives results as they come. Leaving it early ends what runs, and leaves no partial file."""

    def __init__(self, workers: int, *, threads: int | None = None) -> None:
        """`threads` of each worker; None shares the cores among them, and lets one worker do as it likes."""
        self._size = workers
        self._context = multiprocessing.get_context("spawn")          # a fork of a process with threads may hang
        self._threads = (max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0) if threads is None else threads
        self._workers: list[_Process] = []

    def run(self, schedule: Schedule, tell: Callable[[float], None] = lambda running: None) -> Iterator[Result]:
        """`tell` is called now and then with how much is done of what runs, in jobs."""
        try:
            while schedule.left:
                self._give(schedule)
                # A pipe speaks before its process is seen to have ended, so that the last word of a worker counts.
                ready = wait([one.pipe for one in self._workers] + [one.process.sentinel for one in self._workers], 1.0)
                for one in list(self._workers):
                    if one.pipe in ready or one.process.sentinel in ready:
                        yield from self._heard(one, schedule)
                running = {one.task.job.key: schedule.share(one.task, one.share) for one in self._workers if one.task is not None}
                tell(sum(running.values()))
        finally:
            self._end()

    def _give(self, schedule: Schedule) -> None:
        for one in self._workers:
            if one.task is None and schedule.ready:
                self._start(one, schedule.next())
        while schedule.ready and len(self._workers) < self._size:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=work, args=(theirs, self._threads), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Process(process, ours))
            self._start(self._workers[-1], schedule.next())

    def _start(self, one: _Process, task: Task) -> None:
        one.task, one.share = task, 0.0
        with contextlib.suppress(OSError):                            # it has just died: that is heard next
            one.pipe.send(task)

    def _heard(self, one: _Process, schedule: Schedule) -> Iterator[Result]:
        try:
            while one.pipe.poll():
                kind, word = one.pipe.recv()
                if kind == "progress":
                    one.share = word
                else:
                    task, one.task = one.task, None
                    yield from schedule.ended(task, word)
        except (EOFError, OSError):
            pass
        if not one.process.is_alive():
            self._workers.remove(one)
            one.pipe.close()
            if one.task is not None:
                swept(one.task.job)
                yield from schedule.ended(one.task, Answer(AGAIN, f"Its process died ({_why(one.process.exitcode)})."))

    def _end(self) -> None:
        for one in self._workers:
            if one.task is None:
                with contextlib.suppress(OSError):
                    one.pipe.send(None)
            else:
                one.process.terminate()
        until = time.monotonic() + LONGEST
        for one in self._workers:
            one.process.join(max(0.1, until - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.pipe.close()
            if one.task is not None:
                swept(one.task.job)
        self._workers = []


def _why(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
