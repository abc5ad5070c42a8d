"""From a run to a file that the pipeline takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import CheckpointError
from ...generators.lipsyncnet import LipSyncNetConfig, build, checkpoint, preset
from . import state


def export(run: Path, output: Path, card: Mapping[str, str], *, half: bool = False) -> LipSyncNetConfig:
    """The averaged weights of a run's newest checkpoint as one safetensors file with config and card. Raises `CheckpointError`."""
    newest = run if (run / state.MARK).is_file() else state.latest(run)
    if newest is None:
        raise CheckpointError(f"There is no checkpoint in {run}: name the folder of a run.")
    tree = state.load(newest)
    settings = tree["settings"]
    config = preset(settings["preset"], size=settings["size"], references=settings["references"])
    network = build(config)
    network.load_state_dict({key.removeprefix("net."): value for key, value in tree["average"].items() if key.startswith("net.")})
    checkpoint.save(network, output, {"steps": str(tree["step"]), "seed": str(settings["seed"]), **card}, half=half)
    return config
