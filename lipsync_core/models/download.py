"""Known public files from their hub into the model folder: only when asked, whole or not at all, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, LipSyncError, OutputError
from ..types import Hooks
from .catalogue import KnownFile, KnownModel, Source, by_name, size_text
from .hashing import sha256_of
from .transfer import NotThere, Unreachable, check_space, transfer

HUB = "https://huggingface.co"
MIRROR, OFFLINE = "HF_ENDPOINT", "HF_HUB_OFFLINE"
"""Environment variables, the hub's own: another address of it, and the wish that nothing be fetched."""


@dataclass(frozen=True)
class Wanted:
    """A file that is not there yet."""

    model: KnownModel
    file: KnownFile
    target: Path


def plan(name: str, folder: Path, force: bool = False) -> list[Wanted]:
    """What `download` would fetch: the files of a model and of what it needs, without those that are there (`force`: all of the model).

    Raises `LipSyncError` for an unknown name, `OutputError` where a file of that name but another size is in the way.
    """
    model = by_name(name)
    wanted = []
    for item in (model, *(by_name(other) for other in model.needs)):
        for file in item.files:
            target = folder / file.path
            again = force and item is model
            if not again and _there(target, file):
                continue
            wanted.append(Wanted(item, file, target))
    return wanted


def download(name: str, folder: Path, *, force: bool = False, hooks: Hooks | None = None) -> list[Path]:
    """Fetch a known model into `folder`; returns the files that came. Who calls this has shown licence and size, and been told to.

    HF_ENDPOINT names a mirror, HF_HUB_OFFLINE forbids. A file that is cut off is kept as `NAME.partial` and gone on with by the next
    call. Raises `LipSyncError` (offline, no network), `CheckpointError` (not the file that it should be: removed), `OutputError` (disk).
    """
    hooks = hooks or Hooks()
    wanted = plan(name, folder, force)
    for item in wanted:
        if os.environ.get(OFFLINE, "").strip().lower() in ("1", "on", "yes", "true"):
            raise LipSyncError(f"{OFFLINE} is set, so nothing is downloaded: unset it, or put {address_of(item.file.sources[0])} into "
                               f"{item.target} by hand.")
        address_of(item.file.sources[0])                              # a wrong mirror setting is said before anything is fetched
    check_space(folder, sum((item.file.size or item.file.about) - _partial_size(item.target) for item in wanted))
    for item in wanted:
        _fetch(item, hooks)
    return [item.target for item in wanted]


def address_of(source: Source) -> str:
    """Raises `LipSyncError` for a mirror that is no web address."""
    if not source.repository:
        return source.path
    hub = os.environ.get(MIRROR, "").strip().rstrip("/") or HUB
    if not hub.lower().startswith(("https://", "http://")):
        raise LipSyncError(f"{MIRROR} is {hub!r}, which is no web address: write one that begins with https://, or unset it.")
    return f"{hub}/{source.repository}/resolve/main/{source.path}"


def _fetch(item: Wanted, hooks: Hooks) -> None:
    partial = partial_of(item.target)
    try:
        item.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{item.target.parent} can't be made ({error.strerror}): choose another --folder.") from error
    expected = _from_any_source(item, partial, hooks)
    actual = sha256_of(partial, hooks)
    if expected is not None and actual != expected:
        partial.unlink()
        raise CheckpointError(f"What came is not the published {item.file.name} (SHA-256 {actual[:12]}... instead of {expected[:12]}...), "
                              f"so it was removed: run the command again, or name another mirror in {MIRROR}.")
    if expected is None:
        hooks.warn(f"The published hash of {item.file.name} is not known, so nothing could be compared; its SHA-256 is {actual}.")
    try:
        os.replace(partial, item.target)
    except OSError as error:
        raise OutputError(f"{item.target} can't be written ({error.strerror}): the file stands beside it as {partial.name}.") from error


def _from_any_source(item: Wanted, partial: Path, hooks: Hooks) -> str | None:
    """The hash it should have. The last source's answer is the one that is told."""
    for last, source in ((source is item.file.sources[-1], source) for source in item.file.sources):
        address = address_of(source)
        try:
            return transfer(address, partial, item.file.sha256, hooks)
        except (NotThere, Unreachable) as error:
            if last:
                raise LipSyncError(f"{address} can't be fetched ({error}): check the network and run the command again, name a mirror in "
                                   f"{MIRROR}, or put the file into {item.target} by hand.") from error
    raise LipSyncError(f"Nobody is known to publish {item.file.name}: put it into {item.target} by hand.")


def _there(target: Path, file: KnownFile) -> bool:
    if target.is_file():
        if file.size is not None and target.stat().st_size != file.size:
            raise OutputError(f"{target} is there already and has {size_text(target.stat().st_size)} instead of "
                              f"{size_text(file.size)}: move it away, or add --force to fetch it anew.")
        return True
    return any(target.with_name(name).is_file() for name in file.instead)


def partial_of(target: Path) -> Path:
    """Where a file is while it comes."""
    return target.with_name(f"{target.name}.partial")


def _partial_size(target: Path) -> int:
    partial = partial_of(target)
    return partial.stat().st_size if partial.is_file() else 0
