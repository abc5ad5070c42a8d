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
PAIRS = 70
"""Of a clip."""
SECONDS, LOOKS, APART = 16.0, 40, 0.32
"""What is used of a clip, frames of it, and seconds between them at least."""
MORE_SECONDS, MORE_LOOKS, MORE_APART = 60.0, 110, 0.16
"""The same of a clip that teaches more than `PAIRS`."""
GRID_FILES, GRID_SHARE = 60, 7
"""Files of the one speaker of grid_s1, 3 s each, and how many times fewer pairs than of a clip are of each."""
BACK = 2
"""Of three pairs that teach, so many are there and back (`pairs_of`)."""
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


def pack(media: Path, folder: Path, side: int = SIDE, taught: int = PAIRS) -> dict[str, int]:
    """Pairs of all clips of `media`, `taught` at most of each clip that teaches; returns their number by split: 'taught', and of people who
    are never taught 'held_out' and, all there and back, 'repaired'."""
    folder.mkdir(parents=True, exist_ok=True)
    backend, counts = create_backend(), {"taught": 0, "held_out": 0, "repaired": 0}
    files = clips_of(media)
    grid = [file for file in files if file.parent.name == "grid_s1"]
    wanted = [file for file in files if file.parent.name != "grid_s1"] + grid[::max(1, len(grid) // GRID_FILES)][:GRID_FILES]
    for file in wanted:
        name = f"{file.parent.name}__{file.stem}"
        taught_here = is_taught(name)
        most = taught if taught_here else PAIRS
        seconds, looks, apart = (SECONDS, LOOKS, APART) if most <= PAIRS else (MORE_SECONDS, MORE_LOOKS, MORE_APART)
        found = looks_of(VideoSource(file, duration=seconds), backend, looks, apart)
        if found is None:
            log.info("%s: no usable face", name)
            continue
        widest = open_mouths(found[2])
        for split, back in ((("taught", BACK),) if taught_here else (("held_out", 0), ("repaired", 3))):
            count = most // GRID_SHARE if file in grid else most
            pairs = list(pairs_of(*found, widest, count, np.random.default_rng(zlib.crc32(name.encode())), side, back))
            if pairs:
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
