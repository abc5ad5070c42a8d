"""Checkpoints of a training: safetensors and JSON, written whole or not at all, in pieces where wanted; nothing is unpickled."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import CheckpointError

MARK = "checkpoint.json"
"""Written last: a folder without it is not a checkpoint."""


def flatten(tree: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Nested dicts -> tensors and other values by their path."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            inner_tensors, inner_values = flatten(value, path)
            tensors |= inner_tensors
            values |= inner_values
            if not value:
                values[path] = {}
        elif isinstance(value, Tensor):
            tensors[path] = value.detach().cpu().contiguous()
        else:
            values[path] = value
    return tensors, values


def unflatten(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse; keys are strings."""
    tree: dict[str, Any] = {}
    for path, value in entries.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def save(folder: Path, tree: Mapping[str, Any], *, piece_mb: float = 0.0) -> None:
    """Write `tree` into a folder of that name. Tensors go to files of at most `piece_mb` (0: one file); large ones are cut."""
    tensors, values = flatten(tree)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir(parents=True)
    try:
        files = []
        for number, piece in enumerate(_pieces(tensors, int(piece_mb * 1e6))):
            name = f"state-{number:05d}.safetensors"
            save_file(piece, str(partial / name))
            files.append(name)
        (partial / MARK).write_text(json.dumps({"format": 1, "files": files, "values": values}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pieces(tensors: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    if not limit:
        return [tensors]
    pieces: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        bytes_ = tensor.numel() * tensor.element_size()
        parts = [(key, tensor)]
        if bytes_ > limit:
            count = -(-bytes_ // limit)
            flat = tensor.reshape(-1)
            parts = [(f"{key}#{i}", chunk.clone()) for i, chunk in enumerate(flat.chunk(count))]
            parts.append((f"{key}#shape", torch.tensor(tensor.shape, dtype=torch.int64)))
        for name, part in parts:
            more = part.numel() * part.element_size()
            if size + more > limit and pieces[-1]:
                pieces.append({})
                size = 0
            pieces[-1][name] = part
            size += more
    return pieces


def load(folder: Path) -> dict[str, Any]:
    """The tree of a folder that `save` wrote. Raises `CheckpointError`."""
    mark = folder / MARK
    if not mark.is_file():
        raise CheckpointError(f"{folder} is no checkpoint of a training: there is no {MARK} in it.")
    described = json.loads(mark.read_text(encoding="utf-8"))
    entries: dict[str, Any] = dict(described["values"])
    cut: dict[str, dict[str, Tensor]] = {}
    for name in described["files"]:
        if not (folder / name).is_file():
            raise CheckpointError(f"{name} is missing from {folder}: copy all of its files.")
        with safe_open(str(folder / name), framework="pt") as file:
            for key in file.keys():
                base, hash_, part = key.partition("#")
                if hash_:
                    cut.setdefault(base, {})[part] = file.get_tensor(key)
                else:
                    entries[key] = file.get_tensor(key)
    for base, parts in cut.items():
        shape = parts.pop("shape").tolist()
        entries[base] = torch.cat([parts[str(i)] for i in range(len(parts))]).reshape(shape)
    return unflatten(entries)


def latest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder."""
    found = sorted((path for path in run.glob("step-*") if (path / MARK).is_file()), key=lambda path: int(path.name.split("-")[1]))
    return found[-1] if found else None


def prune(run: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    found = sorted((path for path in run.glob("step-*") if (path / MARK).is_file()), key=lambda path: int(path.name.split("-")[1]))
    for path in found[:-keep] if keep else []:
        shutil.rmtree(path)
