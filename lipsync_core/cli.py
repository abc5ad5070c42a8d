"""The command line: `python -m lipsync_core dub VIDEO AUDIO -o OUT`, and what `--help` lists beside it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .analyze_command import add_parser as add_analyze
from .arguments import common_parent, faces_parent
from .batch.command import add_parser as add_batch
from .dub_command import EXAMPLES
from .dub_command import add_parser as add_dub
from .errors import LipSyncError
from .evaluation.command import add_parser as add_evaluate
from .models.command import add_parsers as add_models
from .provenance.command import add_parser as add_provenance
from .service.command import add_parser as add_serve
from .types import Hooks

UNITS = {"download": "MB", "check": "MB", "batch": "jobs", "check jobs": "jobs"}
"""What stages count, if not frames."""


class ProgressBar:
    """One line a stage on stderr: share, frames, frames a second, time left. Without a terminal, a line every 10 %."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.stage, self.begin, self.shown, self.open = "", 0.0, -1.0, False

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if stage != self.stage:
            self.finish()
            self.stage, self.begin, self.shown = stage, now, -1.0
        share = done / total if total else 0.0
        if self.terminal:
            if now - self.shown < 0.1 and done < total:
                return
            self.shown = now
            width = 28
            filled = round(width * share)
            line = f"\r{stage:9s} [{'#' * filled}{'.' * (width - filled)}] {100 * share:3.0f} % {self._numbers(done, total, now)}"
            sys.stderr.write(f"{line:<90s}")
            self.open = True
        elif share - max(self.shown, 0.0) >= 0.1 or (done == 1 and self.shown < 0) or (done == total and self.shown < 1):
            self.shown = share
            sys.stderr.write(f"{stage}: {100 * share:.0f} % {self._numbers(done, total, now)}\n")
        sys.stderr.flush()

    def _numbers(self, done: int, total: int, now: float) -> str:
        frames = f"{done}/{total or '?'} {UNITS.get(self.stage, 'frames')}"
        if now - self.begin < 0.2:                                    # too early to tell how fast it goes
            return frames
        rate = done / (now - self.begin)
        left = max(0, total - done) / max(rate, 1e-6)
        return f"{frames}, {rate:.1f} a second, {int(left) // 60}:{int(left) % 60:02d} left"

    def finish(self) -> None:
        if self.open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self.open = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 done, 1 an error said in one sentence, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")                      # file names in any script on any console
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "run"):
        parser.print_help()
        return 2
    logging.basicConfig(level=logging.DEBUG if chosen.debug else logging.ERROR, format="%(name)s: %(message)s")
    logging.getLogger("libav").setLevel(logging.ERROR if chosen.debug else logging.CRITICAL)
    bar = ProgressBar(chosen.quiet)

    def warn(sentence: str) -> None:
        bar.finish()
        sys.stderr.write(f"{sentence}\n")

    try:
        chosen.run(chosen, Hooks(progress=bar, warn=warn))
        bar.finish()
        return 0
    except LipSyncError as error:
        bar.finish()
        if chosen.debug:
            raise
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        bar.finish()
        sys.stderr.write(f"{getattr(chosen, 'stopped', 'stopped; nothing was written')}\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lipsync_core", description="Dub a video: a face says new speech, nothing "
                                     "else in the picture changes.", epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"OpenLipSync {__version__}")
    common, faces = common_parent(), faces_parent()
    commands = parser.add_subparsers(title="commands", metavar="{dub,batch,analyze,evaluate,serve,provenance,models,convert,download,demo}")
    add_dub(commands, [common, faces])
    add_batch(commands, common)
    add_analyze(commands, [common, faces])
    add_evaluate(commands, common)
    add_serve(commands, common)
    add_provenance(commands, common)
    add_models(commands, common)
    demo = commands.add_parser("demo", parents=[common], help="make a clip of a real face and dub it",
                               description="Make a short clip of a public-domain portrait, dub it with a sentence that ships with "
                                           "the package, and write clip, result and a contact sheet.")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="where to (default: demo)")
    demo.set_defaults(run=_demo)
    return parser


def _demo(chosen: argparse.Namespace, hooks: Hooks) -> None:
    from .demo import run_demo

    report, files = run_demo(chosen.output, hooks)
    print(f"{report.frames} frames, {report.dubbed} dubbed. Look at:")
    for file, what in zip(files, ("the clip that was made", "the clip, dubbed", "the mouth before (above) and after (below)")):
        print(f"  {file}: {what}")
