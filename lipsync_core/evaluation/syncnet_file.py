"""SyncNet from its file: where that is looked for, and what is said without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..generators.architectures import recognise
from ..generators.containers import read_tensors
from ..models.folder import find_model, models_folder
from .syncnet_net import SyncNet

NAMES = ("syncnet_v2.model", "syncnet_v2.safetensors")
"""As published, and as `convert` writes it."""
PUBLISHED = "published by joonson/syncnet_python, MIT"
NO_FILE = "no SyncNet file"
COUNTER = "num_batches_tracked"
"""Only training needs it; networks saved before torch 0.4.1 have none."""


def find_syncnet(given: Path | str | None = None) -> Path | None:
    """The file to use: `given` (in the model folder, if it is a name alone), else the one in the model folder; None = there is none."""
    if given:
        return Path(find_model(str(given)))
    return next((file for name in NAMES if (file := models_folder() / name).is_file()), None)


def how_to_get_it() -> str:
    """One sentence for reports without the scores."""
    return (f"{NO_FILE}: LSE-C and LSE-D need SyncNet v2 ({PUBLISHED}); put {NAMES[0]} into {models_folder()}, by `python -m lipsync_core "
            f"download syncnet` or by hand, or name it with --syncnet.")


def load_syncnet(path: Path | str) -> SyncNet:
    """The network of a file, for inference, on the CPU in single precision. Nothing in the file is executed.

    Raises `CheckpointError` for a file that can't be read, or is of another network.
    """
    state = read_tensors(path)
    with torch.device("meta"):
        network = SyncNet()
    expected, given = _shapes(network.state_dict()), _shapes(state)
    wrong = next((name for name in (*expected, *given) if given.get(name) != expected.get(name) and not name.endswith(COUNTER)), None)
    if wrong:
        other = recognise(given)
        what = f"it is {other.title}" if other and other.name != "syncnet" else f"its tensors differ from {wrong} on"
        raise CheckpointError(f"{path} is no SyncNet v2 ({what}): use {NAMES[0]}, {PUBLISHED}.")
    tensors = {name: value.to(torch.float32, copy=True) for name, value in state.items() if not name.endswith(COUNTER)}
    counters = {name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith(COUNTER)}
    network.load_state_dict(tensors | counters, assign=True)
    return network.eval().requires_grad_(False)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
