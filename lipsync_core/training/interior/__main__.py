"""`python -m lipsync_core.training.interior`: teach and measure the built-in inner mouth.

    python -m lipsync_core.training.articulation.label MEDIA TRACKS --yunet FILE    (environment of requirements-label.txt)
    python -m lipsync_core.training.interior.label MEDIA TRACKS --yunet FILE        (the same)
    python -m lipsync_core.training.interior prepare MEDIA TRACKS DATA
    python -m lipsync_core.training.interior train DATA --course FILE --minutes 25
    python -m lipsync_core.training.interior export COURSE --whose NAME             another mouth out of the same course
    python -m lipsync_core.training.interior evaluate DATA
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import torch

from ...generators.morph.interior_net import WEIGHTS_FILE
from ...inference import WEIGHTS
from .data import load_samples, prepare
from .evaluate import evaluate, table
from .export import export, network_of
from .fit import fit

WHOSE = "0.5*StyleHEAT__40+0.5*cognitive-services-sample-data-files__Family1-Dad"
"""Chosen by eye among some twenty: teeth with edges, dark corners and depth; nobody's own mouth."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lipsync_core.training.interior", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="{prepare,train,export,evaluate}")
    get = commands.add_parser("prepare", help="open mouths out of clips, stills and their tracks")
    get.add_argument("media", type=Path)
    get.add_argument("tracks", type=Path)
    get.add_argument("data", type=Path, help="an .npz to be written")
    get.add_argument("--limit", type=int, help="files of each folder at the most")
    get.set_defaults(run=_prepare)
    train = commands.add_parser("train", help="teach the network, write its weights")
    train.add_argument("data", type=Path)
    train.add_argument("--course", type=Path, required=True, help="everything learned goes here, everybody's codes too")
    train.add_argument("--minutes", type=float, default=25)
    train.add_argument("--quick", action="store_true", help="a few seconds: proves that the recipe runs, teaches nothing")
    train.add_argument("--threads", type=int, default=1)
    write = commands.add_parser("export", help="write the weights of a course")
    write.add_argument("course", type=Path)
    for command, run in ((train, _train), (write, _export)):
        command.add_argument("--whose", default=WHOSE, help="whose mouth it shows: NAME, or 0.6*NAME+0.4*OTHER")
        command.add_argument("--output", type=Path, default=WEIGHTS / WEIGHTS_FILE)
        command.set_defaults(run=run)
    look = commands.add_parser("evaluate", help="learned against drawn on held-out people")
    look.add_argument("data", type=Path)
    look.add_argument("--json", type=Path)
    look.set_defaults(run=_evaluate)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return chosen.run(chosen)


def _prepare(chosen: argparse.Namespace) -> int:
    count = prepare(chosen.media, chosen.tracks, chosen.data, chosen.limit)
    sys.stdout.write(f"{count} open mouths in {chosen.data}\n")
    return 0 if count else 1


def _train(chosen: argparse.Namespace) -> int:
    torch.set_num_threads(chosen.threads)
    samples = load_samples(chosen.data, taught=True)
    minutes = 0.03 if chosen.quick else chosen.minutes
    fit(samples, chosen.course, minutes, **({"batch": 4} if chosen.quick else {}))
    if chosen.quick:
        chosen.whose = samples.who[0]
    return _export(chosen)


def _export(chosen: argparse.Namespace) -> int:
    export(network_of(chosen.course, chosen.whose), chosen.output,
           {"network": "InteriorNet", "whose": chosen.whose, "torch": torch.__version__})
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    rows = evaluate(chosen.data)
    sys.stdout.write(table(rows) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
