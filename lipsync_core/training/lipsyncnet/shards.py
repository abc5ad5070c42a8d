"""Shards and their index, written whole or not at all, and nothing in them depends on time, machine or order of work."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds

from ...errors import OutputError
from .pieces import BLOCK, array_bytes, json_bytes, read_part, shifted_sound, write_whole

FORMAT = "openlipsync lipsyncnet shards 1"
SPLITS = ("train", "test")
SHARD_MB = 60.0
END = 10_240
"""What a tar file's end may take."""


@dataclass(frozen=True)
class Chosen:
    """A sample that goes into the shards."""

    key: str
    split: str
    piece: Path
    places: dict[str, list[int]]
    offset: float
    """Seconds to be taken out of the sound."""
    meta: dict[str, Any]

    @property
    def seconds(self) -> float:
        return float(self.meta["seconds"])

    def parts(self) -> dict[str, bytes]:
        """As they go into the tar file."""
        kept = np.load(io.BytesIO(read_part(self.piece, self.places["audio.npy"])), allow_pickle=False)
        parts = {name: read_part(self.piece, place) for name, place in self.places.items() if name != "audio.npy"}
        return parts | {"audio.npy": array_bytes(shifted_sound(kept, self.offset)), "meta.json": json_bytes(self.meta)}


def packed_size(parts: Mapping[str, bytes]) -> int:
    """Bytes that a sample takes in a tar file."""
    return sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for data in parts.values())


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06d}.tar"


def mixed(samples: Iterable[Chosen], seed: int) -> list[Chosen]:
    """In an order that only keys and `seed` decide, so that a shard holds many people."""
    return sorted(samples, key=lambda sample: hashlib.sha256(f"{seed}:{sample.key}".encode()).digest())


def write_shards(folder: Path, samples: Iterable[Chosen], limit: int, seed: int = 0, step: Any = lambda: None) -> dict[str, Any]:
    """All shards and `index.json`; returns what the index says. `limit`: bytes that a shard may have, unless a single sample has more.

    Shards of an earlier run that are not written again go. Until the index is there, the shards are not whole.
    """
    samples = list(samples)
    (folder / "index.json").unlink(missing_ok=True)
    files: list[dict[str, Any]] = []
    for split in sorted({sample.split for sample in samples}):
        files += _write_split(folder, split, mixed((s for s in samples if s.split == split), seed), limit, step)
    written = {entry["name"] for entry in files}
    for old in [file for split in SPLITS for file in folder.glob(f"{split}-??????.tar*") if file.name not in written]:
        old.unlink()
    index = {"format": FORMAT, "size": samples[0].meta["size"] if samples else 0, **_totals(samples),
             "splits": {split: _totals([s for s in samples if s.split == split]) for split in sorted({s.split for s in samples})},
             "files": files}
    write_whole(folder / "index.json", json_bytes(index))
    return index


def _totals(samples: list[Chosen]) -> dict[str, Any]:
    return {"samples": len(samples), "seconds": round(sum(sample.seconds for sample in samples), 3),
            "people": len({sample.meta["person"] for sample in samples})}


def _write_split(folder: Path, split: str, samples: list[Chosen], limit: int, step: Any) -> Iterator[dict[str, Any]]:
    """One entry of the index after the other."""
    waiting = iter(samples)
    left = next(waiting, None)
    number = 0
    while left is not None:
        file, held, size = folder / shard_name(split, number), [], END
        part = file.with_name(file.name + ".partial")
        try:
            with open(part, "wb") as stream, wds.TarWriter(stream, encoder=False, mtime=0) as tar:
                while left is not None:
                    parts = left.parts()
                    if held and size + packed_size(parts) > limit:
                        break
                    tar.write({"__key__": left.key, **parts})
                    held.append(left)
                    size += packed_size(parts)
                    step()
                    left = next(waiting, None)
            os.replace(part, file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"{file} can't be written ({error.strerror}): make room, or choose another folder.") from error
        yield {"name": file.name, "split": split, **_totals(held), "bytes": file.stat().st_size, "sha256": file_sha256(file)}
        number += 1


def file_sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


