"""What an evaluation says: a frozen dataclass, JSON, and a table for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .container import Timing
from .measures import MEASURES, Measure
from .syncnet_file import NO_FILE, how_to_get_it

FORMAT = 1
"""Version of the JSON; keys are only ever added under the same number."""
SYNC_KEYS = ("lse_c", "lse_d", "syncnet_offset_ms")
"""Measures that stand at the top of the JSON."""
SYNC_TITLE = "LSE-C, LSE-D [SyncNet]"


@dataclass(frozen=True)
class Tile:
    """A moment worth looking at."""

    title: str
    time: float
    crops: dict[str, bytes]
    """JPEG of the mouth by clip: 'dub', 'source', 'truth'."""


@dataclass(frozen=True)
class Evaluation:
    """One dubbed clip, measured."""

    dubbed: str
    source: str | None
    truth: str | None
    audio: str
    """The driving sound's file; the dubbed clip itself where none was given."""
    landmarks: str
    landmarks_note: str
    """Empty, or why to read with care."""
    frames: int
    frames_with_face: int
    measures: dict[str, float | None]
    """By key of `MEASURES`; None where it could not be measured (see `notes`)."""
    counts: dict[str, int]
    """How many frames, pairs or closures a measure rests on."""
    timing: Timing
    passed: dict[str, int] | None
    """Frames that could not be dubbed, by reason; None without a source."""
    notes: list[str]
    curves: dict[str, np.ndarray] = field(repr=False, default_factory=dict)
    """Over `time` (seconds): `opening`, `width`, and with source and truth `opening_source`, `opening_truth`, ... on the dub's frames;
    `sound_time`, `sound_level` (dB), `speech` (0..1)."""
    tiles: list[Tile] = field(repr=False, default_factory=list)
    lse_note: str = NO_FILE
    """Why there are no scores of SyncNet; empty where there are."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON: README.md beside this file lists the keys."""
        return {
            "format": FORMAT, "dubbed": self.dubbed, "source": self.source, "truth": self.truth, "audio": self.audio,
            "landmarks": self.landmarks, "landmarks_note": self.landmarks_note,
            "frames": self.frames, "frames_with_face": self.frames_with_face,
            "measures": {key: _rounded(value) for key, value in self.measures.items() if key not in SYNC_KEYS}, "counts": self.counts,
            **{key: _rounded(self.measures.get(key)) for key in SYNC_KEYS}, "lse_note": self.lse_note,
            "timing": self.timing.as_dict(), "passed_through": self.passed, "notes": self.notes,
            "curves": {key: _listed(values) for key, values in self.curves.items() if not key.startswith("sound")},
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _listed(values: np.ndarray) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


def short_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the columns are called: the shortest tails of the paths that differ."""
    parts = [e.dubbed.replace("\\", "/").split("/") for e in evaluations]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({i + 1})" for i, name in enumerate(names)]


def _cell(measure: Measure, value: float | None, count: int | None) -> str:
    rests = f"n {count}  " if count is not None and value is not None else ""
    return rests + measure.show(value) + (" !" if measure.judge(value) is False else "  ")


def sync_notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """Why SyncNet's lines are missing, a text a clip; empty where they are not."""
    return [] if any(not e.lse_note for e in evaluations) else [e.lse_note for e in evaluations]


def without_syncnet(evaluations: Sequence[Evaluation]) -> bool:
    """Whether there was no file of it."""
    return any(e.lse_note == NO_FILE for e in evaluations)


def table(evaluations: Sequence[Evaluation]) -> str:
    """The measures as text, a column a clip; '!' marks a value outside its good range. Lines that nobody has are left out."""
    names = short_names(evaluations)
    lines = [["", *names, "good"]]
    for measure in MEASURES:
        values = [e.measures.get(measure.key) for e in evaluations]
        if measure.key == SYNC_KEYS[0] and (missing := sync_notes(evaluations)):
            lines.append([SYNC_TITLE, *(f"{note}  " for note in missing), ""])
        if all(value is None for value in values) and measure.key != "outside_psnr":
            continue
        cells = [_cell(measure, value, e.counts.get(measure.count)) for value, e in zip(values, evaluations)]
        lines.append([f"{measure.title} [{measure.unit}]", *cells, measure.wanted()])
    lines.append(["Frames with a face / all", *(f"{e.frames_with_face}/{e.frames}  " for e in evaluations), ""])
    if any(e.passed is not None for e in evaluations):
        lines.append(["Frames passed through", *(f"{sum((e.passed or {}).values())}  " for e in evaluations), ""])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = "\n".join("  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:-1], widths[1:-1])), line[-1]]).rstrip()
                     for line in lines)
    remarks = [how_to_get_it()] if without_syncnet(evaluations) else []
    for name, e in zip(names, evaluations):
        remarks += [f"{name}: {note}" if len(names) > 1 else note for note in e.notes]
    note = evaluations[0].landmarks_note or f"landmarks: {evaluations[0].landmarks}"
    return "\n".join([text, "", note, *remarks])
