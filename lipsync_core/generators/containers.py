"""Files of tensors, whatever wraps them: safetensors, what torch.save writes, and TorchScript archives.

Nothing in a file is executed. Torch files go through torch's own restricted reader (`weights_only`). A TorchScript archive holds programs
in a language of torch's own, not Python, which `torch.jit.load` only parses, unless a module of it has a `__setstate__`; those are refused.
"""

from __future__ import annotations

import lzma
import os
import pickle
import struct
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CheckpointError

Value = TypeVar("Value")
WRAPPERS = ("state_dict", "model_state_dict", "model", "params_ema", "params")
"""Under which of their keys training programs save a network, beside its optimiser."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
FAULTS = (SafetensorError, RuntimeError, OSError, ValueError, EOFError, LookupError, AttributeError, TypeError, pickle.UnpicklingError,
          zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, ArithmeticError, MemoryError, AssertionError)
"""What the readers raise for files that are damaged, or something else."""
MOST_CODE = 64 << 20
"""Bytes of the programs in a TorchScript archive: a small file may say that it unpacks to any size."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name on the CPU, as they are stored, prefixes of wrappers taken off.

    They may be views of the file until they are copied. Raises `CheckpointError`: no such file, no checkpoint, or no tensors in it.
    """
    path = _existing(path)
    if not _is_safetensors(path):
        return _torch_tensors(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FAULTS as error:
        raise _unreadable(path) from error
    return _named(path, tensors)


def tensor_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Names as `read_tensors` gives them, and shapes, without reading the tensors themselves where the format allows (safetensors, and
    torch's since 1.6). Raises `CheckpointError`."""
    path = _existing(path)
    if not _is_safetensors(path):
        return {name: tuple(tensor.shape) for name, tensor in _torch_tensors(path).items()}
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except FAULTS as error:
        raise _unreadable(path) from error
    return _named(path, shapes)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write contiguous tensors as safetensors, whole or not at all. Raises `OSError`."""
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial")
    try:
        save_file(tensors, str(partial), metadata)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def strip_prefixes(state: Mapping[str, Value]) -> dict[str, Value]:
    """The same by the network's own names: a prefix of `PREFIXES` that all names have is taken off, and the next one too."""
    names = list(state)
    while names and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values()))


def _torch_tensors(path: Path) -> dict[str, Tensor]:
    try:
        content = _torch_content(path)
    except FAULTS as error:
        raise _unreadable(path) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        content = {}
    return _named(path, {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)})


def _torch_content(path: Path) -> object:
    with path.open("rb") as file:
        # Files of torch before 1.6 are no zip archives: they can't be mapped into memory, and are read whole.
        archive = file.read(2) == b"PK"
    code = _torchscript(path) if archive else None
    if code is None:
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=archive)
    if b"__setstate__" in code:
        raise CheckpointError(f"{path} is a TorchScript archive that would run a program of its own as it is opened: use a .safetensors "
                              f"or .pth file of the same weights.")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)           # torch advises its authors to export in another format
        return torch.jit.load(file, map_location="cpu").state_dict()


def _torchscript(path: Path) -> bytes | None:
    """The programs of a TorchScript archive in one; None where a zip archive is none."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if not any(entry.filename.endswith("/constants.pkl") for entry in entries):
            return None
        # By entry, not by name: of two entries with one name torch and zipfile would take a different one.
        code = [entry for entry in entries if "/code/" in entry.filename and entry.filename.endswith(".py")]
        if sum(entry.file_size for entry in code) > MOST_CODE:
            raise ValueError("more code than any network has")
        return b"\n".join(archive.read(entry) for entry in code)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    try:
        there, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)[:200]!r} can't be looked for ({error.__class__.__name__}): check the name of the "
                              "checkpoint.") from error
    if folder:
        raise CheckpointError(f"{path} is a folder: name the checkpoint file in it.")
    if not there:
        raise CheckpointError(f"There is no file {path}: check the name of the checkpoint.")
    return path


def _is_safetensors(path: Path) -> bool:
    """By its first bytes, whatever it is called: eight of length, then JSON."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} can't be read as a checkpoint of tensors only (.safetensors, .pth/.pt of a state dict, TorchScript): "
                           f"download or export it again.")


def _named(path: Path, state: dict[str, Value]) -> dict[str, Value]:
    if not state:
        raise CheckpointError(f"{path} holds no tensors by name, so it is not a network's checkpoint: download or export it again.")
    return strip_prefixes(state)
