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
from ...generators.lipsyncnet.canvas import SIDE
from ...media import VideoSource
from ..interior.data import is_taught, person_of
from .pairs import Open, Pair, clips_of, looks_of, open_mouths, pairs_of, shown

log = logging.getLogger(__name__)
SECONDS = 16.0
"""Of each clip."""
LOOKS, PAIRS = 40, 70
"""Frames and pairs of a clip."""
GRID_FILES, GRID_PAIRS = 60, 10
"""Files of the one speaker of grid_s1, 3 s each, and pairs of each."""
QUALITY = 93
"""Of the JPEGs."""


@dataclass(frozen=True)
class Packed:
    """All pairs of a split, decoded: RGB uint8 (n, side, side, 3), lips complex (n, 20) in pixels of a picture of SIDE."""

    warped: np.ndarray
    truth: np.ndarray
    lips: np.ndarray
    references: np.ndarray
    """int (n, REFERENCES): rows of `opened`."""
    opened: np.ndarray
    """The wide open mouths, (m, side, side, 3)."""
    opened_lips: np.ndarray
    """(m, 20)."""
    people: np.ndarray
    """int (n,): an index of `names`."""
    names: list[str]


def pack(media: Path, folder: Path, side: int = SIDE) -> dict[str, int]:
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
        widest = open_mouths(found[2])
        pairs = list(pairs_of(*found, widest, GRID_PAIRS if file in grid else PAIRS, rng, side))
        if pairs:
            split = "taught" if is_taught(name) else "held_out"
            np.savez(folder / f"{split}__{name}.npz", **_stored(pairs, [shown(look, side) for look in widest]))
            counts[split] += len(pairs)
            log.info("%s: %d pairs, %s", name, len(pairs), split)
    return counts


def _stored(pairs: list[Pair], widest: list[Open]) -> dict[str, np.ndarray]:
    pictures = [picture for pair in pairs for picture in (pair.warped, pair.truth)] + [mouth.picture for mouth in widest]
    jpegs = [cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].ravel() for picture in pictures]
    return {"jpegs": np.concatenate(jpegs), "sizes": np.array([len(jpeg) for jpeg in jpegs], np.int32),
            "lips": np.stack([pair.lips for pair in pairs]).astype(np.complex64),
            "references": np.array([pair.references for pair in pairs], np.int32),
            "reference_lips": np.stack([mouth.lips for mouth in widest]).astype(np.complex64)}


def unpack(folder: Path, split: str) -> Packed:
    """Raises `LipSyncError` where the folder holds no such pairs."""
    pictures, lips, references, others, reference_lips, people, names = [], [], [], [], [], [], []
    for file in sorted(folder.glob(f"{split}__*.npz")):
        with np.load(file, allow_pickle=False) as stored:
            decoded, count = list(_decoded(stored["jpegs"], stored["sizes"])), len(stored["lips"])
            lips.append(stored["lips"])
            references.append(stored["references"] + len(others))
            reference_lips.append(stored["reference_lips"])
        pictures += decoded[:2 * count]
        others += decoded[2 * count:]
        name = person_of(file.stem.split("__", 1)[1])
        names += [name] if name not in names else []
        people += [names.index(name)] * count
    if not lips:
        raise LipSyncError(f"There are no {split} pairs in {folder}: make some with `pack MEDIA -o {folder}`.")
    stacked = np.stack(pictures)
    stacked = stacked.reshape(-1, 2, *stacked.shape[1:])
    return Packed(stacked[:, 0], stacked[:, 1], np.concatenate(lips), np.concatenate(references), np.stack(others),
                  np.concatenate(reference_lips), np.array(people), names)


def _decoded(jpegs: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    for end, size in zip(np.cumsum(sizes), sizes):
        yield cv2.imdecode(jpegs[end - size:end], cv2.IMREAD_COLOR)[:, :, ::-1]
