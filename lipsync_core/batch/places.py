"""Files that lie somewhere: on a path, or at a URL that fsspec knows (s3://, gs://, abfs://, sftp://, smb://, https://, memory://)."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import LipSyncError, MediaError, OutputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WITHIN = re.compile(r"(?P<before>(?:--[\w-]+=)?(?:[^=/:]+=)?)(?P<url>[A-Za-z][A-Za-z0-9+.-]+://.+?)(?P<after>@-?\d+(?:\.\d+)?)?")
"""A URL as an argument of `dub`: alone, behind an option, or as `--voice=WHO=URL@SEC`."""


def is_url(place: str) -> bool:
    return bool(_URL.match(place))


def url_of(argument: str) -> str | None:
    """The URL in an argument of `dub`, if there is one."""
    found = _WITHIN.fullmatch(argument)
    return found["url"] if found else None


def name_of(place: str) -> str:
    """The last part of a path or URL."""
    return posixpath.basename(place) if is_url(place) else Path(place).name


def beside(place: str, name: str) -> str:
    """`name` in the folder of `place`."""
    return f"{posixpath.dirname(place)}/{name}" if is_url(place) else str(Path(place).with_name(name))


def exists(place: str) -> bool:
    """Raises `LipSyncError` where a URL can't be asked."""
    if not is_url(place):
        return Path(place).is_file()
    system, path = _system(place)
    try:
        return bool(system.isfile(path))
    except OSError as error:
        raise MediaError(f"{place} can't be reached ({error}).") from error


def size_of(place: str) -> list[Any]:
    """What changes when a file does: its size, and of a path when it was written. Raises `MediaError`."""
    try:
        if is_url(place):
            system, path = _system(place)
            return [int(system.info(path).get("size") or 0)]
        found = os.stat(place)
        return [found.st_size, found.st_mtime_ns]
    except OSError as error:
        raise MediaError(f"{place} can't be read ({error}).") from error


def fetch(place: str, folder: Path) -> Path:
    """The file on a path of this machine: copied into `folder` from a URL. Raises `MediaError`."""
    if not is_url(place):
        return Path(place)
    target = folder / f"{uuid.uuid4().hex[:8]}_{name_of(place)}"
    system, path = _system(place)
    try:
        system.get_file(path, str(target))
    except OSError as error:
        raise MediaError(f"{place} can't be fetched ({error}): check the address and the rights.") from error
    return target


def put(file: Path, place: str) -> None:
    """Copy a file to a URL, whole or not at all. Raises `OutputError`."""
    system, path = _system(place)
    partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        system.makedirs(posixpath.dirname(path), exist_ok=True)
        system.put_file(str(file), partial)
        system.mv(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            system.rm_file(partial)
        raise OutputError(f"{place} can't be written ({error}): check the address and the rights.") from error


def localised(arguments: Sequence[str], folder: Path) -> list[str]:
    """Arguments of `dub` with the files of their URLs fetched into `folder`. Raises `MediaError`."""
    result = []
    for argument in arguments:
        found = _WITHIN.fullmatch(argument)
        result.append(f"{found['before']}{fetch(found['url'], folder)}{found['after'] or ''}" if found else argument)
    return result


def _system(place: str) -> tuple[Any, str]:
    try:
        import fsspec

        return fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise LipSyncError(f"{place.split('://')[0]}:// needs a package that is not there ({error}).") from error
    except ValueError as error:
        raise LipSyncError(f"{place} is no address that fsspec knows ({error}).") from error


class Shelf:
    """A folder for the pieces of a film, on a path or at a URL."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._scratch = tempfile.TemporaryDirectory() if is_url(place) else None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *error: object) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()

    def _at(self, name: str) -> str:
        return f"{self.place}/{name}" if self._scratch is not None else str(Path(self.place, name))

    def has(self, name: str) -> bool:
        return exists(self._at(name))

    def get(self, name: str) -> Path:
        """Raises `MediaError`. What was fetched goes with the shelf's scratch folder; its name is kept."""
        if self._scratch is None:
            return Path(self.place, name)
        target = Path(self._scratch.name, name)
        if not target.exists():
            fetch(self._at(name), Path(self._scratch.name)).replace(target)
        return target

    @contextlib.contextmanager
    def new(self, *names: str) -> Iterator[Path]:
        """Where to write the first of these files, the others beside it; they are put in place, in this order, if nothing went wrong."""
        if self._scratch is None:
            Path(self.place).mkdir(parents=True, exist_ok=True)
            yield Path(self.place, names[0])
            return
        yield Path(self._scratch.name, names[0])
        for name in names:
            put(Path(self._scratch.name, name), self._at(name))

    def clear(self) -> None:
        """Without the folder."""
        if self._scratch is None:
            shutil.rmtree(self.place, ignore_errors=True)
            return
        system, path = _system(self.place)
        with contextlib.suppress(OSError):
            if system.exists(path):
                system.rm(path, recursive=True)
