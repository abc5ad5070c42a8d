"""From what a user names to a generator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import CheckpointError, LipSyncError
from ..types import Generator
from .architectures import Architecture, create_lipsyncnet, recognise

BUILT_IN = ("morph", "lipsyncnet", "morph-bands")
"""`lipsyncnet` is morph and the network that ships, which draws over it; `morph-bands` the first version's articulation, without a trained
model: the baseline of comparisons."""


def create_generator(name: str | Path = "morph", options: Mapping[str, str] | None = None) -> Generator:
    """A built-in generator by name, or the one that a checkpoint holds: a file, or MuseTalk's folder.

    `options` are the architecture's own: `OPTIONS` of the wav2lip and musetalk packages, `LIPSYNCNET_OPTIONS`; morph takes none.
    Raises `CheckpointError` (no such file, a file that is no checkpoint, or one whose tensors no generator here knows) and
    `LipSyncError` (an option that does not exist, or a value that is none of its).
    """
    options = dict(options or {})
    if str(name) == "lipsyncnet":
        from ..inference import WEIGHTS

        return create_lipsyncnet(WEIGHTS / "lipsyncnet.safetensors", options)
    if str(name) in BUILT_IN:
        if options:
            raise LipSyncError(f"{name} takes no options: leave out {', '.join(options)}.")
        from .morph import BandArticulation, MorphGenerator

        return MorphGenerator(BandArticulation() if str(name) == "morph-bands" else None)
    path = Path(name)
    if path.is_dir():
        return _from_folder(path, options)
    if not path.exists():
        raise CheckpointError(f"There is no generator {str(name)!r}: use 'morph' or 'lipsyncnet', or the path of a checkpoint file.")
    from .containers import tensor_shapes

    shapes = tensor_shapes(path)
    found = recognise(shapes)
    if isinstance(found, Architecture):
        return found.create(path, options)
    if found is not None:
        raise CheckpointError(f"{path} is {found.title}, {found.purpose}, and makes no faces: choose a generator's file, or 'morph'.")
    from .nearest import describe_unknown

    raise CheckpointError(f"{path} is {describe_unknown(shapes)}: use the built-in generator 'morph'.")


def parse_options(words: Iterable[str]) -> dict[str, str]:
    """['offset=40ms', 'reference=best'] -> {'offset': '40ms', 'reference': 'best'}. Raises `LipSyncError` for a word without '='."""
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise LipSyncError(f"{word!r} is no option of a generator: write KEY=VALUE, with no spaces around the sign.")
        options[key] = value
    return options


def _from_folder(path: Path, options: Mapping[str, str]) -> Generator:
    """MuseTalk is the one generator that is published as a folder."""
    from .musetalk.layout import UNET

    weights = [path / folder / file for folder in UNET.folders if folder != "." for file in UNET.weights]
    if (path / UNET.config).is_file() or any(file.is_file() for file in weights) or path.name.lower() in ("musetalk", "musetalkv15"):
        from .musetalk import create

        return create(path, options)
    raise CheckpointError(f"{path} is a folder: name the checkpoint file in it, or the built-in generator 'morph'.")
