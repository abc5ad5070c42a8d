"""What is asked of a file before it is opened, and texts that are written; needs nothing, so that a wrong name is answered at once."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
import uuid
from pathlib import Path
from typing import BinaryIO

from .errors import MediaError, OutputError

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?")
"""Names that Windows keeps for devices, with any ending (Microsoft: "Naming Files, Paths, and Namespaces")."""
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
"""What no name has there."""
LONGEST_NAME = 255
"""Bytes of a name on Linux and macOS; Windows counts 255 UTF-16 units, which are no more bytes."""
MARK = ".partial"
ABANDONED = 3600.0
"""Seconds for which nobody wrote to a partial file, from which on whoever made it has died."""


def check_name(target: Path) -> None:
    """Raise `OutputError` for a name that can be no file's: on Windows, or, of those kept for devices, anywhere: results are passed on."""
    name = target.name
    if RESERVED.fullmatch(name):
        raise OutputError(f"{name} can be no file: Windows keeps the name {name.split('.')[0]} for a device. Choose another.")
    if os.name == "nt" and (found := FORBIDDEN.search(name)):
        raise OutputError(f"{name} can be no file on Windows, because of {found[0]!r}: choose another name.")
    if "\0" in str(target):
        raise OutputError(f"{str(target)!r} can be no file: a name has no zero byte in it.")
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise OutputError(f"The name {name[:40]}… is too long: {LONGEST_NAME} bytes are the most.")
    try:
        target.exists()
    except OSError as error:
        shown = str(target) if len(str(target)) < 200 else f"{str(target)[:100]}…"
        raise OutputError(f"{shown!r} can't be written ({error.strerror}): choose another name or folder.") from error


def partial_of(target: Path) -> Path:
    """Where a result is written until it is whole: beside it, hidden, another name each time."""
    return target.with_name(f"{_partial_stem(target)}{uuid.uuid4().hex[:8]}{MARK}{target.suffix}")


def partials_of(target: Path) -> list[Path]:
    """What is there of `partial_of(target)`."""
    begin, end = _partial_stem(target), f"{MARK}{target.suffix}"
    try:
        return [file for file in target.parent.iterdir() if file.name.startswith(begin) and file.name.endswith(end)
                and len(file.name) == len(begin) + 8 + len(end)]
    except OSError:
        return []


def _partial_stem(target: Path) -> str:
    room = LONGEST_NAME - len(os.fsencode(f"..01234567{MARK}{target.suffix}"))
    return f".{os.fsencode(target.stem)[:room].decode(errors='ignore')}."


def sweep(target: Path, older: float = ABANDONED) -> None:
    """Without partial files of `target` that nobody wrote to for `older` seconds: what a process left that was killed."""
    for file in partials_of(target):
        with contextlib.suppress(OSError):
            if abs(time.time() - file.stat().st_mtime) >= older:
                file.unlink()


def state_of(file: object) -> tuple[int, int] | None:
    """Size and time of writing of a file on a path; None of anything else, or where there is none."""
    try:
        found = os.stat(file) if isinstance(file, (str, Path)) else None
    except (OSError, ValueError):
        return None
    return None if found is None else (found.st_size, found.st_mtime_ns)


def check_file(path: Path, what: str) -> None:
    """Raise `MediaError` where there is no file `path`; `what` it should be: video, audio."""
    try:
        there = path.exists()
    except (OSError, ValueError) as error:
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:100]}…"
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{shown!r} can't be looked for ({reason}): check the name of the {what}.") from error
    if not there:
        raise MediaError(f"There is no file {path}: check the name of the {what}.")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: name the {what} file in it.")


def write_text(file: Path, text: str) -> None:
    """Raise `OutputError` where it can't be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{file} can't be written ({error.strerror}): choose another place.") from error


def own_reader(file: BinaryIO) -> BinaryIO:
    """What is open for reading, for a second reader, who needs a place of their own in it; what gives readers itself (`again`) is asked."""
    if hasattr(file, "again"):
        return file.again()
    at = file.tell()
    file.seek(0)
    copy = io.BytesIO(file.read())
    file.seek(at)
    return copy
