"""From what a user names to a generator."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from ..types import Generator

BUILT_IN = ("morph", "morph-bands")
"""`morph-bands` is the first version's articulation, without a trained model: the baseline of comparisons."""


def create_generator(name: str | Path = "morph") -> Generator:
    """A built-in generator by name, or the one that a checkpoint file holds.

    Raises `CheckpointError`: no such file, a file that is no checkpoint, or one whose tensors no generator here knows.
    """
    if str(name) in BUILT_IN:
        from .morph import BandArticulation, MorphGenerator

        return MorphGenerator(BandArticulation() if str(name) == "morph-bands" else None)
    path = Path(name)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: name the checkpoint file in it, or the built-in generator 'morph'.")
    if not path.exists():
        raise CheckpointError(f"There is no generator {str(name)!r}: use 'morph', or the path of a checkpoint file.")
    keys = tensor_names(path)
    from .lipsyncnet import checkpoint

    if path.suffix.lower() == ".safetensors" and checkpoint.detect(keys):
        from .lipsyncnet.generator import LipSyncNetGenerator

        return LipSyncNetGenerator(checkpoint.load(path))
    raise CheckpointError(f"{path} is a checkpoint of a network that this version does not know (it begins with "
                          f"{', '.join(keys[:3])}): use the built-in generator 'morph'.")


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors or torch file, nothing executed. Raises `CheckpointError` if it is neither."""
    import pickle

    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return sorted(file.keys())
    except (SafetensorError, OSError):
        pass
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a checkpoint that can be read safely: use a .safetensors file, or a .pth/.pt of "
                              f"tensors only.") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    names = sorted(key for key, value in state.items() if isinstance(value, torch.Tensor)) if isinstance(state, dict) else []
    if not names:
        raise CheckpointError(f"{path} holds no tensors by name, so it is not a generator's checkpoint.")
    return names
