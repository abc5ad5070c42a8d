"""The three steps of a film in pieces. Each takes what the others left in files, so that any process may do it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..dubbing import DubReport, Inputs, cast_of, look, made, prepare_parts, source_of
from ..errors import LipSyncError, MediaError
from ..heard import Hearing
from ..making import Part
from ..media.again import frames_from
from ..media.pieces import JoinedWriter, PieceWriter, in_pieces
from ..options import DubOptions
from ..threads import Background, Prefetch
from ..types import Generator, Hooks
from .plan import FilmPlan

NEAR = 0.5
"""Share of a piece's length by which its end may move to a cut: a piece begins with a key frame, and so does a shot."""


def plan_film(inputs: Inputs, generator: Generator, seconds: float, hooks: Hooks, warnings: Sequence[str]) -> FilmPlan:
    """Look at all of a film, to make it in pieces of about `seconds`. `warnings` is what `hooks` collects. Raises `LipSyncError`."""
    options, source = inputs.options, inputs.source
    if options.overlay:
        raise LipSyncError("What is drawn into the picture needs all of the film: leave out the overlay, or --split.")
    analysis, directed = look(inputs, hooks)
    people = cast_of(analysis, directed.roles, generator, options, Hearing(generator, hooks))
    said: list[Any] = []
    numbers = []
    for (_, heard), role in zip(people, directed.roles):
        number = next((k for k, (other, _) in enumerate(said) if other is heard), len(said))
        if number == len(said):
            said.append((heard, role.speech))
        numbers.append(number)
    starts = np.array(analysis.shot_starts)
    report = {"frames": analysis.frames, "seconds": analysis.end, "tracks": len(analysis.tracks),
              "chosen": [person.track.track_id for person, _ in people], "warnings": list(warnings), "people": directed.people,
              "turns": directed.turns}
    return FilmPlan(pieces_of(analysis.times, starts, seconds), analysis.times, analysis.end, inputs.spoken, source.origin,
                    not source.counted and not source.damaged, [(person, k) for (person, _), k in zip(people, numbers)],
                    [heard if isinstance(heard, np.ndarray) else speech for heard, speech in said], report)


def pieces_of(times: np.ndarray, cuts: np.ndarray, seconds: float) -> list[tuple[int, int]]:
    """Frames at `times` (n,) -> pieces (first, after the last) of about `seconds`, which end at one of `cuts` (frames that begin a shot)
    where one is near."""
    count, places = max(1, round(float(times[-1]) / seconds)) if len(times) else 0, [0]
    for k in range(1, count):
        wanted = float(times[-1]) * k / count
        near = cuts[np.abs(times[cuts[cuts < len(times)]] - wanted) <= NEAR * seconds] if len(cuts) else cuts
        place = int(near[np.argmin(np.abs(times[near] - wanted))]) if len(near) else int(np.searchsorted(times, wanted))
        if place > places[-1]:
            places.append(place)
    return list(zip(places, [*places[1:], len(times)])) if len(times) else []


@dataclass
class Crew:
    """A generator and the people of one film that it has seen: what a worker keeps between its pieces."""

    plan: FilmPlan
    generator: Generator
    _heard: dict[int, Any] = field(default_factory=dict)
    _parts: dict[int, Part] = field(default_factory=dict)

    def parts(self, begin: int, end: int, options: DubOptions, hooks: Hooks) -> list[Part]:
        """Those who are seen in the frames from `begin` to `end`."""
        found = []
        for i, (person, k) in enumerate(self.plan.people):
            low, high = np.searchsorted(person.track.frames, [begin, end])
            if low == high:
                continue
            if k not in self._heard:
                heard = self.plan.heard[k]
                self._heard[k] = heard if isinstance(heard, np.ndarray) else self.generator.hear(heard, hooks)
            if i not in self._parts:
                (self._parts[i],) = prepare_parts([(person, self._heard[k])], self.generator, options, hooks)
            found.append(self._parts[i])
        return found


def make_piece(crew: Crew, number: int, video: Path, whole: Path, options: DubOptions, target: Path, hooks: Hooks) -> None:
    """Piece `number` of the film `video`, which becomes a part of `whole`, into `target`, and what is known of it beside it.
    Raises `LipSyncError`."""
    plan = crew.plan
    begin, end = plan.pieces[number]
    source = source_of(video, options, plan.spoken)
    time = Fraction(round(plan.times[begin] / source.info.time_base)) * source.info.time_base
    parts = crew.parts(begin, end, options, hooks)
    dubbed = count = 0
    writer = PieceWriter(target, whole, source.info, in_pieces(options.encoding, source.info, whole))
    with writer, Background(lambda item: writer.write(*item), 2) as encode, \
            Prefetch(frames_from(source, begin, time, plan.origin, plan.plain), 2) as frames:
        for item, frame, changed in made(frames, parts, crew.generator, options, source.info.rotation, end, hooks):
            if not count:
                first = item.pts
            dubbed, count = dubbed + changed, count + 1
            encode.put((frame, item.pts))
    if count != end - begin:
        raise MediaError(f"{video} has changed: {count} of {end - begin} frames are where they were. Begin the job again.")
    told = {"first": first, "dubbed": dubbed, "delay": writer.delay}
    beside, partial = beside_of(target), target.with_name(f".{target.name}.{os.getpid()}.json")
    partial.write_text(json.dumps(told), encoding="utf-8")
    os.replace(partial, beside)


def beside_of(piece: Path) -> Path:
    """What `make_piece` says of a piece; it is there when the piece is whole."""
    return piece.with_suffix(".json")


def join(inputs: Inputs, plan: FilmPlan, pieces: Sequence[Path], hooks: Hooks) -> DubReport:
    """The film of its pieces, with its sound. Raises `LipSyncError`."""
    told = [json.loads(beside_of(piece).read_text(encoding="utf-8")) for piece in pieces]
    encoding = in_pieces(inputs.options.encoding, inputs.source.info, inputs.output)
    inputs = dataclasses.replace(inputs, options=dataclasses.replace(inputs.options, encoding=encoding))
    with inputs.writer(plan.end, hooks, JoinedWriter) as writer:
        writer.delay = max((one["delay"] for one in told), default=0)
        for number, (piece, one) in enumerate(zip(pieces, told), 1):
            hooks.check_interrupt()
            writer.append(piece, one["first"])
            hooks.progress("join", number, len(pieces))
    inputs.sound.tell(hooks)
    report, dubbed = plan.report, sum(one["dubbed"] for one in told)
    return DubReport(inputs.output, report["frames"], dubbed, report["frames"] - dubbed, report["seconds"], report["tracks"],
                     report["chosen"], report["warnings"], report["people"], [tuple(turn) for turn in report["turns"]])
