"""What is to be done next: jobs, or the steps of those that are made in pieces. Knows nothing of processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .jobs import Job

DUB, PIECE, JOIN = "dub", "piece", "join"
"""A whole job, which may turn out to be one for many; a piece of a film; the pieces of a film."""
DONE, FAILED, AGAIN, PIECES = "done", "failed", "again", "pieces"
"""How a task ends: well; as it would again; as it need not again (memory, a lost worker); with the pieces that there are to be made."""
LOOKED = 0.3
"""Share of a job that is over when the film was looked at."""


@dataclass(frozen=True)
class Task:
    """Something for one worker."""

    job: Job
    step: str = DUB
    piece: int = 0
    force: bool = False
    """Overwrite the result."""
    split: float = 0.0
    """Seconds of the pieces of a long film; 0 = a film is made whole."""
    resume: bool = False
    """Take what pieces there are."""
    tries: int = 1


@dataclass(frozen=True)
class Answer:
    """How a task ended."""

    status: str
    error: str = ""
    value: Any = None
    """Of a whole job and of `JOIN` `DubReport.as_dict`, with `PIECES` the numbers of those that are missing, and how many there are."""


@dataclass(frozen=True)
class Result:
    """How a job ended."""

    job: Job
    status: str
    """`DONE` or `FAILED`."""
    error: str
    report: dict[str, Any] | None
    """`DubReport.as_dict`."""
    seconds: float
    tries: int
    """Of the task that needed most."""


@dataclass
class _Film:
    """A job on its way."""

    begun: float
    tries: int = 1
    pieces: int = 0
    left: set[int] = field(default_factory=set)


class Schedule:
    """Give `next` tasks to workers, tell it how they `ended`, until nothing is `left`."""

    def __init__(self, jobs: Sequence[Job], *, retries: int = 1, force: bool = False, split: float = 0.0, resume: bool = False) -> None:
        self._waiting = deque(Task(job, force=force, split=split, resume=resume) for job in jobs)
        self._soon: deque[Task] = deque()
        """Steps of films that were begun: they are finished before others are begun."""
        self._retries = retries
        self._films: dict[str, _Film] = {}
        self._running = 0

    @property
    def left(self) -> bool:
        return bool(self._waiting or self._soon or self._running)

    @property
    def ready(self) -> bool:
        """Whether there is a task for another worker now."""
        return bool(self._waiting or self._soon)

    def next(self) -> Task:
        task = (self._soon or self._waiting).popleft()
        self._films.setdefault(task.job.key, _Film(time.monotonic()))
        self._running += 1
        return task

    def ended(self, task: Task, answer: Answer) -> Iterator[Result]:
        """The job's result, where that was the last of it."""
        self._running -= 1
        film = self._films.get(task.job.key)
        if film is None:                                              # another piece has failed already
            return
        film.tries = max(film.tries, task.tries)
        if answer.status == AGAIN and task.tries <= self._retries:
            again = replace(task, tries=task.tries + 1, force=True, resume=task.resume or task.step != DUB)
            (self._waiting if task.step == DUB else self._soon).append(again)
        elif answer.status == PIECES:
            missing, film.pieces = answer.value
            film.left = set(missing)
            self._soon.extend(replace(task, step=PIECE, piece=number, tries=1) for number in missing)
            if not missing:
                self._soon.append(replace(task, step=JOIN, tries=1))
        elif answer.status == DONE and task.step == PIECE:
            film.left.discard(task.piece)
            if not film.left:
                self._soon.append(replace(task, step=JOIN, tries=1))
        else:
            del self._films[task.job.key]
            self._soon = deque(other for other in self._soon if other.job.key != task.job.key)
            done = answer.status == DONE
            yield Result(task.job, DONE if done else FAILED, answer.error, answer.value if done else None,
                         time.monotonic() - film.begun, film.tries)

    def share(self, task: Task, done: float) -> float:
        """How much of a job is over by `done` (0..1) of a task."""
        film = self._films.get(task.job.key)
        if film is None or not film.pieces:
            return done
        return LOOKED + (1 - LOOKED) * (film.pieces - len(film.left)) / film.pieces
