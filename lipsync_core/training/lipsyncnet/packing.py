"""What all pieces make together: who is who, the split, offsets of short clips, and the report."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...types import Hooks
from .likeness import NEAR, group_looks, looks_apart
from .pieces import BEFORE, json_bytes, relation_of, write_whole
from .quality import REASONS
from .relation import AT_LEAST, Relation, pooled
from .shards import SHARD_MB, Chosen, write_shards

FIELDS = {
    "clip": "name of the file, with its folder", "person": "who (a prefix of --people, or a group of like looks)",
    "split": "train or test", "start": "seconds into the clip", "seconds": "length", "fps": "frames a second of the source",
    "audio_start": "seconds from the first frame at which the sound begins", "size": "side of the crops, pixels",
    "face_px": "median distance of the outer eye corners, pixels of the source", "yaw": "median |degrees|",
    "sharpness": "see quality.sharpness", "speech": "share of the time in which somebody speaks",
    "offset_ms": "by how much the clip's sound was late (< 0: early), which was taken out; null: not measured, left as it was",
    "offset_confidence": "see Relation.confidence; null: not measured",
    "relation": "correlation of mouth and sound at that offset; null: not measured"}
"""What `meta.json` says of a sample."""
TEST_SHARE = 0.1
"""Of the seconds that go into the test split where no list says who does."""
LEFT_OUT = 0.5
"""Seconds of others that may be left out, because they look like a group that is tested on, for each second of the group."""
AGREE = 0.1
"""Seconds by which a clip's own offset may differ from that of all clips of a listed person and be taken for the same."""


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
    candidates = [c for c in candidates if c.relation is None or c.relation >= AT_LEAST]
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
    groups = dict(zip(keys, group_looks(np.stack([looks[key] for key in keys])) if keys else []))
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
    together = {person: pooled(list(relations.values())) for person, relations in of_person.items()}
    for c in candidates:
        mine, ours = own[c.record["clip"]], together[c.person]
        chosen = mine if mine.sure else ours if ours.sure else None
        if chosen is mine and ours.sure and c.person in options.people and abs(mine.offset - ours.offset) <= AGREE:
            chosen = ours                                             # many clips of one recording know it better than each
        if chosen is not None:
            c.offset, c.confidence = round(chosen.offset, 3), chosen.confidence   # to the ms that the meta says
            c.relation = relation_of(c.entry).near(c.offset)
            if c.relation < AT_LEAST:
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
            apart = looks_apart(looks, c.look)
            if apart.min() < NEAR:
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
            near |= looks_apart(looks, look) < NEAR
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
