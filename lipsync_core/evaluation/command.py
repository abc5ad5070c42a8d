"""`python -m lipsync_core evaluate`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import LipSyncError, OutputError
from ..types import Hooks

EXAMPLES = """examples:
  python -m lipsync_core evaluate dubbed.mp4 --source clip.mp4 --html report.html
  python -m lipsync_core evaluate own_voice.mkv --source clip.mp4 --truth clip.mp4 -o report.json
  python -m lipsync_core evaluate ours.mp4 --compare theirs.mp4 old.mp4 --source clip.mp4 --audio speech.wav --html side_by_side.html
"""


def add_parser(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommand `evaluate`; `common` brings --quiet and --debug."""
    parser = commands.add_parser("evaluate", parents=[common], help="measure a dubbed clip", epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter,
                                 description="Measure a dubbed clip: mouth against sound and truth, and pixels against the source.")
    parser.add_argument("dubbed", type=Path, metavar="DUBBED", help="the clip to measure; its own sound drives, if --audio is left out")
    parser.add_argument("--source", type=Path, metavar="SRC", help="the clip that was dubbed: for sharpness, seam, flicker, colour, what "
                        "is left over of its mouth, and what changed outside")
    parser.add_argument("--truth", type=Path, metavar="TRUE", help="the clip in which that person really says the words: for "
                        "correlation, lag and closures (for a clip dubbed with its own sound the same file as --source)")
    parser.add_argument("--audio", type=Path, metavar="WAV", help="the sound that drives the mouth, from the first frame on")
    parser.add_argument("--landmarks", default="builtin", metavar="MODEL", help="'builtin' (default; the generator uses it too, so read "
                        "with care), 'face-alignment', or the path of a Python interpreter that has mediapipe")
    parser.add_argument("--source-start", type=float, default=0.0, metavar="SEC", help="this much of the source was skipped (dub --start)")
    parser.add_argument("--face", default="largest", metavar="WHO", help="who was dubbed, as in dub --face (default: largest)")
    parser.add_argument("--syncnet", type=Path, metavar="FILE", help="syncnet_v2.model, for LSE-C, LSE-D and the offset (default: the one "
                        "in the model folder; `python -m lipsync_core download syncnet` gets it)")
    parser.add_argument("--compare", type=Path, nargs="+", default=[], metavar="CLIP", help="more dubs of the same source, side by side")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="write everything as JSON")
    parser.add_argument("--html", type=Path, metavar="HTML", help="write a page with plots and pictures")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Evaluate, write what was asked for, and show the table."""
    from ..faces import parse_face_rule
    from .report import table
    from .run import evaluate_several

    if chosen.source_start < 0:
        raise LipSyncError("--source-start can't be negative: give the seconds of the source that were skipped.")
    inputs = [chosen.dubbed, *chosen.compare, *(f for f in (chosen.source, chosen.truth, chosen.audio, chosen.syncnet) if f)]
    for target in (chosen.output, chosen.html):
        _check_target(target, inputs)
    try:
        face = parse_face_rule(chosen.face)
    except ValueError as error:
        raise LipSyncError(str(error)) from error
    results = evaluate_several([chosen.dubbed, *chosen.compare], chosen.source, chosen.truth, chosen.audio, chosen.landmarks,
                               source_start=chosen.source_start, face=face, syncnet=chosen.syncnet, hooks=hooks)
    if chosen.output:
        content = results[0].as_dict() if len(results) == 1 else {"format": results[0].as_dict()["format"],
                                                                  "clips": [result.as_dict() for result in results]}
        _write(chosen.output, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if chosen.html:
        from .html import page

        _write(chosen.html, page(results))
    if sys.stderr.isatty():
        sys.stderr.write("\n")                                        # the bar's line ends before the table begins
    sys.stdout.write(table(results) + "\n")


def _check_target(target: Path | None, inputs: list[Path]) -> None:
    """What can't be written is said before the minutes of work."""
    if target is None:
        return
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise OutputError(f"{target} can't be written: it is a folder, or its folder does not exist; choose another name.")
    if any(target.exists() and file.exists() and target.samefile(file) for file in inputs):
        raise OutputError(f"{target} is one of the inputs: choose another name for the report.")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{file} can't be written ({error.strerror}): choose another place.") from error
