"""The rotation of an MP4 or MOV file, set after writing, for PyAV versions that can't set it before (below 17)."""

from __future__ import annotations

import struct
from pathlib import Path

from ..errors import OutputError

_ONE = 1 << 16
_MATRICES = {90: (0, -_ONE, _ONE, 0), 180: (-_ONE, 0, 0, -_ONE), 270: (0, _ONE, -_ONE, 0)}
"""a, b, c, d of the display matrix in 16.16 fixed point, for counter-clockwise turns (ISO/IEC 14496-12, 8.3.2)."""


def patch_rotation(file: Path, rotation: int) -> None:
    """Write `rotation` (90, 180, 270 counter-clockwise) into the first track header of an MP4 or MOV file, in place."""
    with open(file, "rb+") as stream:
        size = stream.seek(0, 2)
        track = _find(stream, 0, size, (b"moov", b"trak", b"tkhd"))
        if track is None:
            raise OutputError(f"The rotation of the source can't be kept in a {file.suffix} file with this PyAV: write an .mp4, "
                              f"or upgrade PyAV.")
        start, _ = track
        stream.seek(start)
        version = stream.read(1)[0]
        # Header of version 0: 40 bytes before the matrix; version 1 has longer times.
        stream.seek(start + (52 if version else 40))
        a, b, c, d = _MATRICES[rotation]
        stream.write(struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))


def _find(stream, start: int, end: int, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Content range of the first box at `path` between two offsets."""
    while start + 8 <= end:
        stream.seek(start)
        size, kind = struct.unpack(">I4s", stream.read(8))
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", stream.read(8))[0], 16
        elif size == 0:
            size = end - start
        if size < header:
            return None
        if kind == path[0]:
            inner = (start + header, start + size)
            return inner if len(path) == 1 else _find(stream, *inner, path[1:])
        start += size
    return None
