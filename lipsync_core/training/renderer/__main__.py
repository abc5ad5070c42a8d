"""`python -m lipsync_core.training.renderer`: from clips to a network that draws what a warp can't know.

    python -m lipsync_core.training.renderer pack MEDIA -o build/pack
    python -m lipsync_core.training.renderer fit build/pack -o runs/renderer --minutes 60
    python -m lipsync_core.training.renderer evaluate build/pack runs/renderer/renderer.safetensors --sheet sheet.png
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from ...errors import LipSyncError
from .network import PRESETS


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 done, 1 an error said in one sentence, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_core.training.renderer", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pack = commands.add_parser("pack", help="pairs of frames of every clip in a folder like ../shared/media")
    pack.add_argument("media", type=Path)
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    pack.set_defaults(run=_pack)
    fit = commands.add_parser("fit", help="teach a network; goes on where the run in the folder stopped")
    fit.add_argument("pack", type=Path)
    fit.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    fit.add_argument("--preset", default="tiny", choices=tuple(PRESETS))
    fit.add_argument("--minutes", type=float, default=60.0)
    fit.add_argument("--batch", type=int, default=8)
    fit.add_argument("--seed", type=int, default=0)
    fit.add_argument("--device", default="cpu")
    fit.set_defaults(run=_fit)
    evaluate = commands.add_parser("evaluate", help="the network beside the warp alone, on people who were never taught")
    evaluate.add_argument("pack", type=Path)
    evaluate.add_argument("weights", type=Path)
    evaluate.add_argument("--preset", default="tiny", choices=tuple(PRESETS))
    evaluate.add_argument("--sheet", type=Path, metavar="PNG", help="warp, network and truth side by side")
    evaluate.set_defaults(run=_evaluate)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        chosen.run(chosen)
    except LipSyncError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _pack(chosen: argparse.Namespace) -> None:
    from .pack import pack

    counts = pack(chosen.media, chosen.output)
    size = sum(file.stat().st_size for file in chosen.output.glob("*.npz"))
    sys.stdout.write(f"{chosen.output}: {counts['taught']} pairs to teach, {counts['held_out']} of people held out, {size / 1e6:.0f} MB\n")


def _fit(chosen: argparse.Namespace) -> None:
    from .fit import Settings, fit

    fit(chosen.pack, chosen.output, Settings(chosen.preset, chosen.batch, minutes=chosen.minutes, seed=chosen.seed, device=chosen.device))


def _evaluate(chosen: argparse.Namespace) -> None:
    from .evaluate import evaluate
    from .fit import load

    found = evaluate(chosen.pack, load(chosen.weights, chosen.preset), chosen.sheet)
    for name, values in found.items():
        sys.stdout.write(f"{name:8} {json.dumps({key: round(value, 3) for key, value in values.items()})}\n")


if __name__ == "__main__":
    sys.exit(main())
