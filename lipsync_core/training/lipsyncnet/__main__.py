"""`python -m lipsync_core.training.lipsyncnet`: from clips to a network that draws what a warp can't know.

    python -m lipsync_core.training.lipsyncnet pack MEDIA -o build/pack
    python -m lipsync_core.training.lipsyncnet fit build/pack -o runs/lipsyncnet --minutes 60
    python -m lipsync_core.training.lipsyncnet evaluate build/pack runs/lipsyncnet/lipsyncnet.safetensors --sheet sheet.png
    python -m lipsync_core.training.lipsyncnet export runs/lipsyncnet/lipsyncnet.safetensors -o mine.safetensors --card licence=CC0-1.0

On many GPUs or machines: `accelerate launch [--use_fsdp ...] -m lipsync_core.training.lipsyncnet fit ...`.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from ...errors import LipSyncError
from ...generators.lipsyncnet import PRESETS
from .export import CARD
from .settings import PRECISIONS, Settings


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 done, 1 an error said in one sentence, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_core.training.lipsyncnet", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pack = commands.add_parser("pack", help="pairs of frames of every clip in a folder like ../shared/media")
    pack.add_argument("media", type=Path)
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    pack.add_argument("--side", type=int, default=128, help="of the pictures, pixels (128; 256 for the larger presets)")
    pack.add_argument("--pairs", type=int, default=70, metavar="N",
                      help="of each clip that teaches, at most (70, which fits a GPU visit; more take more frames of each clip)")
    pack.set_defaults(run=_pack)
    fit = commands.add_parser("fit", help="teach a network; goes on where the run in the folder stopped")
    fit.add_argument("pack", type=Path)
    fit.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    fit.add_argument("--cpu", action="store_true", help="although there is a GPU")
    helps = {"size": "side of the pictures; 0: the preset's", "steps": "the rate falls with steps instead of the time",
             "patience": "stop after so many held-out measures without a better one; 0: never", "minutes": "of this call"}
    for field in dataclasses.fields(Settings):
        choices = {"preset": tuple(PRESETS), "precision": PRECISIONS}.get(field.name)
        fit.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default, choices=choices,
                         help=f"{helps.get(field.name, '')} ({field.default})".strip())
    fit.set_defaults(run=_fit)
    evaluate = commands.add_parser("evaluate", help="the network beside the warp alone, on people who were never taught")
    evaluate.add_argument("pack", type=Path)
    evaluate.add_argument("weights", type=Path)
    evaluate.add_argument("--split", choices=("held_out", "repaired"), default="held_out",
                          help="repaired: frames warped to other lips and back, which differ from the truth by what a warp does alone")
    evaluate.add_argument("--sheet", type=Path, metavar="PNG", help="warp, network and truth side by side")
    _add_use(evaluate)
    evaluate.set_defaults(run=_evaluate)
    export = commands.add_parser("export", help="weights in half precision, with the words of their card")
    export.add_argument("weights", type=Path)
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    export.add_argument("--card", action="append", default=[], metavar="KEY=TEXT", help=f"KEY is one of {', '.join(CARD)}")
    _add_use(export)
    export.set_defaults(run=_export)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        chosen.run(chosen)
    except LipSyncError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _add_use(parser: argparse.ArgumentParser) -> None:
    """How weights are used, which training does not decide."""
    parser.add_argument("--soft", type=float, metavar="PIXELS", help="another Gaussian than the weights ask for; 0: all that they draw")
    parser.add_argument("--contrast", type=float, metavar="TIMES", help="another contrast of open mouths; 1: as drawn")


def _changes(chosen: argparse.Namespace) -> dict[str, float]:
    return {name: value for name in ("soft", "contrast") if (value := getattr(chosen, name)) is not None}


def _pack(chosen: argparse.Namespace) -> None:
    from .pack import pack

    counts = pack(chosen.media, chosen.output, chosen.side, chosen.pairs)
    size = sum(file.stat().st_size for file in chosen.output.glob("*.npz"))
    sys.stdout.write(f"{chosen.output}: {counts['taught']} pairs to teach, {counts['held_out']} + {counts['repaired']} of people held out, "
                     f"{size / 1e6:.0f} MB\n")


def _fit(chosen: argparse.Namespace) -> None:
    settings = Settings(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(Settings)})
    from .loop import Trainer

    Trainer(settings, chosen.pack, chosen.output, cpu=chosen.cpu).fit()


def _evaluate(chosen: argparse.Namespace) -> None:
    from ...generators.lipsyncnet import checkpoint
    from .evaluate import evaluate

    network = checkpoint.load(chosen.weights)
    network.config = dataclasses.replace(network.config, **_changes(chosen))
    found = evaluate(chosen.pack, network, chosen.sheet, chosen.split)
    for key in found["warp"]:
        values = {name: found[name][key] for name in found}
        sys.stdout.write(f"{key:14}" + "".join(f"{name} {value:8.3f}   " for name, value in values.items()) + "\n")


def _export(chosen: argparse.Namespace) -> None:
    from .export import export

    card = dict(word.partition("=")[::2] for word in chosen.card)
    if unknown := sorted(set(card) - set(CARD)):
        raise LipSyncError(f"{unknown[0]!r} is nothing that a card tells: use {', '.join(CARD)}.")
    export(chosen.weights, chosen.output, card, **_changes(chosen))


if __name__ == "__main__":
    sys.exit(main())
