"""Where checkpoint files are kept."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import LipSyncError
from .catalogue import CATALOGUE

VARIABLE = "OPENLIPSYNC_MODELS"
ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".model")
"""File endings that checkpoints have."""
PACK = Path(__file__).parents[2]
"""The folder that this pack lies in."""


def models_folder(given: Path | str | None = None, pack: Path = PACK) -> Path:
    """`given`; else what OPENLIPSYNC_MODELS names; else `models/lipsync` of the ComfyUI whose custom_nodes `pack` lies in; else the one
    in the current folder. It need not exist."""
    if given is not None:
        return Path(given)
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    comfyui = pack.parent.parent
    home = comfyui if pack.parent.name == "custom_nodes" and (comfyui / "folder_paths.py").is_file() else Path()
    return home / "models" / "lipsync"


def find_restorer(name: str) -> str:
    """As `find_model`; looked for in `facerestore` of the model folder, and in ComfyUI's `models/facerestore_models` beside it, too."""
    folder = models_folder()
    places = (Path(name), folder / name, folder / "facerestore" / name, folder.parent / "facerestore_models" / name)
    return next((str(place) for place in places if place.is_file()), None) or _downloaded(name)


def find_model(name: str) -> str:
    """A file (or MuseTalk's folder) that is named without its place, or as `download` calls it, is looked for in the model folder;
    anything else stays as it is. Raises `LipSyncError` for a known model that is not there."""
    if not name or Path(name).exists():
        return name
    there = models_folder() / name
    return str(there) if there.exists() else _downloaded(name)


def _downloaded(name: str) -> str:
    model = next((model for model in CATALOGUE if model.name == name), None)
    if model is None:
        return name
    file = models_folder() / model.files[0].path
    if not file.is_file():
        raise LipSyncError(f"{model.title} is not in {models_folder()}: python -m lipsync_core download {name}.")
    return str(file)
