"""What lies in the model folder, and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from ..types import Hooks
from .brief import head_of
from .catalogue import CATALOGUE, COMMERCIAL, by_hash, match
from .folder import ENDINGS
from .hashing import sha256_of


@dataclass(frozen=True)
class Installed:
    """One file."""

    file: Path
    name: str
    """Under the model folder, `/` between parts."""
    size: int
    """Bytes."""
    recognised: str
    """The network, or why there is none."""
    architecture: str
    """Its name in `generators.architectures`; empty for what is not known."""
    generator: bool
    licence: str
    commercial: str
    """`yes`, `no` or `unclear`."""
    identity: str
    """Which public file it is, and how that is known."""
    verified: bool
    """Whether its SHA-256 is a published one."""


def installed(folder: Path, verify: bool = False, hooks: Hooks | None = None) -> Iterator[Installed]:
    """The checkpoints in a folder and its folders, by name; `verify` computes their SHA-256. Files that can't be read are told, not
    raised."""
    hooks = hooks or Hooks()
    files = (file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()) if folder.is_dir() else ()
    for file in sorted(files):
        hooks.check_interrupt()
        yield inspect(file, file.relative_to(folder).as_posix(), verify, hooks)


def inspect(file: Path, name: str, verify: bool, hooks: Hooks) -> Installed:
    """One file, recognised by its tensors."""
    try:
        size = file.stat().st_size
        sha256 = sha256_of(file, hooks) if verify else ""
    except OSError as error:
        return Installed(file, name, 0, f"can't be read ({error.strerror})", "", False, "not known", "unclear", "", False)
    head, found = head_of(file), by_hash(sha256) or match(name, size)
    recognised, generator, architecture = _recognise(file)
    model = found[0] if found else None
    if head.card("licence"):
        licence, commercial = head.card("licence"), head.card("commercial_use")
    elif model:
        licence, commercial = model.licence, model.commercial
    else:
        licence, commercial = _usual_licence(architecture), "unclear"
    commercial = commercial if commercial in COMMERCIAL else "unclear"
    return Installed(file, name, size, recognised, architecture, generator, licence, commercial,
                     _identity(name, size, sha256, head.card("source_file")), by_hash(sha256) is not None)


def _recognise(file: Path) -> tuple[str, bool, str]:
    """In words, whether it is a generator, and the architecture's name."""
    from ..generators.architectures import Architecture, recognise
    from ..generators.containers import tensor_shapes
    from ..generators.nearest import describe_unknown

    try:
        shapes = tensor_shapes(file)
    except CheckpointError:
        return "no checkpoint that can be read safely", False, ""
    found = recognise(shapes)
    if found is None:
        return describe_unknown(shapes), False, ""
    if isinstance(found, Architecture):
        return found.title, True, found.name
    return f"{found.title}, {found.purpose}", False, found.name


def _usual_licence(architecture: str) -> str:
    published = next((model.licence for model in CATALOGUE if model.architecture == architecture), "")
    return f"not known; of the published files of this kind: {published}" if published else "not known"


def _identity(name: str, size: int, sha256: str, source: str) -> str:
    """What the hash says, else what size and name say."""
    if sha256 and (found := by_hash(sha256)):
        return f"{found[1].name} as published (SHA-256 is the known one)"
    told = f"; converted from {source} by its card" if source else ""
    if sha256:
        found = match(name, size)
        if found and found[1].sha256:
            return f"NOT the published {found[1].name}, although as long (SHA-256 {sha256}){told}"
        return f"hash not known (SHA-256 {sha256}){told}"
    found = match(name, size)
    if not found:
        return f"hash not known{told}"
    if found[1].sha256:
        return f"as long as the published {found[1].name}; --verify compares its SHA-256{told}"
    return f"{found[1].name} by name and size; the published hash is not known{told}"
