"""What must be known of a whole film to make any piece of it: in one safetensors file, which runs nothing when it is read."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import MediaError, OutputError
from ..types import FaceCrop, FaceTrack, Person, Speech

FORMAT = 1


@dataclass(frozen=True)
class FilmPlan:
    """Pieces, people and what they say."""

    pieces: Sequence[tuple[int, int]]
    """First frame and the one after the last, of each."""
    times: np.ndarray
    """float64 (n,), seconds at which each frame is shown."""
    end: float
    """Seconds of the result."""
    spoken: float
    """Seconds at which the last recording ends."""
    origin: int
    plain: bool
    """As `media.again.frames_from` wants them."""
    people: Sequence[tuple[Person, int]]
    """Each with the number of what they say."""
    heard: Sequence[np.ndarray | Speech]
    """What the generator heard of each recording where that is an array; else the recording, to be heard again."""
    report: Mapping[str, Any]
    """Of `dubbing.DubReport` what is known before the first frame is made."""


def save_plan(plan: FilmPlan, file: Path) -> None:
    """Whole or not at all. Raises `OutputError`."""
    arrays: dict[str, np.ndarray] = {"times": plan.times, "pieces": np.array(plan.pieces, np.int64).reshape(-1, 2)}
    people = []
    for i, (person, said) in enumerate(plan.people):
        fields = {key: value for key, value in vars(person.track).items() if isinstance(value, np.ndarray)}
        arrays |= {f"{i}.{key}": value for key, value in fields.items()}
        for j, crop in enumerate(person.references):
            arrays |= {f"{i}.{j}.{key}": value for key, value in vars(crop).items() if isinstance(value, np.ndarray)}
        people.append({"track": person.track.track_id, "said": said, "references": [int(crop.frame) for crop in person.references]})
    for k, heard in enumerate(plan.heard):
        arrays[f"speech{k}" if isinstance(heard, Speech) else f"heard{k}"] = heard.samples if isinstance(heard, Speech) else heard
    told = {"format": FORMAT, "end": plan.end, "spoken": plan.spoken, "origin": plan.origin, "plain": plan.plain, "people": people,
            "heard": len(plan.heard), "report": dict(plan.report)}
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, partial, {"film": json.dumps(told)})
        os.replace(partial, file)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{file} can't be written ({error}): look at the free space.") from error


def load_plan(file: Path) -> FilmPlan:
    """Raises `MediaError` for what is none."""
    try:
        with safe_open(file, "np") as held:
            told = json.loads((held.metadata() or {})["film"])
            if told["format"] != FORMAT:
                raise KeyError("format")
            known = set(held.keys())
            people = []
            for i, one in enumerate(told["people"]):
                track = FaceTrack(**{key.name: held.get_tensor(f"{i}.{key.name}") for key in dataclasses.fields(FaceTrack)
                                     if f"{i}.{key.name}" in known}, track_id=one["track"])
                crops = [FaceCrop(*(held.get_tensor(f"{i}.{j}.{key}") for key in ("pixels", "matrix", "landmarks")), frame)
                         for j, frame in enumerate(one["references"])]
                people.append((Person(track, crops), one["said"]))
            heard = [Speech(held.get_tensor(f"speech{k}")) if f"speech{k}" in known else held.get_tensor(f"heard{k}")
                     for k in range(told["heard"])]
            return FilmPlan([(int(a), int(b)) for a, b in held.get_tensor("pieces")], held.get_tensor("times"), told["end"],
                            told["spoken"], told["origin"], told["plain"], people, heard, told["report"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MediaError(f"{file} is no plan of a film of this version ({error}): begin the job again.") from error
