"""Any checkpoint -> safetensors: weights only, by the network's own names, with a card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, OutputError
from ..types import Hooks
from .brief import head_of
from .catalogue import by_hash
from .folder import models_folder
from .hashing import sha256_of
from .installed import Installed, inspect


@dataclass(frozen=True)
class Converted:
    """What was written."""

    output: Path
    recognised: str
    tensors: int
    before: int
    """Bytes."""
    after: int
    kept_whole: int
    """Tensors that `half` left in 32 bits, because their numbers don't fit into 16."""


def convert(file: Path, output: Path, *, half: bool = False, force: bool = False, hooks: Hooks | None = None) -> Converted:
    """Write the tensors of `file` to `output` (.safetensors): optimisers and prefixes such as `module.` are left behind.

    The metadata keep what a safetensors file said of itself, and get a card: source file, its SHA-256, architecture, licence and
    whether commercial use is allowed, as far as known. `half` stores float32 as float16. Raises `CheckpointError` for a source that
    is no checkpoint, `OutputError` for an output that exists (without `force`), is the source, or can't be written.
    """
    hooks = hooks or Hooks()
    _check(file, output, force)
    from ..generators.containers import read_tensors, write_tensors

    tensors = read_tensors(file)
    found = inspect(file, _name(file), False, hooks)
    tensors, kept = _prepare(tensors, half)
    metadata = _metadata(file, found, hooks)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(output, tensors, metadata)
    except OSError as error:
        raise OutputError(f"{output} can't be written ({error.strerror or error}): choose another place, or free some space.") from error
    return Converted(output, found.recognised, len(tensors), file.stat().st_size, output.stat().st_size, kept)


def _check(file: Path, output: Path, force: bool) -> None:
    if not file.is_file():
        raise CheckpointError(f"There is no file {file}: check the name of the checkpoint.")
    if output.suffix.lower() != ".safetensors":
        raise OutputError(f"{output} has another ending than .safetensors: name the output so.")
    if output.exists():
        if output.samefile(file):
            raise OutputError(f"{output} is the file that is read: choose another name for the output.")
        if not force:
            raise OutputError(f"{output} exists already: choose another name, or add --force to overwrite it.")


def _prepare(tensors: dict, half: bool) -> tuple[dict, int]:
    """Tensors that may be saved (contiguous, none sharing memory with another), and how many stay float32 in spite of `half`."""
    import torch

    result, seen, kept = {}, set(), 0
    for name, value in tensors.items():
        if half and value.dtype == torch.float32:
            small = value.half()
            if bool(torch.isfinite(small).all()) or not bool(torch.isfinite(value).all()):
                value = small
            else:
                kept += 1
        value = value.contiguous()
        pointer = value.untyped_storage().data_ptr()
        whole = value.untyped_storage().nbytes() == value.nbytes
        result[name] = value if whole and pointer not in seen else value.clone()
        seen.add(pointer)
    return result, kept


def _metadata(file: Path, found: Installed, hooks: Hooks) -> dict[str, str]:
    """The source's own, and the card. A card that is there already stays: it knows the first source."""
    old = {key: value for key, value in (head_of(file).metadata or {}).items() if isinstance(value, str)}
    sha256 = sha256_of(file, hooks)
    known = by_hash(sha256)
    card = {"source_file": file.name, "source_sha256": sha256, "source": known[0].title if known else "",
            "licence": found.licence, "commercial_use": found.commercial, "converted": "weights only, by OpenLipSync"}
    new = {f"card.{key}": value for key, value in card.items() if value}
    return {"format": "pt", "architecture": found.architecture or "not known"} | new | old


def _name(file: Path) -> str:
    """As `inspect` wants it: under the model folder where it lies there."""
    folder = models_folder()
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.as_posix()
