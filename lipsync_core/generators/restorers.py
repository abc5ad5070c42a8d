"""Face restorers from files: GFPGAN, CodeFormer and RestoreFormer, whose networks the library spandrel has.

spandrel is optional (every ComfyUI has it), CodeFormer needs spandrel_extra_arches beside it. Files are read by `containers`, which
executes nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, LipSyncError
from ..types import Generator
from .architectures import recognise
from .containers import read_tensors
from .restored import RestoredGenerator, Restorer

ARGUMENTS: dict[str, dict[str, Any]] = {
    "gfpgan": {"randomize_noise": False},                   # noise of its own for every picture would flicker
    "codeformer": {"weight": 0.5},                          # the authors' fidelity weight w: 0 = finest, 1 = truest to what is shown
    "restoreformer": {},
}
"""What the networks are told, by architecture."""


class SpandrelRestorer:
    """See `restored.Restorer`. `network` stays where it is; a host may move it between calls.

    The networks are called without spandrel's descriptors: those give GFPGAN and CodeFormer 0..1, where their authors give all three -1..1.
    """

    def __init__(self, name: str, network: torch.nn.Module, architecture: str) -> None:
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self._arguments = ARGUMENTS[architecture]

    def __call__(self, faces: Tensor) -> Tensor:
        with torch.inference_mode():
            like = next(self.network.parameters())
            made = self.network(faces.to(like.device, like.dtype) * 2 - 1, **self._arguments)[0]
            return made.float().add(1).div(2).clamp(0, 1).cpu()


def load_restorer(path: str | Path, device: str | torch.device = "cpu") -> SpandrelRestorer:
    """The restorer in a file, float32.

    Raises `CheckpointError` for a file that is missing, damaged or none of the three, `LipSyncError` where the library is absent.
    """
    state = read_tensors(path)
    found = recognise({name: tuple(tensor.shape) for name, tensor in state.items()})
    if found is None or found.name not in ARGUMENTS:
        what = f"{found.title}" if found else "of a network that is none of them"
        raise CheckpointError(f"{path} is {what}: choose a file of GFPGAN, CodeFormer or RestoreFormer as the restorer.")
    spandrel = _library("spandrel", "A face restorer", "leave the restorer out")
    registry = spandrel.MAIN_REGISTRY
    if found.name == "codeformer":
        registry = _library("spandrel_extra_arches", "CodeFormer", "choose GFPGAN (CodeFormer's licence is non-commercial)").EXTRA_REGISTRY
    try:
        network = registry.load(state).model
    except (spandrel.UnsupportedModelError, RuntimeError, LookupError, ValueError) as error:      # tensors are missing, or of other sizes
        raise CheckpointError(f"{path} is a {found.title} that spandrel can't load: use the published file (download {found.name}).") \
            from error
    return SpandrelRestorer(found.name, network.to(device, torch.float32), found.name)


def with_restorer(generator: Generator, restorer: str | Path | Restorer, strength: float) -> RestoredGenerator:
    """`generator`, its faces restored by a file or by what is loaded already; a file's network goes where the generator's is."""
    if isinstance(restorer, (str, Path)):
        network = getattr(generator, "network", None)
        parameter = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
        restorer = load_restorer(restorer, "cpu" if parameter is None else parameter.device)
    return RestoredGenerator(generator, restorer, strength)


def _library(name: str, who: str, instead: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LipSyncError(f"{who} needs the library {name}, which can't be imported ({error}): pip install {name}, or {instead}.") \
            from error
