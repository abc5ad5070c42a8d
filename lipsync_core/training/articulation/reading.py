"""Teach the linear reading of the speech encoder on the lips of real people, by ridge regression.

Sums of products are kept person by person, so that everybody can be left out in turn: the figures of people that nothing was taught
on come from the same clips that then teach what ships.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ...audio import load_speech
from ...dsp import band_levels, speech_activity
from ...generators.morph.articulation import finish
from ...generators.morph.articulation_net import BANDS, RATE, energy_of, start_loudness
from ...generators.morph.streaming import Articulator, StreamState
from ...hearing.encoder import WIDTH
from ...hearing.listening import DEPTH, LIVE, SHAPE_RATE, TAPS, WHOLE, Windows, heard, load_encoder
from ...hearing.reading import READS, around
from .real import RealClip, best_lag

log = logging.getLogger(__name__)

OPENINGS = [READS.index("opening"), READS.index("shut")]
FEATURES = len(TAPS) * WIDTH
"""Inputs that come from the encoder; the networks' channels follow."""
RIDGE = 2e4
"""Weight of the penalty on standardised inputs: 5e3 to 6e4 give the same r to 0.01."""
TOUCH = 0.12
"""Share of a person's range under which lips count as touching (`evaluate.SHUT`)."""
SPOKEN = 0.3
"""Speech activity from which shut lips are a closure of speech."""
ONE_PERSON = 0.25
"""Weight of a frame of the person of whom there are hundreds of clips."""
RAW_WIDTH = 0.3
"""What the networks' width adds to their opening where only they are there to find a clip's offset."""


@dataclass(frozen=True)
class Taught:
    """One clip as the regression wants it; m rows, `SHAPE_RATE` a second."""

    person: str
    clip: RealClip
    inputs: tuple[np.ndarray, ...]
    """float16 (m, len(TAPS) * 288 + (2 NEAR + 1) * CHANNELS), once for each kind of windows."""
    raw: np.ndarray
    """float32 (m, CHANNELS): the networks' rows."""

    def targets(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """`READS` (m, 4) of a picture that the sound follows by `lag` rows, and which rows count (m,) bool."""
        m = len(self.clip.opening)
        moved = np.arange(m) - lag
        at = np.clip(moved, 0, m - 1)
        seen = self.clip.seen[at] & (moved >= 0) & (moved < m)
        shut = (self.clip.opening < TOUCH) & (self.clip.spoken > SPOKEN)
        values = np.stack([self.clip.opening, self.clip.width, self.clip.jaw, shut.astype(np.float32)], 1)[at]
        # How far people open differs: what is read is relative to the speaker.
        values[:, :3] -= values[seen, :3].mean(0) if seen.any() else 0
        return np.nan_to_num(values).astype(np.float32), seen


def inputs_of(clip: RealClip, samples: np.ndarray, networks: Articulator, windows: Iterable[Windows], depth: int = DEPTH
              ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """What a clip's sound gives the reading, once for each kind of `windows`, and the networks' rows."""
    m, encoder = len(clip.opening), load_encoder()
    state = StreamState(loudness=start_loudness(energy_of(band_levels(samples, BANDS, RATE))))
    raw, _ = networks.feed(samples, state, last=True)
    raw = np.pad(raw, ((0, max(0, m - len(raw))), (0, 0)), mode="edge")[:m]
    near = around(torch.from_numpy(raw), 0, m).flatten(1).numpy()
    found = []
    for kind in windows:
        rows = [features.flatten(1).numpy().astype(np.float16) for features in heard(encoder, samples, m, kind, depth)]
        found.append(np.concatenate([np.concatenate(rows), near.astype(np.float16)], 1))
    return tuple(found), raw


def take(clips: Iterable[tuple[str, RealClip]], media: Path, windows: tuple[Windows, ...] = (WHOLE, LIVE), depth: int = DEPTH
         ) -> list[Taught]:
    """Clips with their persons -> what the regression wants."""
    networks, result = Articulator(), []
    for person, clip in clips:
        folder, _, stem = clip.name.partition("__")
        samples = load_speech(next((media / folder).glob(f"{stem}.*"))).samples.astype(np.float32)
        inputs, raw = inputs_of(clip, samples, networks, windows, depth)
        result.append(Taught(person, clip, inputs, raw))
    return result


class Sums:
    """Products of standardised inputs (the first `columns` of them) with themselves and with the targets, for each person; the
    `partly` teach width and jaw only."""

    def __init__(self, clips: list[Taught], lags: dict[str, int], few: set[str], columns: int | None = None,
                 partly: Iterable[str] = ()) -> None:
        self.columns, self.partly = columns, set(partly)
        some = np.concatenate([x[::5, :columns] for item in clips for x in item.inputs]).astype(np.float32)
        self.mean, self.spread = some.mean(0), some.std(0) + 1e-3
        size = len(self.mean) + 1
        self.persons = {item.person: (np.zeros((size, size), np.float32), np.zeros((size, len(READS)), np.float32)) for item in clips}
        for item in clips:
            values, seen = item.targets(lags[item.clip.name])
            weight = seen.astype(np.float32) * (1.0 if item.person in few else ONE_PERSON) / len(item.inputs)
            for x in item.inputs:
                x = self.standard(x)
                square, product = self.persons[item.person]
                square += (x * weight[:, None]).T @ x
                product += (x * weight[:, None]).T @ values

    def standard(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([(x[:, :self.columns].astype(np.float32) - self.mean) / self.spread, np.ones((len(x), 1), np.float32)], 1)

    def solve(self, without: str | None = None) -> np.ndarray:
        """Weights (inputs + 1, len(READS)) taught on everybody but `without`."""
        weights = self._solve({without})
        if self.partly:
            whole = self._solve({without} | self.partly)
            weights[:, OPENINGS] = whole[:, OPENINGS]
        return weights

    def _solve(self, without: set[str | None]) -> np.ndarray:
        kept = [sums for person, sums in self.persons.items() if person not in without]
        square, product = sum(s for s, _ in kept), sum(p for _, p in kept)
        square[np.diag_indices(len(square) - 1)] += RIDGE
        return np.linalg.solve(square, product)


def teach(clips: list[Taught], others: list[Taught] = (), columns: int | None = None, partly: Iterable[str] = ()
          ) -> tuple[Sums, dict[str, np.ndarray], dict[str, int]]:
    """Two rounds: offsets from the networks alone, then from the reading of people that were left out. Returns the sums, the last
    round's readings (m, len(READS)) of every clip by a reading that never saw its person, and the clips' offsets in rows. `others`
    teach nothing; `columns`: read the first of the inputs only; persons in `partly` teach width and jaw only."""
    persons = [item.person for item in clips]
    few = {person for person in persons if persons.count(person) < 20}
    lags = {item.clip.name: _lag(networks_alone(item)[:, 0], item.clip) for item in [*clips, *others]}
    for _ in range(2):
        # A sentence of three seconds doesn't tell its offset, but those of one person were recorded alike.
        for person in set(persons) - few:
            common = round(float(np.median([lags[item.clip.name] for item in clips if item.person == person])))
            lags |= {item.clip.name: common for item in clips if item.person == person}
        sums, read = Sums(clips, lags, few, columns, partly), {}
        for person in dict.fromkeys(item.person for item in [*clips, *others]):
            weights = sums.solve(person)
            for item in [*clips, *others]:
                if item.person == person:
                    read[item.clip.name] = sums.standard(item.inputs[0]) @ weights
        lags = {item.clip.name: _lag(read[item.clip.name][:, 0], item.clip) for item in [*clips, *others]}
    return sums, read, lags


def networks_alone(item: Taught) -> np.ndarray:
    """Opening, width and jaw (m, 3) as the networks tell them without the encoder."""
    return np.stack([item.raw[:, 0] + RAW_WIDTH * item.raw[:, 1], item.raw[:, 1], item.raw[:, 2]], 1)


def _lag(opening: np.ndarray, clip: RealClip) -> int:
    return round(best_lag(opening, clip)[2] * SHAPE_RATE)


def scores(item: Taught, read: np.ndarray) -> dict[str, float]:
    """r of a clip's opening, width and jaw at the opening's best lag, and that lag in ms."""
    _, r, lag = best_lag(read[:, 0], item.clip)
    row = {"opening": r, "lag_ms": 1000 * lag}
    moved = np.roll(read, -round(lag * SHAPE_RATE), 0)
    for column, name in ((1, "width"), (2, "jaw")):
        row[name] = best_lag(moved[:, column], replace(item.clip, opening=getattr(item.clip, name)), reach=0.0)[0]
    return row


def drawn(item: Taught, read: np.ndarray) -> dict[str, np.ndarray]:
    """The curves that `evaluate.row_of` measures: mouth shapes as they would be drawn."""
    shapes = finish(np.concatenate([item.raw, read], 1), speech_activity(item.clip.levels.astype(np.float32), RATE))
    return {"drawn": shapes[:, 0] * shapes[:, -1], "width": shapes[:, 1]}


def export(sums: Sums, file: Path) -> None:
    """The weights of `hearing.reading.Reading` or, of features alone, of the sync score's `evaluation.hearsay`, taught on everybody,
    with the standardisation multiplied in."""
    weights = sums.solve().astype(np.float64)
    linear, bias = weights[:-1] / sums.spread[:, None], weights[-1] - (weights[:-1] * (sums.mean / sums.spread)[:, None]).sum(0)
    parts = {"features.weight": linear[:FEATURES].T, "features.bias": bias}
    if len(linear) > FEATURES:
        parts["channels.weight"] = linear[FEATURES:].T
    outputs = len(READS) if len(linear) > FEATURES else 1
    save_file({key: torch.from_numpy(value[:outputs].astype(np.float32).copy()) for key, value in parts.items()}, file)
