"""Pieces: what is kept of each clip, crops as video and sound, in a tar file of its own until all clips are known."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ...errors import OutputError
from ...types import SPEECH_RATE
from .relation import REACH, Relation

CRF, PRESET = "14", "medium"
"""Constant quality of the crops: about 43 dB against the crop itself, 60 KB a second at 288 px."""
X264 = "chromaloc=1:mbtree=0"
"""Chroma between the pixels. Without the second, x264 reads memory that nobody wrote (half the side must be a multiple of 64 to be spared)
and the same crops give other bytes each time; it costs a quarter more of them."""
BEFORE, AFTER = 1.2, 0.3
"""Seconds of sound before the first frame and after the last."""
SPARE = REACH
"""Seconds of sound that pieces hold beyond that on both sides, so that an offset can still be taken out."""
BLOCK = 512
"""Of a tar file: each member is a block of header and whole blocks of content."""


class CropVideo:
    """RGB crops one by one -> an H.264 file in memory.

    Full-range BT.601 with chroma between the pixels, as JPEG has it, and tagged so: what `dataset.read_video` undoes. One thread, so that
    every machine writes the same bytes.
    """

    def __init__(self, size: int, rate: Fraction) -> None:
        self.size, self.count = size, 0
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="mp4")
        rate = Fraction(rate).limit_denominator(60_000)
        options = {"crf": CRF, "preset": PRESET, "g": str(max(1, round(rate))), "threads": "1", "x264-params": X264}
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = 5, 2, 1, 1
        self._base = 1 / rate

    def add(self, crop: np.ndarray) -> None:
        """The next frame, RGB uint8 (size, size, 3); size must be even."""
        whole = cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb)
        small = cv2.resize(whole, (self.size // 2, self.size // 2), interpolation=cv2.INTER_AREA)
        planes = np.concatenate([part.reshape(-1) for part in (whole[..., 0], small[..., 2], small[..., 1])])
        frame = av.VideoFrame.from_ndarray(planes.reshape(self.size * 3 // 2, self.size), format="yuv420p")
        frame.colorspace, frame.color_range = 5, 2
        frame.pts, frame.time_base = self.count, self._base
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def finish(self) -> bytes:
        """The file. Nothing can be added afterwards."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


def array_bytes(values: np.ndarray) -> bytes:
    """As a .npy file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode("utf-8")


def write_whole(file: Path, data: bytes) -> None:
    """Replace `file` at once. Raises `OutputError`."""
    part = file.with_name(file.name + ".partial")
    try:
        with open(part, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{file} can't be written ({error.strerror}): make room, or choose another folder.") from error




@dataclass
class Piece:
    """The samples of one clip, on their way into `<clip>.tar`. Use as a context manager: after an error nothing is left."""

    file: Path
    places: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """For every key where its parts lie: name -> [offset, size]."""

    def __enter__(self) -> Piece:
        self._part = self.file.with_name(self.file.name + ".partial")
        self._stream = open(self._part, "wb")
        self._tar = tarfile.open(fileobj=self._stream, mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def add(self, key: str, parts: Mapping[str, bytes]) -> None:
        for name, data in parts.items():
            entry = tarfile.TarInfo(f"{key}.{name}")
            entry.size = len(data)
            self._tar.addfile(entry, io.BytesIO(data))
            self.places.setdefault(key, {})[name] = [self._tar.offset - -(-len(data) // BLOCK) * BLOCK, len(data)]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._tar.close()
        finally:
            self._stream.close()
            if kind is not None:
                self._part.unlink(missing_ok=True)
        if kind is None:
            os.replace(self._part, self.file)


def read_part(piece: Path, place: list[int]) -> bytes:
    """One part of a sample of a piece. Raises `OutputError` where the piece is gone or short."""
    try:
        with piece.open("rb") as stream:
            stream.seek(place[0])
            data = stream.read(place[1])
    except OSError as error:
        raise OutputError(f"{piece} can't be read ({error.strerror}): delete it and its .json, and run prepare again.") from error
    if len(data) != place[1]:
        raise OutputError(f"{piece} is cut off: delete it and its .json, and run prepare again.")
    return data


def piece_sound(samples: np.ndarray, begin: float, seconds: float) -> np.ndarray:
    """int16: what a piece keeps of the sound, float32 (k,) at 16 kHz, of a segment that begins `begin` seconds into it and lasts
    `seconds`; silence where there is none."""
    first = round((begin - BEFORE - SPARE) * SPEECH_RATE)
    count = round((seconds + BEFORE + AFTER + 2 * SPARE) * SPEECH_RATE)
    low, high = max(0, first), min(len(samples), first + count)
    kept = np.zeros(count, np.int16)
    if high > low:
        kept[low - first:high - first] = np.rint(np.clip(samples[low:high], -1, 32767 / 32768) * 32768)
    return kept


def shifted_sound(kept: np.ndarray, offset: float) -> np.ndarray:
    """What a sample holds of `piece_sound`, `offset` seconds (> 0: the sound was late) taken out."""
    shift = round((SPARE + float(np.clip(offset, -SPARE, SPARE))) * SPEECH_RATE)
    return kept[shift:shift + len(kept) - 2 * round(SPARE * SPEECH_RATE)]


def relation_fields(relation: Relation) -> dict[str, Any]:
    """As records keep it: thousandths, two bytes each, because there are millions of segments."""
    curve = np.rint(1000 * np.asarray(relation.curve)).astype("<i2")
    return {"relation": base64.b64encode(curve.tobytes()).decode("ascii"), "relation_seconds": round(relation.seconds, 2)}


def relation_of(entry: Mapping[str, Any]) -> Relation:
    """Of a record, or of one of its segments."""
    return Relation(np.frombuffer(base64.b64decode(entry["relation"]), "<i2") / 1000, float(entry["relation_seconds"]))


