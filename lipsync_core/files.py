"""What is asked of a file before it is opened; needs nothing, so that a wrong name is answered at once."""

from __future__ import annotations

from pathlib import Path

from .errors import MediaError


def check_file(path: Path, what: str) -> None:
    """Raise `MediaError` where there is no file `path`; `what` it should be: video, audio."""
    if not path.exists():
        raise MediaError(f"There is no file {path}: check the name of the {what}.")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: name the {what} file in it.")
