"""One folder of pairs, small enough to be carried to a machine with a GPU: a file a clip, pictures as JPEG."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...errors import LipSyncError
from ...faces import create_backend
from ...media import VideoSource
from ..interior.data import is_taught, person_of
from .pairs import SIDE, Pair, clips_of, looks_of, pairs_of

log = logging.getLogger(__name__)
SECONDS = 16.0
"""Of each clip."""
LOOKS, PAIRS = 36, 40
"""Frames and pairs of a clip."""
GRID_FILES, GRID_PAIRS = 60, 8
"""Files of the one speaker of grid_s1, 3 s each, and pairs of each."""
QUALITY = 94
"""Of the JPEGs."""
REFERENCES = 2


@dataclass(frozen=True)
class Packed:
    """All pairs of a split, decoded: RGB uint8 (n, SIDE, SIDE, 3), lips complex (n, 20)."""

    warped: np.ndarray
    truth: np.ndarray
    lips: np.ndarray
    references: np.ndarray
    """(n, REFERENCES, SIDE, SIDE, 3)."""
    reference_lips: np.ndarray
    """(n, REFERENCES, 20)."""
    people: np.ndarray
    """int (n,): an index of `names`."""
    names: list[str]


def pack(media: Path, folder: Path) -> dict[str, int]:
    """Pairs of all clips of `media`; returns their number by split, 'taught' and 'held_out' (people who are never taught)."""
    folder.mkdir(parents=True, exist_ok=True)
    backend, counts = create_backend(), {"taught": 0, "held_out": 0}
    files = clips_of(media)
    grid = [file for file in files if file.parent.name == "grid_s1"]
    wanted = [file for file in files if file.parent.name != "grid_s1"] + grid[::max(1, len(grid) // GRID_FILES)][:GRID_FILES]
    for file in wanted:
        name = f"{file.parent.name}__{file.stem}"
        found = looks_of(VideoSource(file, duration=SECONDS), backend, LOOKS)
        if found is None:
            log.info("%s: no usable face", name)
            continue
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        pairs = list(pairs_of(*found, GRID_PAIRS if file in grid else PAIRS, rng))
        if pairs:
            split = "taught" if is_taught(name) else "held_out"
            np.savez(folder / f"{split}__{name}.npz", **_stored(pairs))
            counts[split] += len(pairs)
            log.info("%s: %d pairs, %s", name, len(pairs), split)
    return counts


def _stored(pairs: list[Pair]) -> dict[str, np.ndarray]:
    jpegs = []
    for pair in pairs:
        for picture in (pair.warped, pair.truth, *pair.references):
            jpegs.append(cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].ravel())
    return {"jpegs": np.concatenate(jpegs), "sizes": np.array([len(jpeg) for jpeg in jpegs], np.int32),
            "lips": np.stack([pair.lips for pair in pairs]).astype(np.complex64),
            "reference_lips": np.stack([np.stack(pair.reference_lips) for pair in pairs]).astype(np.complex64)}


def unpack(folder: Path, split: str) -> Packed:
    """Raises `LipSyncError` where the folder holds no such pairs."""
    pictures, lips, reference_lips, people, names = [], [], [], [], []
    for file in sorted(folder.glob(f"{split}__*.npz")):
        with np.load(file, allow_pickle=False) as stored:
            pictures += list(_decoded(stored["jpegs"], stored["sizes"]))
            lips.append(stored["lips"])
            reference_lips.append(stored["reference_lips"])
        name = person_of(file.stem.split("__", 1)[1])
        names += [name] if name not in names else []
        people += [names.index(name)] * len(lips[-1])
    if not lips:
        raise LipSyncError(f"There are no {split} pairs in {folder}: make some with `pack MEDIA -o {folder}`.")
    stacked = np.stack(pictures).reshape(-1, 2 + REFERENCES, SIDE, SIDE, 3)
    return Packed(stacked[:, 0], stacked[:, 1], np.concatenate(lips), stacked[:, 2:], np.concatenate(reference_lips),
                  np.array(people), names)


def _decoded(jpegs: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    for end, size in zip(np.cumsum(sizes), sizes):
        yield cv2.imdecode(jpegs[end - size:end], cv2.IMREAD_COLOR)[:, :, ::-1]
