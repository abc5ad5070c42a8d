"""What can be told of a file at a glance: by name, size and the head of a safetensors file. No tensor is read, torch is not needed."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ..generators.architectures import OTHERS
from ..generators.musetalk.layout import VAE, WHISPER
from .catalogue import COMMERCIAL, OTHER_FILES, RESTORERS, KnownModel, by_name, match, size_text

LARGEST_HEAD = 8 << 20
"""Bytes; the head of MuseTalk's UNet (686 tensors) has 80,000."""


@dataclass(frozen=True)
class Head:
    """The names in a safetensors file, and what it says of itself; empty for other files."""

    names: frozenset[str] = frozenset()
    metadata: dict[str, str] | None = None

    def card(self, key: str) -> str:
        return (self.metadata or {}).get(f"card.{key}", "")


def head_of(file: Path) -> Head:
    """Never raises: what is no safetensors file, or damaged, has an empty head."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            entries: Any = json.loads(opened.read(length)) if length <= LARGEST_HEAD else {}
    except (OSError, ValueError, struct.error):
        return Head()
    if not isinstance(entries, dict):
        return Head()
    metadata = entries.pop("__metadata__", {})
    return Head(frozenset(entries), metadata if isinstance(metadata, dict) else {})


def known(name: str, file: Path) -> KnownModel | None:
    """The public model that a file (under the model folder: `name`) is part of, by size and name."""
    try:
        found = match(name, file.stat().st_size)
    except OSError:
        return None
    return found[0] if found else None


def may_be_generator(name: str, file: Path) -> bool:
    """False for what is surely no generator: parts of MuseTalk beside its UNet, scorers, training's networks, face models, restorers."""
    path = PurePath(name)
    if may_be_restorer(name) or path.name.lower() in OTHER_FILES or path.parent.name.lower() in (*VAE.folders, *WHISPER.folders):
        return False
    model = known(name, file)
    if model is not None:
        return model.generator
    shapes = dict.fromkeys(head_of(file).names, ())
    return not any(other.detect(shapes) for other in OTHERS)


def may_be_restorer(name: str) -> bool:
    """Whether a file is called as face restorers are (`GFPGANv1.4.pth`, `codeformer-v0.1.0.pth`, `RestoreFormer.pth`)."""
    return any(word in PurePath(name).name.lower() for word in RESTORERS)


def describe(name: str, file: Path) -> str:
    """`wav2lip_gan.pth: 436 MB, Wav2Lip ..., NO commercial use`; what a file's own card says goes before what its size tells."""
    try:
        size = size_text(file.stat().st_size)
    except OSError:
        return f"{name}: gone"
    licence = head_of(file).card("licence")
    model = known(name, file)
    if licence:
        commercial = head_of(file).card("commercial_use")
        return ", ".join(filter(None, (f"{name}: {size}", f"licence: {licence}", COMMERCIAL.get(commercial, ""))))
    if model is None:
        word = next((word for word in RESTORERS if word in PurePath(name).name.lower()), None)
        if word is None:
            return f"{name}: {size}, licence not known"
        model = by_name(word)
        return f"{name}: {size}, by its name {model.title}: as published {COMMERCIAL[model.commercial]} ({model.licence})"
    return f"{name}: {size}, {model.title}, {COMMERCIAL[model.commercial]} ({model.licence})"
