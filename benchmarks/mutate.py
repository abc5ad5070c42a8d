"""Valid files, broken: blindly, and along their structure (boxes of MP4 and MOV, chunks of RIFF and PNG, values of JSON)."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"mvex", b"moof", b"traf")
LENGTHS = (0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "\0", "x" * 100_000, "../../x", [], {}, [[]],
                           "\ud800", [0] * 5000)
Span = tuple[int, int, int, str]
"""Begin, end, place of the length, and how that is packed."""


def broken(data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which a file may be wrong."""
    if data[:1] in b"{[" and rng.random() < 0.5:
        return _json(data, rng)
    spans = _spans(data)
    if spans and rng.random() < 0.4:
        data = _structure(data, spans, rng)
        return data if rng.random() < 0.6 else _blind(data, rng)
    return _blind(data, rng)


def _blind(data: bytes, rng: random.Random) -> bytes:
    """Cut off, bytes changed (often near its head, where formats say what they are), a piece taken out, doubled or filled."""
    found = bytearray(data)
    if rng.random() < 0.3:
        del found[rng.randrange(len(found) + 1):]
    if found and rng.random() < 0.3:
        first = rng.randrange(len(found))
        piece = found[first:first + rng.randrange(1, 200)]
        found[first:first + len(piece)] = rng.choice([b"", bytes(piece) * 2, b"\xff" * len(piece), b"\0" * len(piece)])
    for _ in range(rng.randrange(0, 30)):
        if found:
            found[rng.randrange(min(len(found), rng.choice([64, 1500, len(found)])))] = rng.randrange(256)
    return bytes(found)


def _spans(data: bytes) -> list[Span]:
    if data[4:8] == b"ftyp":
        return _boxes(data, 0, len(data))
    if data[:4] == b"RIFF":
        return _chunks(data, 12, "<I", 0)
    if data[:4] == b"\x89PNG":
        return _chunks(data, 8, ">I", 4)
    return []


def _boxes(data: bytes, first: int, end: int) -> list[Span]:
    found: list[Span] = []
    while first + 8 <= end:
        size, kind = struct.unpack(">I4s", data[first:first + 8])
        last = min(end, first + size) if size >= 8 else end
        found.append((first, last, first, ">I"))
        if kind in NESTED:
            found += _boxes(data, first + 8, last)
        first = last
    return found


def _chunks(data: bytes, first: int, packed: str, after: int) -> list[Span]:
    found: list[Span] = []
    place = 4 if packed == "<I" else 0                                # RIFF says what it is before how long
    while first + 8 <= len(data):
        (size,) = struct.unpack(packed, data[first + place:first + place + 4])
        last = min(len(data), first + 8 + size + size % 2 * (packed == "<I") + after)
        found.append((first, last, first + place, packed))
        first = last
    return found


def _structure(data: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """A box or chunk taken out, doubled, put elsewhere, filled, or with another length or name."""
    begin, end, length, packed = rng.choice(spans)
    piece, way = data[begin:end], rng.randrange(6)
    if way == 0:
        return data[:begin] + data[end:]
    if way == 1:
        return data[:end] + piece * rng.choice([1, 2, 50]) + data[end:]
    if way == 2:
        other = rng.choice(spans)[0]
        rest = data[:begin] + data[end:]
        return rest[:other] + piece + rest[other:]
    if way == 3:
        return data[:begin + 8] + bytes([rng.choice([0, 255, rng.randrange(256)])]) * max(0, end - begin - 8) + data[end:]
    if way == 4:
        return data[:length] + struct.pack(packed, rng.choice(LENGTHS)) + data[length + 4:]
    # A number within it, as an encoder would never write it.
    at = begin + 8 + 4 * rng.randrange(max(1, (end - begin - 8) // 4))
    return data[:at] + struct.pack(packed, rng.choice(LENGTHS)) + data[at + 4:]


def _json(data: bytes, rng: random.Random) -> bytes:
    """One value is another, or lies deep."""
    try:
        tree = json.loads(data)
    except ValueError:
        return _blind(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in (node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()):
            places.append((node, key))
            walk(value)

    walk(tree)
    if not places:
        return data
    node, key = rng.choice(places)
    node[key] = rng.choice(VALUES)
    text = json.dumps(tree)
    if rng.random() < 0.1:
        text = text.replace(json.dumps(node[key]), "[" * 20_000 + "]" * 20_000, 1)
    return text.encode("utf-8", "surrogatepass")
