"""Jobs as they are written down: CSV, JSON Lines, or two folders."""

from __future__ import annotations

import argparse
import csv
import difflib
import hashlib
import io
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..arguments import common_parent, faces_parent
from ..dub_command import add_parser
from ..errors import LipSyncError, MediaError
from .places import is_url, name_of

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".jpg", ".jpeg", ".png")
SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".mp4", ".mov", ".mkv")
YES, NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off", "")
LARGEST = 1 << 30
"""Bytes of a list of jobs."""


@dataclass(frozen=True)
class Job:
    """One dub."""

    number: int
    """From 1, in the order in which they are written down."""
    arguments: tuple[str, ...]
    """What `dub` would be told, without the output."""
    output: str
    """A path, or a URL (`places`)."""

    @property
    def key(self) -> str:
        """Tells the same job again, in another list too."""
        return hashlib.sha256("\0".join([*self.arguments, self.output]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class _Words(argparse.ArgumentParser):
    """A parser whose complaints are errors."""

    def error(self, message: str) -> NoReturn:
        raise LipSyncError(message)


def dub_parser() -> argparse.ArgumentParser:
    """The parser of `dub`; raises `LipSyncError` instead of ending the program."""
    return add_parser(_Words().add_subparsers(), [common_parent(), faces_parent()])


def read_jobs(source: str | Path, folder: Path | str, *, sounds: Path | None = None, text: str | None = None,
              usual: Mapping[str, Any] | None = None) -> list[Job]:
    """The jobs of a file (CSV where its name ends so, else JSON Lines), of `text` (whatever `source` calls it), or one for each video in
    the folder `source` that has a sound of the same name in `sounds`. Results lie in `folder`; `usual` are options for all jobs that don't
    say otherwise. Raises `LipSyncError` that names the line."""
    source, folder = Path(source), str(folder)
    if source.is_dir():
        rows: Iterator[tuple[str, Mapping[str, Any]]] = _pairs(source, sounds)
    else:
        text = _text(source) if text is None else text
        rows = _csv(text) if source.suffix.lower() == ".csv" or _looks_like_csv(text) else _lines(text)
    parser = dub_parser()
    actions = {name: action for action in parser._actions for name in (action.dest, *(o.lstrip("-") for o in action.option_strings))}
    jobs: list[Job] = []
    taken: dict[str, str] = {}
    for number, (where, row) in enumerate(rows, 1):
        job = _job(number, where, {**(usual or {}), **row}, actions, folder)
        clash = taken.setdefault(os.path.normcase(job.output), where)
        if clash != where:
            raise LipSyncError(f"{where} writes {job.output}, and so does {clash}: give one of them another output.")
        jobs.append(job)
    if not jobs:
        raise LipSyncError(f"There are no jobs in {source}: write a line for each, with video and audio.")
    return jobs


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > LARGEST:
            raise LipSyncError(f"{source} is too large for a list of jobs.")
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LipSyncError(f"{source} is no text in UTF-8: write jobs as CSV or JSON Lines.") from error
    except OSError as error:
        raise MediaError(f"{source} can't be read ({error.strerror}): check the name of the list of jobs.") from error


def _looks_like_csv(text: str) -> bool:
    first = text.lstrip().splitlines()[:1]
    return bool(first) and not first[0].startswith(("{", "[")) and "video" in first[0].lower().split(",")


def _lines(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise LipSyncError(f'Line {number} of the jobs is no JSON: write {{"video": "a.mp4", "audio": "a.wav"}}.') from error
        if not isinstance(row, dict):
            raise LipSyncError(f'Line {number} of the jobs is no object: write {{"video": "a.mp4", "audio": "a.wav"}}.')
        yield f"line {number}", row


def _csv(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        for row in reader:
            if None in row:
                raise LipSyncError(f"Line {reader.line_num} of the jobs has more fields than the first line names.")
            yield f"line {reader.line_num}", {key.strip(): value for key, value in row.items() if value not in (None, "")}
    except csv.Error as error:
        raise LipSyncError(f"Line {reader.line_num} of the jobs is no CSV ({error}).") from error


def _pairs(videos: Path, sounds: Path | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if sounds is None or not sounds.is_dir():
        raise LipSyncError(f"{videos} is a folder of videos: give a folder of sounds with the same names, too (--sounds FOLDER).")
    by_name: dict[str, list[Path]] = {}
    for file in sorted(sounds.iterdir()):
        if file.suffix.lower() in SOUNDS:
            by_name.setdefault(file.stem, []).append(file)
    for video in sorted(file for file in videos.iterdir() if file.suffix.lower() in VIDEOS):
        if found := by_name.get(video.stem):
            if len(found) > 1:
                raise LipSyncError(f"{video.name} has several sounds ({', '.join(file.name for file in found)}): leave one.")
            yield video.name, {"video": str(video), "audio": str(found[0])}


def _job(number: int, where: str, row: Mapping[str, Any], actions: Mapping[str, argparse.Action], folder: str) -> Job:
    words: list[str] = []
    for key, value in row.items():
        name = str(key).strip().replace("_", "-")
        if name in ("video", "audio", "output") or value is None:
            continue
        action = actions.get(name) or actions.get(name.replace("-", "_"))
        if action is None or name in ("help", "h", "o", "quiet", "debug"):
            near = difflib.get_close_matches(name, [key for key in actions if len(key) > 1], 1)
            raise LipSyncError(f"{where} has the option {key!r}, which dub does not know" + (f": is it {near[0]!r}?" if near else "."))
        words += _words(where, str(key), value, action)
    video, audio = (row.get(name) for name in ("video", "audio"))
    if not isinstance(video, str) or not video.strip():
        raise LipSyncError(f"{where} names no video.")
    if audio is not None and not isinstance(audio, str):
        raise LipSyncError(f"{where} has an audio that is no name of a file.")
    given = row.get("output") or f"{Path(name_of(video)).stem}.mp4"
    if not isinstance(given, str):
        raise LipSyncError(f"{where} has an output that is no name of a file.")
    if is_url(folder):
        output = f"{folder.rstrip('/')}/{posixpath.normpath(given)}"
        outside = is_url(given) or posixpath.isabs(given) or posixpath.normpath(given).startswith("..")
    else:
        output = os.path.normpath(Path(folder, given))
        outside = Path(os.path.normpath(folder)) not in Path(output).parents
    if outside:
        raise LipSyncError(f"{where} writes {given}, which is outside {folder}: give a name below it.")
    return Job(number, (*words, "--", video, *([audio] if audio else [])), output)


def _words(where: str, key: str, value: Any, action: argparse.Action) -> Sequence[str]:
    """An option as it stands on a command line."""
    option = action.option_strings[-1]
    values = value if isinstance(value, list) else [value]
    if action.nargs == 0:
        said = str(values[0]).strip().lower() if len(values) == 1 else "?"
        if said not in YES + NO:
            raise LipSyncError(f"{where} has {key} = {value!r}: write true or false.")
        return [option] if said in YES else []
    if not all(isinstance(item, (str, int, float)) for item in values):
        raise LipSyncError(f"{where} has {key} = {value!r}: write a text, a number, or a list of them.")
    if isinstance(action.nargs, int):
        return [option, *map(str, values)]
    if action.nargs == "+":
        return [option, *(str(word) for item in values for word in str(item).split())]
    return [f"{option}={item}" for item in values]
