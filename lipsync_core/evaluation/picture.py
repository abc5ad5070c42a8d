"""The mouth over time as a picture, where no page can be shown (a ComfyUI graph)."""

from __future__ import annotations

import cv2
import numpy as np

from .plots import LOUDEST, rows_of
from .report import Evaluation

WIDTH, ROW = 1280, 220
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 14, 34
PAPER, INK, RULE, LEVEL = (252, 252, 250), (60, 66, 74), (223, 226, 230), (226, 231, 237)
LINES = (("opening_source", "source", (122, 134, 154)), ("opening_truth", "truth", (25, 113, 194)), ("opening", "dubbed", (217, 72, 15)))


def plot(evaluation: Evaluation) -> np.ndarray:
    """Opening of the mouth (outer-eye distances) of the dub, the truth and the source over seconds, the sound's level behind them.

    RGB uint8 (rows * 220 + 44, 1280, 3); a row is 8 s long at most (`plots.rows_of`).
    """
    curves = evaluation.curves
    lines = [(name, label, colour) for name, label, colour in LINES if name in curves]
    rows = rows_of(curves["time"])
    peaks = [np.nanmax(curves[name]) for name, _, _ in lines if np.isfinite(curves[name]).any()]
    top = max(0.1, 1.08 * float(max(peaks, default=0.1)))
    canvas = np.full((44 + ROW * len(rows), WIDTH, 3), PAPER, np.uint8)
    x = LEFT
    for _, label, colour in lines[::-1]:
        cv2.line(canvas, (x, 24), (x + 36, 24), colour, 3, cv2.LINE_AA)
        _write(canvas, label, (x + 44, 29))
        x += 150
    _write(canvas, "mouth opening (outer-eye distances) over seconds; grey: loudness", (x + 20, 29))
    for i, span in enumerate(rows):
        _row(canvas[44 + i * ROW:44 + (i + 1) * ROW], curves, lines, span, top)
    return canvas


def _row(canvas: np.ndarray, curves: dict[str, np.ndarray], lines: list[tuple], span: tuple[float, float], top: float) -> None:
    begin, end = span
    wide, high = WIDTH - LEFT - RIGHT, ROW - TOP - BOTTOM

    def at(times: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Pixels in sixteenths, int32 (n, 2)."""
        x = LEFT + (times - begin) / (end - begin) * wide
        return np.rint(16 * np.stack([x, TOP + (1 - np.clip(values / top, 0, 1)) * high], 1)).astype(np.int32)

    loud, times = curves["sound_level"], curves["sound_time"]
    within = (times >= begin) & (times <= end)
    if within.sum() > 1:
        share = np.clip(1 + (loud[within] - float(loud.max())) / LOUDEST, 0, 1)
        area = at(times[within], share * top)
        floor = 16 * (TOP + high)
        polygon = np.concatenate([area, [[area[-1, 0], floor], [area[0, 0], floor]]])
        cv2.fillPoly(canvas, [polygon], LEVEL, cv2.LINE_AA, 4)
    for value in np.linspace(0, top, 4):
        y = TOP + round((1 - value / top) * high)
        cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), RULE, 1)
        _write(canvas, f"{value:.2f}", (18, y + 5))
    for second in np.arange(np.ceil(begin), end + 1e-6):
        x = round(LEFT + (second - begin) / (end - begin) * wide)
        cv2.line(canvas, (x, TOP), (x, TOP + high), RULE, 1)
        _write(canvas, f"{second:.0f} s", (x - 10, ROW - 12))
    for name, _, colour in lines:
        seen = (curves["time"] >= begin) & (curves["time"] <= end)
        t, values = curves["time"][seen], curves[name][seen]
        for part in np.split(np.arange(len(t)), np.flatnonzero(~np.isfinite(values))):
            part = part[np.isfinite(values[part])]
            if len(part) > 1:
                cv2.polylines(canvas, [at(t[part], values[part])], False, colour, 2, cv2.LINE_AA, 4)


def _write(canvas: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.48, INK, 1, cv2.LINE_AA)
