"""The same work on a Ray cluster: an actor in place of each process, on whatever machine has room."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import LipSyncError
from .schedule import AGAIN, FAILED, Answer, Result, Schedule, Task
from .worker import Worker, swept

PACKAGE = Path(__file__).resolve().parents[1]
"""What workers are sent: this package with its weights; what it needs (requirements.txt) they must have."""


class Cluster:
    """As `pool.Pool`. Paths of jobs must be the same on every machine (a shared folder), or URLs."""

    def __init__(self, address: str, *, workers: int | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
        """`address`: 'auto' (the cluster that this machine is part of) or ray://HOST:PORT. `workers` None: as many as there is room for,
        each with `cpus` cores and `gpus` GPUs. Raises `LipSyncError` where there is no Ray or no cluster."""
        if cpus <= 0 or gpus < 0:
            raise LipSyncError("A worker takes more than 0 cores, and 0 GPUs or more.")
        try:
            import ray
        except ImportError as error:
            raise LipSyncError("Ray is missing: pip install -r requirements-cluster.txt.") from error
        self._ray, self._cpus, self._gpus = ray, cpus, gpus
        if not ray.is_initialized():
            try:
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False,
                         runtime_env={"py_modules": [str(PACKAGE)], "excludes": ["**/__pycache__"]})
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise LipSyncError(f"There is no Ray cluster at {address} ({str(error).splitlines()[0]}): start one with ray start --head, "
                                   "or give ray://HOST:PORT.") from error
        self._size = workers or self._room()
        self._actors: list[Any] = []
        self._running: dict[Any, tuple[Any, Task]] = {}

    def _room(self) -> int:
        there = self._ray.cluster_resources()
        room = there.get("CPU", 0.0) / self._cpus
        if self._gpus:
            room = min(room, there.get("GPU", 0.0) / self._gpus)
        if room < 1:
            raise LipSyncError(f"No machine of the cluster has room for a worker of {self._cpus:g} cores and {self._gpus:g} GPUs: it has "
                               f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs.")
        return int(room)

    def run(self, schedule: Schedule, tell: Callable[[float], None] = lambda running: None) -> Iterator[Result]:
        """See `pool.Pool.run`; of what runs Ray tells nothing."""
        ray, free = self._ray, []
        worker = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus)(Worker)
        try:
            while schedule.left:
                while schedule.ready and (free or len(self._actors) < self._size):
                    if not free:
                        self._actors.append(worker.remote(max(1, int(self._cpus))))
                        free.append(self._actors[-1])
                    actor, task = free.pop(), schedule.next()
                    self._running[actor.do.remote(task)] = actor, task
                ready, _ = ray.wait(list(self._running), timeout=1.0)
                for done in ready:
                    actor, task = self._running.pop(done)
                    answer, lives = self._answer(done)
                    if lives:
                        free.append(actor)
                    else:
                        self._actors.remove(actor)
                        swept(task.job)
                    yield from schedule.ended(task, answer)
                tell(sum({task.job.key: schedule.share(task, 0.0) for _, task in self._running.values()}.values()))
        finally:
            self._end()

    def _answer(self, done: Any) -> tuple[Answer, bool]:
        """What an actor says, and whether it is there for more."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(done), True
        except (errors.RayActorError, errors.OutOfMemoryError, errors.WorkerCrashedError, errors.NodeDiedError) as error:
            return Answer(AGAIN, f"Its worker was lost ({type(error).__name__})."), False
        except errors.RayError as error:
            return Answer(FAILED, f"{type(error).__name__}: {error}"), False

    def _end(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        for _, task in self._running.values():
            swept(task.job)
        self._actors, self._running = [], {}
