"""`python -m lipsync_core.training.lipsyncnet`: from folders of videos to a network that `dub --generator` takes."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from ...errors import LipSyncError
from . import prepare, supplement

EXAMPLES = """examples:
  python -m lipsync_core.training.lipsyncnet prepare videos/ -o shards/
  python -m lipsync_core.training.lipsyncnet expert shards/ -o runs/expert.safetensors --minutes 60
  python -m lipsync_core.training.lipsyncnet generator shards/ -o runs/base --config base --expert runs/expert.safetensors
  accelerate launch --multi_gpu -m lipsync_core.training.lipsyncnet generator shards/ -o runs/large --config large
  python -m lipsync_core.training.lipsyncnet export runs/base -o base.safetensors --half --licence CC-BY-4.0
"""


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 done, 1 an error said in one sentence, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_core.training.lipsyncnet", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(title="commands", required=True)
    prepare.add_prepare(commands)
    supplement.add_supplement(commands)

    expert = commands.add_parser("expert", help="teach the sync expert")
    expert.add_argument("shards", type=Path)
    expert.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    expert.add_argument("--width", default="tiny", choices=("tiny", "base"))
    expert.add_argument("--minutes", type=float, default=20.0)
    expert.add_argument("--steps", type=int, help="instead of --minutes")
    expert.add_argument("--seed", type=int, default=0)
    expert.add_argument("--device", default="cpu")
    expert.set_defaults(run=_expert)

    generator = commands.add_parser("generator", help="teach LipSyncNet; goes on where the run in the folder stopped")
    generator.add_argument("shards", type=Path)
    generator.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    generator.add_argument("--config", default="base", help="tiny, base, large, or a .yml file (default base)")
    generator.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="overrides", help="such as batch=8 weights.sync=0.3")
    generator.add_argument("--expert", type=Path, help="the sync expert's file; without it nobody judges the timing")
    generator.add_argument("--vgg", type=Path, help="torchvision's VGG-16 for the perceptual loss; without it fixed random features serve")
    generator.add_argument("--time-limit", type=float, metavar="MIN", help="stop after so many minutes, leaving a checkpoint")
    generator.add_argument("--more-steps", type=int, metavar="N", help="stop after N more steps, leaving a checkpoint")
    generator.add_argument("--cpu", action="store_true", help="don't use a GPU")
    generator.set_defaults(run=_generator)

    export = commands.add_parser("export", help="write the averaged weights as one file for `dub --generator`")
    export.add_argument("run_folder", type=Path, metavar="RUN")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    export.add_argument("--half", action="store_true", help="half precision: half the size")
    export.add_argument("--licence", default="not stated", metavar="TEXT",
                        help="what others may do with the file; `models` and ComfyUI show it")
    export.add_argument("--commercial-use", choices=["yes", "no", "unclear"], default="unclear",
                        help="whether that may be commercial; data that forbid it make it `no` (default: unclear)")
    export.add_argument("--card", nargs="+", default=[], metavar="KEY=TEXT", help="what else people should know, such as data=…")
    export.set_defaults(run=_export)

    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        chosen.run(chosen)
    except LipSyncError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _expert(chosen: argparse.Namespace) -> None:
    from .expert_fit import run

    found = run(chosen.shards, chosen.output, minutes=chosen.minutes, steps=chosen.steps, width=chosen.width, seed=chosen.seed,
                device=chosen.device)
    sys.stdout.write(json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1) + "\n")


def _generator(chosen: argparse.Namespace) -> None:
    from .loop import Trainer
    from .settings import read
    from .sync_expert import load_expert

    trainer = Trainer(read(chosen.config, chosen.overrides), chosen.shards, chosen.output, cpu=chosen.cpu, perceptual=chosen.vgg,
                      expert=load_expert(chosen.expert) if chosen.expert else None)
    trainer.fit(minutes=chosen.time_limit, steps=chosen.more_steps)
    trainer.evaluate()


def _export(chosen: argparse.Namespace) -> None:
    from .export import export

    card = {"licence": chosen.licence, "commercial_use": chosen.commercial_use} | dict(text.partition("=")[::2] for text in chosen.card)
    config = export(chosen.run_folder, chosen.output, card, half=chosen.half)
    sys.stdout.write(f"{chosen.output}: {config.size} px, {chosen.output.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    sys.exit(main())
