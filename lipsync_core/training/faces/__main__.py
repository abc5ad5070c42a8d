"""`python -m lipsync_core.training.faces`: teach and measure the built-in face models.

    label.py MEDIA LABELS --yunet FILE     (in the environment of requirements-label.txt)
    python -m lipsync_core.training.faces train LABELS --work FOLDER      both networks, written to lipsync_core/weights
    python -m lipsync_core.training.faces evaluate LABELS MEDIA
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import torch

from ...faces import create_backend
from ...inference import WEIGHTS
from .evaluate import evaluate, faceless, false_faces, table
from .export import export
from .fit import fit_detector, fit_landmarks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lipsync_core.training.faces", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="{train,evaluate}")
    train = commands.add_parser("train", help="teach the networks from labels")
    train.add_argument("labels", type=Path)
    train.add_argument("--work", type=Path, required=True, help="checkpoints go here")
    train.add_argument("--output", type=Path, default=WEIGHTS)
    train.add_argument("--only", choices=("detector", "landmarks"))
    train.add_argument("--minutes", type=float, nargs=2, default=(30, 60), metavar=("DETECTOR", "LANDMARKS"))
    train.add_argument("--quick", action="store_true", help="a few seconds each: proves that the recipe runs, teaches nothing")
    train.add_argument("--resume", action="store_true")
    train.add_argument("--device", default="cpu")
    train.set_defaults(run=_train)
    measure = commands.add_parser("evaluate", help="a table over the held-out people")
    measure.add_argument("labels", type=Path)
    measure.add_argument("media", type=Path)
    measure.add_argument("--backend", default="builtin")
    measure.add_argument("--stride", type=int, default=1, help="look at every Nth labelled frame")
    measure.add_argument("--json", type=Path)
    measure.set_defaults(run=_evaluate)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return chosen.run(chosen)


def _train(chosen: argparse.Namespace) -> int:
    chosen.work.mkdir(parents=True, exist_ok=True)
    chosen.output.mkdir(parents=True, exist_ok=True)
    minutes = (0.02, 0.02) if chosen.quick else chosen.minutes
    small = {"batch": 8} if chosen.quick else {}
    for name, fit, length in (("detector", fit_detector, minutes[0]), ("landmarks", fit_landmarks, minutes[1])):
        if chosen.only in (None, name):
            network = fit(chosen.labels, chosen.work / f"{name}.pt", length, resume=chosen.resume, device=chosen.device, **small)
            export(network, chosen.output / f"face_{name}.safetensors",
                   {"network": type(network).__name__, "minutes": f"{length:g}", "torch": torch.__version__})
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    backend = create_backend(chosen.backend)
    rows = evaluate(backend, chosen.labels, chosen.media, chosen.stride)
    wrong = false_faces(backend, faceless(chosen.labels))
    sys.stdout.write(f"{table(rows)}\nfalse faces a faceless picture: {wrong:.3f}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows, "false_faces": wrong}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
