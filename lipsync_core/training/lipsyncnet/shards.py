"""Writing: crops as video, a piece for each clip, and what all pieces make together: who is who, splits, shards, index and report.

Everything is written beside its place and renamed, and nothing in it depends on time, machine or order of work: pieces made by one
process or by many, at once or after a kill, give the same shards byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import webdataset as wds

from ...errors import OutputError
from ...types import SPEECH_RATE, Hooks
from . import quality
from .quality import REACH, REASONS, Relation

FORMAT = "openlipsync lipsyncnet shards 1"
SPLITS = ("train", "test")
CRF, PRESET = "14", "medium"
"""Constant quality of the crops: about 43 dB against the crop itself, 60 KB a second at 288 px."""
X264 = "chromaloc=1:mbtree=0"
"""Chroma between the pixels. Without the second, x264 reads memory that nobody wrote (half the side must be a multiple of 64 to be spared)
and the same crops give other bytes each time; it costs a quarter more of them."""
BEFORE, AFTER = 1.2, 0.3
"""Seconds of sound before the first frame and after the last."""
SPARE = REACH
"""Seconds of sound that pieces hold beyond that on both sides, so that an offset can still be taken out."""
FIELDS = {
    "clip": "name of the file, with its folder", "person": "who (a prefix of --people, or a group of like looks)",
    "split": "train or test", "start": "seconds into the clip", "seconds": "length", "fps": "frames a second of the source",
    "audio_start": "seconds from the first frame at which the sound begins", "size": "side of the crops, pixels",
    "face_px": "median distance of the outer eye corners, pixels of the source", "yaw": "median |degrees|",
    "sharpness": "see quality.sharpness", "speech": "share of the time in which somebody speaks",
    "offset_ms": "by how much the clip's sound was late (< 0: early), which was taken out; null: not measured, left as it was",
    "offset_confidence": "see quality.Relation.confidence; null: not measured",
    "relation": "correlation of mouth and sound at that offset; null: not measured"}
"""What `meta.json` says of a sample."""
TEST_SHARE = 0.1
"""Of the seconds that go into the test split where no list says who does."""
LEFT_OUT = 0.5
"""Seconds of others that may be left out, because they look like a group that is tested on, for each second of the group."""
AGREE = 0.1
"""Seconds by which a clip's own offset may differ from that of all clips of a listed person and be taken for the same."""
SHARD_MB = 60.0
BLOCK = 512
"""Of a tar file: each member is a block of header and whole blocks of content."""
END = 10_240
"""What a tar file's end may take."""


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


# -- pieces ----------------------------------------------------------------------------------------------------------------------


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


# -- shards ----------------------------------------------------------------------------------------------------------------------


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


# -- all clips together ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackOptions:
    """What decides about the shards, once the pieces are there."""

    test_people: tuple[str, ...] = ()
    """Beginnings of clips' names whose people are tested on."""
    people: tuple[str, ...] = ()
    """Beginnings of clips' names that stand for one person (and one recording) each."""
    test_share: float = TEST_SHARE
    """Of the seconds, without `test_people`: whole groups of like looks."""
    unsure: str = "keep"
    """Clips that are too short to tell whether they are in sync: 'keep' or 'drop'."""
    shard_mb: float = SHARD_MB
    seed: int = 0


@dataclass
class _Candidate:
    """A segment of a record, on its way into the shards."""

    record: dict[str, Any]
    entry: dict[str, Any]
    look: np.ndarray
    group: int = -1
    person: str = ""
    split: str = "train"
    offset: float | None = None
    confidence: float | None = None
    relation: float | None = None

    @property
    def seconds(self) -> float:
        return float(self.entry["meta"]["seconds"])

    def drop(self, why: str, **detail: Any) -> None:
        meta = self.entry["meta"]
        self.record["dropped"].append({"start": meta["start"], "end": round(meta["start"] + meta["seconds"], 3),
                                       "person": self.entry["person"], "why": why, **detail})


def pack(records: Sequence[dict[str, Any]], pieces: Path, folder: Path, options: PackOptions, hooks: Hooks) -> dict[str, Any]:
    """Decide what needs all clips, write shards, `index.json` and `report.json` into `folder`; returns the report."""
    records = [dict(record, dropped=list(record["dropped"])) for record in records]
    candidates = [_Candidate(record, entry, np.array(record["looks"][str(entry["person"])], np.float32))
                  for record in records for entry in record["segments"]]
    _name_people(candidates, options)
    _time(candidates, options)
    candidates = [c for c in candidates if not (c.offset is None and options.unsure == "drop")]
    candidates = [c for c in candidates if c.relation is None or c.relation >= quality.AT_LEAST]
    alike = _split(candidates, options)
    candidates = [c for c in candidates if c.split]
    total, written = len(candidates), Counter()

    def step() -> None:
        hooks.check_interrupt()
        written["samples"] += 1
        hooks.progress("pack", written["samples"], total)

    chosen = [Chosen(c.entry["key"], c.split, pieces / f"{c.record['clip']}.tar", c.entry["places"], c.offset or 0.0, _meta(c))
              for c in candidates]
    index = write_shards(folder, chosen, round(options.shard_mb * 1e6), options.seed, step)
    report = _report(records, candidates, alike, index)
    write_whole(folder / "report.json", json_bytes(report))
    return report


def _meta(candidate: _Candidate) -> dict[str, Any]:
    """See `FIELDS`."""
    def number(value: float | None, places: int) -> float | None:
        return None if value is None else round(float(value), places)

    return {"clip": candidate.record["clip"], "person": candidate.person, "split": candidate.split, "audio_start": -BEFORE,
            **candidate.entry["meta"], "offset_ms": number(None if candidate.offset is None else 1000 * candidate.offset, 0),
            "offset_confidence": number(candidate.confidence, 3), "relation": number(candidate.relation, 3)}


def begins_with(clip: str, prefixes: Sequence[str]) -> str | None:
    """The first of the prefixes with which a clip's name, or its name without the folder, begins."""
    bare = clip.partition("__")[2]
    for prefix in prefixes:
        plain = re.sub(r"[^a-z0-9_-]+", "-", prefix.lower().replace("/", "__"))
        if clip.startswith(plain) or bare.startswith(plain):
            return prefix
    return None


def _name_people(candidates: Sequence[_Candidate], options: PackOptions) -> None:
    """By list, or after the first clip that looks like them."""
    looks: dict[tuple[str, int], np.ndarray] = {}
    for c in candidates:
        looks.setdefault((c.record["clip"], c.entry["person"]), c.look)
    keys = list(looks)
    groups = dict(zip(keys, quality.group_looks(np.stack([looks[key] for key in keys])) if keys else []))
    names: dict[int, str] = {}
    for key in keys:
        names.setdefault(groups[key], f"{key[0]}_p{key[1]}")
    for c in candidates:
        c.group = groups[c.record["clip"], c.entry["person"]]
        c.person = begins_with(c.record["clip"], options.people) or names[c.group]


def _time(candidates: Sequence[_Candidate], options: PackOptions) -> None:
    """Offsets: a clip's own where it is sure, else that of all clips of the person together. What does not fit is dropped."""
    own = {c.record["clip"]: relation_of(c.record) for c in candidates}
    of_person: dict[str, dict[str, Relation]] = {}
    for c in candidates:
        of_person.setdefault(c.person, {})[c.record["clip"]] = own[c.record["clip"]]
    together = {person: quality.pooled(list(relations.values())) for person, relations in of_person.items()}
    for c in candidates:
        mine, ours = own[c.record["clip"]], together[c.person]
        chosen = mine if mine.sure else ours if ours.sure else None
        if chosen is mine and ours.sure and c.person in options.people and abs(mine.offset - ours.offset) <= AGREE:
            chosen = ours                                             # many clips of one recording know it better than each
        if chosen is not None:
            c.offset, c.confidence = round(chosen.offset, 3), chosen.confidence   # to the ms that the meta says
            c.relation = relation_of(c.entry).near(c.offset)
            if c.relation < quality.AT_LEAST:
                c.drop("not speaking", relation=round(c.relation, 3))
        elif options.unsure == "drop":
            c.drop("not measured", best=round(mine.peak, 3), confidence=round(mine.confidence, 3))


def _split(candidates: Sequence[_Candidate], options: PackOptions) -> list[str]:
    """Says of each candidate where it goes; '' where it is left out, because it looks like somebody of the test split.

    Lists are believed: then the clips that look alike on both sides are only returned."""
    chosen = set() if options.test_people else _test_groups(candidates, options)
    for c in candidates:
        tested = begins_with(c.record["clip"], options.test_people) if options.test_people else c.group in chosen
        c.split = "test" if tested else "train"
    tested = [c for c in candidates if c.split == "test"]
    alike: list[str] = []
    if not tested:
        return alike
    looks = np.stack([c.look for c in tested])
    for c in candidates:
        if c.split == "train":
            apart = quality.looks_apart(looks, c.look)
            if apart.min() < quality.NEAR:
                whom = tested[int(apart.argmin())].record["clip"]
                alike.append(f"{c.record['clip']} ~ {whom}")
                if not options.test_people:
                    c.drop("like a test person", whom=whom)
                    c.split = ""
    return sorted(set(alike))


def _test_groups(candidates: Sequence[_Candidate], options: PackOptions) -> set[int]:
    """Groups that are tested on, in an order that `seed` decides, until they have `test_share` of the seconds.

    Groups that many others look like are passed over (they are parts of one person, or of one studio), and so are those that are too
    large. There may be none."""
    seconds: Counter[int] = Counter()
    for c in candidates:
        seconds[c.group] += c.seconds
    wanted = options.test_share * sum(seconds.values())
    looks, groups = np.stack([c.look for c in candidates]) if candidates else None, np.array([c.group for c in candidates])
    lengths = np.array([c.seconds for c in candidates])
    test: set[int] = set()
    for group in sorted(seconds, key=lambda number: hashlib.sha256(f"{options.seed}:{number}".encode()).digest()):
        have = sum(seconds[number] for number in test)
        if have >= wanted - 1e-9:
            break
        if have + seconds[group] > 2 * wanted:
            continue
        near = np.zeros(len(candidates), bool)
        for look in np.unique(looks[groups == group], axis=0):
            near |= quality.looks_apart(looks, look) < quality.NEAR
        if lengths[near & (groups != group)].sum() <= LEFT_OUT * seconds[group]:
            test.add(group)
    return test


def _report(records: Sequence[dict[str, Any]], candidates: Sequence[_Candidate], alike: list[str], index: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, list[dict[str, Any]]] = {}
    for c in candidates:
        meta = _meta(c)
        kept.setdefault(c.record["clip"], []).append({"key": c.entry["key"], **{name: meta[name] for name in (
            "start", "seconds", "person", "split", "offset_ms", "offset_confidence", "relation", "speech", "face_px", "sharpness")}})
    clips = []
    for record in records:
        relation = relation_of(record) if "relation" in record else None
        measured = {"lag_ms": round(1000 * relation.offset), "correlation": round(relation.peak, 3), "sure": relation.sure,
                    "confidence": round(relation.confidence, 3), "seconds": relation.seconds} if relation and relation.seconds else None
        clips.append({"clip": record["clip"], "file": record["file"], "seconds": record["seconds"], "faces": record["faces"],
                      "cuts": record["cuts"], "sound": measured, "kept": kept.get(record["clip"], []), "dropped": record["dropped"]})
    return {"format": index["format"], "kept": {name: index[name] for name in ("samples", "seconds", "people", "splits")},
            "seen": {"clips": len(clips), "seconds": round(sum(clip["seconds"] for clip in clips), 3)},
            "dropped": _dropped(clips), "alike_on_both_sides": alike, "clips": clips}


def _dropped(clips: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For every reason: clips, stretches, seconds."""
    result = {}
    for why in REASONS:
        found = [(clip["clip"], entry) for clip in clips for entry in clip["dropped"] if entry["why"] == why]
        if found:
            result[why] = {"clips": len({clip for clip, _ in found}), "stretches": len(found),
                           "seconds": round(sum(entry["end"] - entry["start"] for _, entry in found), 3)}
    return result


def table(report: dict[str, Any]) -> str:
    """What was kept, and what was dropped and why, to be read."""
    kept, seen = report["kept"], report["seen"]
    lines = [f"{'':52s} {'clips':>7s} {'stretches':>10s} {'seconds':>10s}",
             f"{'looked at':52s} {seen['clips']:7d} {'':10s} {seen['seconds']:10.1f}"]
    for split, numbers in kept["splits"].items():
        clips = len({clip["clip"] for clip in report["clips"] if any(entry["split"] == split for entry in clip["kept"])})
        people = f"kept, {split} ({numbers['people']} people)"
        lines.append(f"{people:52s} {clips:7d} {numbers['samples']:10d} {numbers['seconds']:10.1f}")
    for why, numbers in report["dropped"].items():
        lines.append(f"{'dropped: ' + REASONS[why]:52s} {numbers['clips']:7d} {numbers['stretches']:10d} {numbers['seconds']:10.1f}")
    cut = sum(bool(clip["cuts"]) for clip in report["clips"])
    lines.append(f"clips with cuts inside: {cut}; clips with several faces: {sum(clip['faces'] > 1 for clip in report['clips'])}")
    timed = [entry["offset_ms"] for clip in report["clips"] for entry in clip["kept"] if entry["offset_ms"] is not None]
    if timed:
        lines.append(f"sound was late by {np.median(timed):+.0f} ms (median; {min(timed):+.0f} to {max(timed):+.0f}), taken out; "
                     f"not measured in {kept['samples'] - len(timed)} of {kept['samples']} samples")
    if report["alike_on_both_sides"]:
        lines.append(f"clips of the training that look like one of the test: {len(report['alike_on_both_sides'])} (see report.json)")
    return "\n".join(lines)
