"""One file from an address into `NAME.partial`, going on where it stopped. Standard library only."""

from __future__ import annotations

import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import LipSyncError, OutputError
from ..types import Hooks
from .hashing import BLOCK, megabytes

TIMEOUT = 30.0
"""Seconds without a byte."""
ATTEMPTS = 5
"""How often a broken connection is taken up again by itself, each time only if the last one brought something."""
SPARE = 100_000_000
"""Bytes that must stay free on the disk."""
HASH = re.compile(r'^(?:W/)?"?([0-9a-f]{64})"?$')


class NotThere(LipSyncError):
    """The server answers, but does not give the file: another source may."""


class Unreachable(LipSyncError):
    """No connection, or one that broke for good. The text is the reason, to be put into a sentence."""


class _Broken(Exception):
    """The connection ended early."""


class _Restart(Exception):
    """What is there can't be gone on with."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and keeps the hash that a hub tells of a file before it sends on to its store."""

    def __init__(self) -> None:
        self.sha256: str | None = None

    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, address: str) -> Any:
        if not address.lower().startswith(("http://", "https://")):
            raise NotThere(f"it sends on to {address.partition(':')[0]!r}")
        self.sha256 = _linked_hash(headers) or self.sha256
        return super().redirect_request(request, file, code, message, headers, address)


def transfer(address: str, partial: Path, sha256: str | None, hooks: Hooks) -> str | None:
    """Fetch `address` into `partial`; returns the SHA-256 it should have: the given one, else the hub's own word, else None.

    What `partial` holds already is gone on with where a hash can tell afterwards that the pieces fit. Raises `NotThere`,
    `Unreachable` (what has arrived is kept), and `OutputError` for the disk.
    """
    for attempt in range(ATTEMPTS):
        before = _size(partial)
        try:
            return _once(address, partial, sha256, hooks)
        except _Restart:
            partial.unlink(missing_ok=True)
        except _Broken as error:
            if _size(partial) <= before or attempt == ATTEMPTS - 1:
                raise Unreachable(f"the connection breaks, {megabytes(_size(partial))} MB have arrived and are kept") from error
    raise Unreachable("it does not give the file whole")


def _once(address: str, partial: Path, sha256: str | None, hooks: Hooks) -> str | None:
    have = _size(partial)
    headers = {"User-Agent": f"OpenLipSync/{__version__}", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    redirects = _Redirects()
    try:
        reply = urllib.request.build_opener(redirects).open(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return _complete(sha256 or redirects.sha256)
        raise NotThere(f"it answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(_reason(error)) from error
    with reply:
        expected = sha256 or redirects.sha256 or _linked_hash(reply.headers)
        start, total = _span(reply)
        if start and (start != have or expected is None):
            raise _Restart
        _receive(reply, partial, start, total, hooks)
    return expected


def _complete(expected: str | None) -> str:
    """There is nothing after what is there: its hash will tell whether that is the file."""
    if expected is None:
        raise _Restart
    return expected


def _receive(reply: Any, partial: Path, start: int, total: int, hooks: Hooks) -> None:
    if total:
        check_space(partial.parent, total - start)
    done = start
    with _writing(partial):
        file = partial.open("ab" if start else "wb")
    with file:
        for block in _blocks(reply):
            hooks.check_interrupt()
            with _writing(partial):
                file.write(block)
            done += len(block)
            hooks.progress("download", megabytes(done), megabytes(total))
        with _writing(partial):
            file.flush()
    if total and done < total:
        raise _Broken


def _blocks(reply: Any) -> Iterator[bytes]:
    while True:
        try:
            block = reply.read(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _Broken from error
        if not block:
            return
        yield block


def _span(reply: Any) -> tuple[int, int]:
    """First byte that comes, and bytes of the whole file (0 = not told)."""
    if reply.status == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("Content-Range", ""))
        if not match:
            raise _Restart
        return int(match[1]), int(match[2])
    return 0, int(reply.headers.get("Content-Length") or 0)


def _linked_hash(headers: Any) -> str | None:
    found = HASH.match(headers.get("X-Linked-Etag") or "")
    return found[1] if found else None


def check_space(folder: Path, needed: int) -> None:
    """Raise `OutputError` where the disk under `folder` has less than `needed` bytes and some to spare."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise OutputError(f"The disk of {folder} has {megabytes(free)} MB left and {megabytes(needed)} MB are to come: free some space, "
                          f"or choose another --folder.")


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{file} can't be written ({error.strerror or error}): free some space, or choose another --folder.") from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _reason(error: BaseException) -> str:
    """In one line, without a full stop."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = getattr(reason, "strerror", None) or str(reason)
    return " ".join(text.split()).rstrip(".")
