"""Who does the tasks: networks stay loaded from one to the next."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import sweep
from . import places
from .schedule import AGAIN, DONE, FAILED, JOIN, PIECE, PIECES, Answer, Task

if TYPE_CHECKING:
    from ..options import DubOptions
    from ..split.film import Crew
    from .jobs import Job

EVERY = 0.5
"""Seconds between two words about progress."""
SHARES = {"analyse": (0.0, 0.3), "generate": (0.3, 0.7)}
"""Where in a job a stage begins, and how much of it it is."""
WORTH = 1.5
"""A film that is shorter than so many pieces is made whole."""
PLAN = "plan.safetensors"


class Worker:
    """`do` never raises for what a task brings; the process may be interrupted by `KeyboardInterrupt`."""

    def __init__(self, threads: int) -> None:
        """`threads` of the networks, OpenCV and the encoder; 0 = as many as each likes."""
        self.threads = threads
        self._kept: dict[Any, Any] = {}
        self._crew: tuple[str, Crew] | None = None
        if threads:
            os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
            import cv2
            import torch

            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)

    def do(self, task: Task, tell: Callable[[float], None] = lambda share: None) -> Answer:
        """`tell` is called now and then with how much is done, 0..1."""
        from ..errors import LipSyncError, ShortOfMemoryError

        try:
            with _scratch(task.job) as scratch:
                return {PIECE: self._piece, JOIN: self._join}.get(task.step, self._dub)(task, scratch, _Progress(tell))
        except ShortOfMemoryError as error:
            return Answer(AGAIN, str(error))
        except LipSyncError as error:
            return Answer(FAILED, str(error))
        except MemoryError:
            return Answer(AGAIN, "There was not enough memory.")
        except (BrokenPipeError, ConnectionResetError):
            raise                                                     # whoever asked has gone
        except Exception as error:  # noqa: BLE001 - a job never takes the others with it; the manifest has it all
            if "out of memory" in str(error).lower():                 # torch's
                return Answer(AGAIN, f"There was not enough memory: {error}")
            return Answer(FAILED, f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}")

    def _dub(self, task: Task, scratch: Path, progress: _Progress) -> Answer:
        from ..dubbing import dub
        from ..media import VideoSource

        chosen, options = self._told(task, scratch)
        if task.split and not options.overlay:
            length = VideoSource(chosen.video, start=options.start, duration=options.duration).info.duration - options.start
            if min(length, options.duration or length) > WORTH * task.split:
                return self._plan(task, chosen, options, progress)
        report = dub(chosen.video, chosen.audio, chosen.output, self._with_kept(options), hooks=progress.hooks)
        return self._landed(task, chosen, report)

    def _plan(self, task: Task, chosen: Any, options: DubOptions, progress: _Progress) -> Answer:
        from ..dubbing import checked, collecting, open_inputs
        from ..split import load_plan, plan_film, save_plan

        options = checked(self._with_kept(options))
        files = _inputs(task)
        with shelf_of(task) as shelf:
            if task.resume and shelf.has(PLAN) and (plan := load_plan(shelf.get(PLAN))).report.get("inputs") == files:
                missing = [number for number in range(len(plan.pieces)) if not shelf.has(_piece_names(number)[1])]
                return Answer(PIECES, value=(missing, len(plan.pieces)))
            shelf.clear()
            hooks, warnings = collecting(progress.hooks)
            inputs = open_inputs(chosen.video, chosen.audio, chosen.output, options)
            plan = plan_film(inputs, options.generator, task.split, hooks, warnings)
            plan = dataclasses.replace(plan, report={**plan.report, "inputs": files})
            with shelf.new(PLAN) as file:
                save_plan(plan, file)
            self._crew = None
        return Answer(PIECES, value=(list(range(len(plan.pieces))), len(plan.pieces)))

    def _piece(self, task: Task, scratch: Path, progress: _Progress) -> Answer:
        from ..split import load_plan, make_piece
        from ..split.film import Crew

        chosen, options = self._told(task, scratch)
        options = self._with_kept(options)
        with shelf_of(task) as shelf:
            if self._crew is None or self._crew[0] != task.job.key:
                self._crew = None                                     # its tracks make room for the next film's
                self._crew = task.job.key, Crew(load_plan(shelf.get(PLAN)), options.generator)
            names = _piece_names(task.piece)
            with shelf.new(*names) as target:
                make_piece(self._crew[1], task.piece, chosen.video, chosen.output, options, target, progress.hooks)
        return Answer(DONE)

    def _join(self, task: Task, scratch: Path, progress: _Progress) -> Answer:
        from ..dubbing import checked, open_inputs
        from ..errors import MediaError
        from ..split import join, load_plan

        chosen, options = self._told(task, scratch)
        with shelf_of(task) as shelf:
            plan = load_plan(shelf.get(PLAN))
            if plan.report["inputs"] != _inputs(task):
                raise MediaError("Its video or sound changed while pieces were made: wait until they are whole, and begin again.")
            pieces = []
            for number in range(len(plan.pieces)):
                piece, beside = (shelf.get(name) for name in _piece_names(number))
                pieces.append(piece)
            report = join(open_inputs(chosen.video, chosen.audio, chosen.output, checked(options)), plan, pieces, progress.hooks)
            answer = self._landed(task, chosen, report)
            shelf.clear()
        return answer

    def _told(self, task: Task, scratch: Path) -> tuple[Any, DubOptions]:
        """What `dub` is told, its files on this machine."""
        from ..dub_command import options_of
        from ..errors import OutputError
        from .jobs import dub_parser

        output = task.job.output
        if places.is_url(output):
            if not task.force and places.exists(output):
                raise OutputError(f"{output} exists already: choose another name, or add --force to overwrite it.")
            output = str(scratch / places.name_of(output))
        force = ["--force"] if task.force or task.step != "dub" else []
        chosen = dub_parser().parse_args(["-o", output, *force, *places.localised(task.job.arguments, scratch)])
        try:
            chosen.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {chosen.output.parent} can't be made ({error.strerror}): choose another place.") from error
        options = options_of(chosen)
        if self.threads and "threads" not in options.encoding.options:
            encoding = dataclasses.replace(options.encoding, options={"threads": str(self.threads), **options.encoding.options})
            options = dataclasses.replace(options, encoding=encoding)
        return chosen, options

    def _landed(self, task: Task, chosen: Any, report: Any) -> Answer:
        if places.is_url(task.job.output):
            places.put(chosen.output, task.job.output)
        return Answer(DONE, value={**report.as_dict(), "output": task.job.output})

    def _with_kept(self, options: DubOptions) -> DubOptions:
        """The same options with the generator and the face models that the last such task had: a network is loaded once."""
        from ..dubbing import generator_of

        kept = self._kept
        key = (str(options.generator), tuple(sorted(options.generator_options.items())), str(options.restore), options.restore_strength)
        if kept.get("generator") != key:
            kept["made"], self._crew = generator_of(options), None
            kept["generator"] = key
        faces = (options.backend, options.device)
        if kept.get("faces") != faces:
            kept["backend"] = options.faces().create()
            kept["faces"] = faces
        return dataclasses.replace(options, generator=kept["made"], generator_options={}, restore=None, backend=kept["backend"])


@contextlib.contextmanager
def _scratch(job: Job) -> Iterator[Path]:
    """A folder for what is fetched from URLs and sent to them."""
    if not any(places.url_of(text) for text in (*job.arguments, job.output)):
        yield Path()
        return
    with tempfile.TemporaryDirectory(prefix="openlipsync-") as folder:
        yield Path(folder)


def shelf_of(task: Task) -> places.Shelf:
    """Where the pieces of a job lie: beside its result."""
    output = task.job.output
    stem = places.name_of(output).rpartition(".")[0]
    return places.Shelf(places.beside(output, f".{stem}.{task.job.key[:8]}.pieces"))


def swept(job: Job) -> None:
    """Without the partial files that a killed process left beside the output (`media.writer`)."""
    if places.is_url(job.output):
        return
    sweep(Path(job.output), 0.0)


def _inputs(task: Task) -> list[list[Any]]:
    """Video and recording of a job, as they are written down, each with what changes when the file does. Raises `MediaError`."""
    return [[place, *places.size_of(place)] for place in task.job.arguments[task.job.arguments.index("--") + 1:]]


def _piece_names(number: int) -> tuple[str, str]:
    return f"{number:05d}.nut", f"{number:05d}.json"


class _Progress:
    """Words about a task, not too many."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        from ..types import Hooks

        self._tell, self._last = tell, 0.0
        self.hooks = Hooks(progress=self._say)

    def _say(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY and stage in SHARES:
            self._last = now
            begin, share = SHARES[stage]
            self._tell(begin + share * min(1.0, done / max(total, 1)))
