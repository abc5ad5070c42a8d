"""A process that dubs one job after the other."""

from __future__ import annotations

import os
import signal
import time
import traceback
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

EVERY = 0.5
"""Seconds between two words about progress."""
SHARES = {"analyse": (0.0, 0.3), "generate": (0.3, 0.7)}
"""Where in a job a stage begins, and how much of it it is."""


def main(pipe: Connection, threads: int) -> None:
    """Answers ("progress", share), then ("ended", status, error, report) to every (arguments, output, force); None ends it. Status: 'done',
    'failed' (again it would be the same), 'again' (it may pass)."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    # Ctrl-C reaches every process of a terminal: the pool decides, and asks with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    try:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        kept: dict[Any, Any] = {}
        while (task := pipe.recv()) is not None:
            pipe.send(("ended", *_done(*task, pipe, kept)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass                                                          # the pool has gone, or wants no more


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _done(arguments: tuple[str, ...], output: str, force: bool, pipe: Connection, kept: dict[Any, Any]) -> tuple[str, str, dict | None]:
    from ..dub_command import options_of
    from ..dubbing import dub
    from ..errors import LipSyncError
    from ..types import Hooks
    from .jobs import dub_parser

    last = [0.0]

    def progress(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= EVERY and stage in SHARES:
            last[0] = now
            begin, share = SHARES[stage]
            pipe.send(("progress", begin + share * min(1.0, done / max(total, 1))))

    try:
        chosen = dub_parser().parse_args(["-o", output, *(["--force"] if force else []), *arguments])
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        report = dub(chosen.video, chosen.audio, chosen.output, _kept(options_of(chosen), kept), hooks=Hooks(progress=progress))
        return "done", "", report.as_dict()
    except LipSyncError as error:
        return "failed", str(error), None
    except MemoryError:
        return "again", "There was not enough memory.", None
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 - a job never takes the others with it; the manifest has it all
        if "out of memory" in str(error).lower():                     # torch's
            return "again", f"There was not enough memory: {error}", None
        return "failed", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}", None


def _kept(options: Any, kept: dict[Any, Any]) -> Any:
    """The same options with the generator and the face models that the last such job had: a network is loaded once."""
    from dataclasses import replace

    from ..dubbing import generator_of

    key = (str(options.generator), tuple(sorted(options.generator_options.items())), str(options.restore), options.restore_strength)
    if kept.get("generator") != key:
        kept["generator"], kept["made"] = key, generator_of(options)
    faces = (options.backend, options.device)
    if kept.get("faces") != faces:
        kept["faces"], kept["backend"] = faces, options.faces().create()
    return replace(options, generator=kept["made"], generator_options={}, restore=None, backend=kept["backend"])
