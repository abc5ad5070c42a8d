"""Curves over time as SVG text; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 1000, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24
ROW_SECONDS = 8.0
"""A row shows this much, so that a syllable is about 25 pixels wide."""
MOST_ROWS = 15
LOUDEST = 50.0
"""dB below the loudest moment at which the level's area ends."""


def rows_of(times: np.ndarray) -> list[tuple[float, float]]:
    """Begin and end, seconds, of the rows that a clip is shown in: equal ones, at most `MOST_ROWS` of `ROW_SECONDS`."""
    end = float(times[-1]) if len(times) else 0.0
    shown = min(max(end, 0.5), MOST_ROWS * ROW_SECONDS)
    count = max(1, int(np.ceil(shown / ROW_SECONDS - 0.25)))
    return [(i * shown / count, (i + 1) * shown / count) for i in range(count)]


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def polyline(x: np.ndarray, y: np.ndarray) -> str:
    """The `d` of a path through points, interrupted where y is NaN."""
    parts, pen = [], "M"
    for a, b in zip(x, y):
        if not np.isfinite(b):
            pen = "M"
            continue
        parts.append(f"{pen}{_number(a)} {_number(b)}")
        pen = "L"
    return "".join(parts)


def timeline(span: tuple[float, float], lines: Sequence[tuple[str, np.ndarray, np.ndarray]], top: float,
             level: tuple[np.ndarray, np.ndarray] | None = None, threshold: float | None = None, label: str = "") -> str:
    """One row: `lines` are (class, times, values), 0 to `top` over the seconds of `span`; the sound's level (times, dB) lies behind."""
    begin, end = span
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x_of(times: np.ndarray) -> np.ndarray:
        return LEFT + (times - begin) / (end - begin) * inner_w

    def y_of(values: np.ndarray) -> np.ndarray:
        return TOP + (1 - np.clip(values / top, 0, 1)) * inner_h

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    if level is not None and len(level[0]):
        within = (level[0] >= begin - 0.05) & (level[0] <= end + 0.05)
        times, loud = level[0][within], level[1][within]
        if len(times) > 1:
            share = np.clip(1 + (loud - float(level[1].max())) / LOUDEST, 0, 1)
            x, y = np.clip(x_of(times), LEFT, WIDTH - RIGHT), y_of(share * top)
            floor = _number(TOP + inner_h)
            out.append(f'<path class="level" d="M{_number(x[0])} {floor}L{polyline(x, y)[1:]}L{_number(x[-1])} {floor}Z"/>')
    step = _step(top)
    for value in np.arange(0, top + 1e-9, step):
        y = _number(float(y_of(np.array(value))))
        out.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
                   f'<text class="tick" x="{LEFT - 6}" y="{y}" dy="0.32em" text-anchor="end">{value:.2f}</text>')
    for second in np.arange(np.ceil(begin), end + 1e-9, 1.0):
        x = _number(float(x_of(np.array(second))))
        anchor = "end" if float(x) > WIDTH - RIGHT - 14 else "middle"
        out.append(f'<path class="grid" d="M{x} {TOP}V{TOP + inner_h}"/>'
                   f'<text class="tick" x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">{second:.0f} s</text>')
    if threshold is not None:
        y = _number(float(y_of(np.array(threshold))))
        out.append(f'<path class="threshold" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
    for name, times, values in lines:
        within = (times >= begin - 1e-9) & (times <= end + 1e-9)
        out.append(f'<path class="line {name}" d="{polyline(x_of(times[within]), y_of(values[within]))}"/>')
    return "".join([*out, "</svg>"])


def _step(top: float) -> float:
    """A round distance between about four grid lines."""
    rough = top / 4
    power = 10 ** np.floor(np.log10(max(rough, 1e-6)))
    return float(power * min((1, 2, 5, 10), key=lambda m: abs(m * power - rough)))
