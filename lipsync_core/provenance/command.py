"""`python -m lipsync_core provenance`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..files import check_file
from ..types import Hooks

EXAMPLES = """examples:
  python -m lipsync_core provenance dubbed.mp4
  python -m lipsync_core provenance dubbed.mp4 --json
"""


def add_parser(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommand `provenance`."""
    parser = commands.add_parser("provenance", parents=[common], help="what a file says of how it was made", epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter,
                                 description="Read the marks in FILE: metadata, and C2PA content credentials. No mark does not say that "
                                 "nothing was altered.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Raises `MediaError` for what is no media file."""
    check_file(chosen.file, "file")
    from .reading import known_of

    known = known_of(chosen.file)
    if chosen.json:
        told = {"altered": known.altered, "source_type": known.source_type, "software": known.software, "comment": known.comment,
                "credentials": known.credentials, "state": known.state, "notes": known.notes}
        sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return
    for line in known.words():
        sys.stdout.write(line + "\n")
