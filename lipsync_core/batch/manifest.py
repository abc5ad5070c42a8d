"""What became of each job, a line of JSON each, written as they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import OutputError
from .jobs import Job

NAME = "manifest.jsonl"


class Manifest:
    """A file, `manifest.jsonl` in the folder of results. Lines of earlier runs stay; a job's last line counts."""

    def __init__(self, file: Path) -> None:
        """Raises `OutputError` where its folder can't be made."""
        self.file, folder = file, file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {folder} can't be made ({error.strerror}): choose another place.") from error

    def done(self) -> set[str]:
        """Keys of the jobs that were done."""
        states: dict[str, str] = {}
        try:
            lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise OutputError(f"{self.file} can't be read ({error.strerror}).") from error
        for line in lines:
            try:
                entry = json.loads(line)
                states[entry["key"]] = entry["status"]
            except (json.JSONDecodeError, KeyError, TypeError, RecursionError):
                continue                                              # a line that a crash cut off
        return {key for key, status in states.items() if status == "done"}

    def add(self, job: Job, status: str, **more: Any) -> None:
        """Raises `OutputError` where it can't be written."""
        entry = {"job": job.number, "key": job.key, "output": job.output, "status": status, **more}
        try:
            with open(self.file, "ab+") as file:
                # What a crash has cut off ends its line here.
                cut = file.tell() and (file.seek(-1, 2), file.read(1))[1] != b"\n"
                file.write(b"\n" * bool(cut) + json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except OSError as error:
            raise OutputError(f"{self.file} can't be written ({error.strerror}): look at the free space.") from error
