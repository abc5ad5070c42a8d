"""Which files can be worked on from their first bytes on."""

from __future__ import annotations

import struct
from collections.abc import Callable

ENOUGH = 64
"""Bytes by which everything but MP4 is known."""
SMALL = (b"ftyp", b"free", b"skip", b"wide", b"uuid", b"pdin", b"styp", b"sidx", b"emsg")
"""Boxes that may stand before the one that decides."""


def streams(read: Callable[[int], bytes]) -> bool:
    """Whether a video or a sound can be decoded before its end is there. `read(n)` gives the first n bytes, or what there is; it waits.

    MP4 and MOV where `moov` stands before `mdat` (ISO/IEC 14496-12), Matroska and WebM, MPEG transport streams, WAV (RIFF, RF64), MP3, FLAC
    and Ogg can.
    """
    head = read(ENOUGH)
    if head[4:8] in SMALL + (b"moov", b"mdat"):
        return _moov_first(read)
    return head[:4] in (b"\x1aE\xdf\xa3", b"RIFF", b"RF64", b"fLaC", b"OggS") or head[:3] == b"ID3" or head[:1] == b"\x47" \
        or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def _moov_first(read: Callable[[int], bytes]) -> bool:
    at = 0
    while True:
        head = read(at + 16)[at:]
        if len(head) < 8:
            return False
        size, kind = struct.unpack(">I4s", head[:8])
        if kind == b"moov":
            return True
        if kind not in SMALL:
            return False
        if size == 1 and len(head) >= 16:
            size = struct.unpack(">Q", head[8:16])[0]
        if size < 8 or size > 1 << 20:                                # nothing that stands there is as large
            return False
        at += size
