"""What is asked of a file before it is opened, and texts that are written; needs nothing, so that a wrong name is answered at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from .errors import MediaError, OutputError


def check_file(path: Path, what: str) -> None:
    """Raise `MediaError` where there is no file `path`; `what` it should be: video, audio."""
    if not path.exists():
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
