"""How well the mouth is told from the sound: on people and languages that nothing was taught on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ...audio import load_speech
from ...dsp import band_levels, speech_activity
from ...generators.morph.articulation import Articulation
from ...generators.morph.articulation_net import BANDS, RATE, STRIDE
from .corpus import Utterance
from .marks import MARKS
from .phones import TABLE
from .real import HELD_OUT, UNTOUCHED, RealClip, best_lag, load_clips

SHUT = 0.12
"""Share of a person's range under which lips look shut: about 0.02 of the outer-eye distance, 1 pixel of a face 100 wide."""
NEAR = 0.08
"""Seconds around a hand mark within which the lips must meet: marks sit on frames 40 ms apart, and `real.best_lag` is to 20 ms."""
SLACK = 0.06
"""Seconds before and after a bilabial within which the lips may meet (they lead the sound; frames are 40 ms apart)."""


def shapes_of(articulation: Articulation, samples: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Opening (as it is drawn: times activity) and the other curves at the clips' 50 shapes a second."""
    shape = articulation(samples, np.arange(count) * STRIDE / RATE)
    return {field.name: getattr(shape, field.name) for field in dataclasses.fields(shape)} | {"drawn": shape.opening * shape.activity}


def real_rows(articulation: Articulation, tracks: Path, media: Path, wanted: Mapping[str, float | None] = HELD_OUT) -> list[dict]:
    """One row (`row_of`) for each held-out clip (or those of `wanted`)."""
    rows = []
    for clip in load_clips(tracks, media, wanted, shift=False):
        folder, _, stem = clip.name.partition("__")
        ours = shapes_of(articulation, load_speech(next((media / folder).glob(f"{stem}.*"))).samples, len(clip.opening))
        rows.append(row_of(clip, ours, next(value for key, value in wanted.items() if clip.name.startswith(key))))
    return rows


def row_of(clip: RealClip, ours: dict[str, np.ndarray], offset: float | None) -> dict:
    """Opening correlation over all frames and while somebody speaks, at its best lag; that lag without the clip's own offset; width
    correlation; hand-marked bilabials on which the lips meet (within `NEAR` of the mark), and the share of truly open moments in which
    they wrongly are shut, both at that lag."""
    speaking = dataclasses.replace(clip, seen=clip.seen & (clip.spoken > 0.5))
    _, whole, _ = best_lag(ours["drawn"], clip)
    _, spoken, lag = best_lag(ours["drawn"], speaking)
    truth, mine = clip.opening[speaking.seen], ours["drawn"][speaking.seen]
    marks = next((times for name, times in MARKS.items() if clip.name.startswith(name)), ())
    grid = np.arange(len(clip.opening)) * STRIDE / RATE - lag
    met = sum(bool((ours["drawn"][np.abs(grid - mark) <= NEAR] < SHUT).any()) for mark in marks)
    wide = speaking.seen & (clip.opening > 0.4)
    shut = float((np.interp(np.flatnonzero(wide) * STRIDE / RATE, grid, ours["drawn"]) < SHUT).mean())
    return {"marks": len(marks), "met": met, "wrongly_shut": shut,
            "clip": clip.name, "seconds": len(clip.opening) * STRIDE / RATE, "all_r": whole, "speech_r": spoken,
            "lag_ms": None if offset is None else 1000 * (lag - offset),
            "width_r": width_r(ours["width"], speaking, lag), "spread": float(mine.std() / truth.std()),
            "mean": float(mine.mean() - truth.mean())}


def width_r(predicted: np.ndarray, clip: RealClip, lag: float) -> float:
    """Correlation of the mouth's width at `lag`."""
    return best_lag(np.roll(predicted, -round(lag * RATE / STRIDE)), dataclasses.replace(clip, opening=clip.width), reach=0.0)[0]


def closures(articulation: Articulation, speech: list[Utterance]) -> dict[str, float]:
    """Share of the bilabials (p b m) on which the lips meet, and of the open vowels on which they wrongly do; speech found."""
    met, bilabials, wrong, vowels, agree, frames = 0, 0, 0, 0, 0, 0
    for item in speech:
        samples = item.samples.astype(np.float32) / 32768
        times = np.arange(0, len(samples) / 16_000, 0.01)
        shape = articulation(samples, times)
        drawn = shape.opening * shape.activity
        talking = np.zeros(len(times), bool)
        for start, end, symbol in item.phones:
            if symbol:
                talking[(times >= start) & (times < end)] = True
            kind = TABLE.get(symbol[:1])
            if symbol[:1] in ("p", "b", "m"):
                inside = (times >= start - SLACK) & (times <= end + SLACK)
                bilabials += 1
                met += bool(inside.any() and drawn[inside].min() < SHUT)
            elif kind is not None and kind.target[0] > 0.55 and end - start > 0.06:
                inside = (times >= start) & (times <= end)
                vowels += 1
                wrong += bool(inside.any() and drawn[inside].max() < SHUT)
        agree += int(((shape.activity > 0.5) == talking).sum())
        frames += len(times)
    return {"bilabials": bilabials, "met": met / max(bilabials, 1), "open vowels": vowels, "wrongly shut": wrong / max(vowels, 1),
            "speech told from silence": agree / max(frames, 1)}


def energy_agreement(speech: list[Utterance]) -> float:
    """Share of frames that `dsp.speech_activity` (energy and hysteresis) tells rightly, for comparison."""
    agree = frames = 0
    for item in speech:
        levels = band_levels(item.samples.astype(np.float32) / 32768, BANDS, RATE)
        times = np.arange(len(levels)) / RATE
        talking = np.zeros(len(times), bool)
        for start, end, symbol in item.phones:
            if symbol:
                talking[(times >= start) & (times < end)] = True
        agree += int(((speech_activity(levels, RATE) > 0.5) == talking).sum())
        frames += len(times)
    return agree / max(frames, 1)


def table(models: dict[str, Articulation], tracks: Path, media: Path, speech: list[Utterance],
          write: Callable[[str], object]) -> dict[str, dict]:
    """Prints the rows of every model and its medians; returns them."""
    result = {}
    for name, model in models.items():
        rows = real_rows(model, tracks, media)
        write(f"{name}\n{'clip':44s} {'seconds':>8s} {'r':>6s} {'r speech':>9s} {'lag ms':>7s} {'width r':>8s} {'spread':>7s} "
              f"{'marks met':>10s} {'wrongly shut':>13s}\n")
        for row in rows:
            lag = "-" if row["lag_ms"] is None else f"{row['lag_ms']:+.0f}"
            write(f"{row['clip'][:44]:44s} {row['seconds']:8.1f} {row['all_r']:6.2f} {row['speech_r']:9.2f} {lag:>7s} "
                  f"{row['width_r']:8.2f} {row['spread']:7.2f} {row['met']:6d}/{row['marks']:<3d} {row['wrongly_shut']:13.3f}\n")
        lags = [row["lag_ms"] for row in rows if row["lag_ms"] is not None]
        medians = {key: float(np.median([row[key] for row in rows])) for key in ("all_r", "speech_r", "width_r", "spread", "mean")}
        write(f"{'median':44s} {'':8s} {medians['all_r']:6.2f} {medians['speech_r']:9.2f} {np.median(lags):+7.0f} "
              f"{medians['width_r']:8.2f} {medians['spread']:7.2f}\n")
        for row in real_rows(model, tracks, media, UNTOUCHED):
            write(f"nothing was chosen on {row['clip']}: r {row['all_r']:.2f}, while somebody speaks {row['speech_r']:.2f}\n")
        met, marks = (sum(row[key] for row in rows) for key in ("met", "marks"))
        write(f"lips meet on {met} of {marks} hand-marked bilabials\n")
        result[name] = {"rows": rows, "medians": medians | {"lag_ms": float(np.median(lags)), "marks_met": met / max(marks, 1)}}
        if speech:
            result[name]["synthetic"] = closures(model, speech)
            write(", ".join(f"{key} {value:.3g}" for key, value in result[name]["synthetic"].items()) + "\n\n")
    if speech:
        write(f"speech told from silence by energy alone: {energy_agreement(speech):.3g}\n")
    return result
