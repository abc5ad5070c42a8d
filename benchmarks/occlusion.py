"""Does a cover before the mouth switch the effect off, and only a cover? Things are drawn over real clips, in the person's own skin
colour where it is a hand, and what tracking makes of the clip is compared with and without.

    python benchmarks/occlusion.py ../shared/media/talking/*.mp4 [--seconds 6] [--covers hand cup] [--json result.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core.array_pixels import ArrayPixels  # noqa: E402
from lipsync_core.faces import Tracker, create_backend  # noqa: E402
from lipsync_core.faces.activation import activation  # noqa: E402
from lipsync_core.media import FrameView, VideoSource  # noqa: E402
from lipsync_core.types import FaceTrack  # noqa: E402

COVERS = ("hand", "microphone", "cup", "sheet")
OFF = 0.2
"""A frame whose mouth is at least half covered should have less effect than this."""
COMING = 0.2
"""Seconds that a cover takes to come and to go."""


def capsule(x: np.ndarray, y: np.ndarray, a: tuple, b: tuple, r0: float, r1: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance inside the edge of a finger from a to b, and its roundness 0..1."""
    d = np.subtract(b, a)
    t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / max(d @ d, 1e-6), 0, 1)
    radius, away = r0 + (r1 - r0) * t, np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1])
    return radius - away, np.sqrt(np.clip(1 - (away / radius) ** 2, 0, 1))


def hand(x: np.ndarray, y: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [((0, 0.75), (0, 0.55), 0.52, 0.5)]
    parts += [((-0.3 + 0.2 * i, 0.35), (-0.34 + 0.22 * i, -0.42 - 0.1 * (1 - abs(i - 1.3))), 0.125, 0.1) for i in range(4)]
    parts += [((-0.3, 0.55), (-0.72, 0.1), 0.14, 0.11)]
    edge, shade = np.full_like(x, -9), np.zeros_like(x)
    for part in parts:
        inside, bulge = capsule(x, y, *part)
        shade = np.where(inside > 0, 0.8 * bulge + 0.2 * shade, shade)
        edge = np.maximum(edge, inside)
    return edge, skin * (0.86 + 0.24 * shade)[..., None]


def microphone(x: np.ndarray, y: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ball, (stick, bulge) = 0.33 - np.hypot(x, 0.9 * y), capsule(x, y, (0, 0.2), (0.25, 3), 0.13, 0.15)
    grid = 38 + 14 * (np.sin(45 * x) * np.sin(45 * y) > 0) + 60 * np.exp(-((x + 0.1) ** 2 + (y + 0.12) ** 2) / 0.02)
    return np.maximum(ball, stick), np.where(ball > 0, grid, 15 + 45 * bulge)[..., None] * np.ones(3)


def cup(x: np.ndarray, y: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = np.minimum(0.42 - np.abs(x) - 0.05 * y, np.minimum(y + 0.35, 0.75 - y))
    handle = 0.05 - np.abs(np.hypot(x - 0.5, y - 0.2) - 0.22)
    return np.maximum(body, handle), 225 * np.clip(1 - 2 * x ** 2 - 0.1 * x, 0.3, 1.1)[..., None] * np.array([1, 0.99, 0.96])


def sheet(x: np.ndarray, y: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    letters = np.random.default_rng(0).integers(0, 2, (64, 64))
    rows, columns = (y // 0.07).astype(int), (x // 0.045).astype(int)
    ink = (y % 0.07 > 0.03) & (letters[rows % 64, columns % 64] > 0) & (np.abs(x) < 0.62) & (np.abs(y - 0.2) < 0.54)
    return np.minimum(0.72 - np.abs(x), 0.62 - np.abs(y - 0.2)), np.where(ink, 60.0, 232.0)[..., None] * np.ones(3)


DRAW = {"hand": hand, "microphone": microphone, "cup": cup, "sheet": sheet}
HALF = {"hand": (0.32, 0.3), "microphone": (0.16, 0.12), "cup": (0.05, 0.29), "sheet": (0.7, 0.0)}
"""Where the cover's middle stands off the mouth's to cover about half of it, outer-eye distances."""


def paint(picture: np.ndarray, cover: str, marks: np.ndarray, off: np.ndarray, tilt: float, skin: np.ndarray) -> float:
    """Draws into RGB uint8, the cover's middle `off` (2,) from the mouth's in outer-eye distances; the share of the mouth covered."""
    size = max(float(np.linalg.norm(marks[45] - marks[36])), 0.52 * float(np.ptp(marks[:, 1])))
    mouth = marks[48:60].mean(0)
    rows, columns = np.mgrid[:picture.shape[0], :picture.shape[1]].astype(np.float32)
    u, v = (columns - mouth[0]) / size - off[0], (rows - mouth[1]) / size - off[1]
    edge, colour = DRAW[cover](u * np.cos(tilt) + v * np.sin(tilt), v * np.cos(tilt) - u * np.sin(tilt), skin)
    alpha = cv2.GaussianBlur(np.clip(edge * size + 0.5, 0, 1).astype(np.float32), (0, 0), 0.8)
    shadow = 1 - 0.25 * cv2.GaussianBlur(alpha, (0, 0), max(1.0, 0.06 * size))
    grain = np.random.default_rng(1).normal(0, 2.5, picture.shape[:2])[..., None]
    picture[:] = np.clip(picture * (shadow * (1 - alpha))[..., None] + (colour + grain) * alpha[..., None], 0, 255)
    lips = cv2.fillConvexPoly(np.zeros(picture.shape[:2], np.uint8), cv2.convexHull(np.rint(marks[48:60]).astype(np.int32)), 1)
    return float((alpha[lips > 0] > 0.5).mean()) if lips.any() else 0.0


def followed(file: Path, seconds: float, change=None) -> FaceTrack | None:
    """The largest face's track; `change(frame, time, picture)` may draw into the RGB picture and says whether it did."""
    source, tracker = VideoSource(file, duration=seconds), Tracker(create_backend())
    for item in source.frames():
        view = FrameView(item.frame, source.info.rotation)
        new = change(item.index, float(item.time), view) if change else None
        tracker.feed(item.index, float(item.time), view if new is None else ArrayPixels(new))
    return next(iter(tracker.finish()), None)


def covered_pass(file: Path, seconds: float, cover: str, half: bool, clean: FaceTrack) -> tuple[list[float], list[float]]:
    """Effect on the frames whose mouth is at least half covered, and from 0.3 s after the cover has left."""
    rng = np.random.default_rng(zlib.crc32(f"{file.name}{cover}{half}".encode()))
    length = rng.uniform(0.5, min(2.0, 0.4 * clean.times[-1]))
    begin = rng.uniform(0.3, max(0.31, clean.times[-1] - length - 0.7))
    side, tilt = rng.choice([-1, 1]), np.deg2rad(rng.uniform(-35, 35)) if cover == "hand" else 0.0
    goal = np.array(HALF[cover]) * [side, 1] if half else np.zeros(2)
    rows, share = {int(f): i for i, f in enumerate(clean.frames)}, {}
    skin: list[np.ndarray] = []

    def change(frame: int, time: float, view: FrameView) -> np.ndarray | None:
        if frame not in rows or not begin <= time <= begin + length:
            return None
        picture, marks = view.region((0, 0, view.width, view.height)).clip(0, 255).astype(np.uint8), clean.landmarks[rows[frame]]
        if not skin:
            cheeks = [marks[list(p)].mean(0).astype(int) for p in ((48, 3, 31), (54, 13, 35))]
            skin.append(np.mean([picture[max(0, y - 2):y + 3, max(0, x - 2):x + 3].mean((0, 1)) for x, y in cheeks], 0))
        u = min(1.0, (time - begin) / COMING, (begin + length - time) / COMING)
        u = u * u * (3 - 2 * u)
        share[frame] = paint(picture, cover, marks, goal * u + np.array([0.8 * side, 1.9]) * (1 - u), tilt, skin[0])
        return picture

    track = followed(file, seconds, change)
    effect = {} if track is None else dict(zip(track.frames.tolist(), track.activation.tolist()))
    after = [int(f) for f, t in zip(clean.frames, clean.times) if begin + length + 0.3 <= t <= begin + length + 0.6]
    return ([effect.get(f, 0.0) for f, s in share.items() if s >= 0.5],
            [effect.get(f, 0.0) / max(float(clean.activation[rows[f]]), 0.01) for f in after])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--covers", nargs="*", choices=COVERS, default=list(COVERS), help="none: only look at the clips as they are")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    values: dict[str, list[float]] = {"covered": [], "effect": [], "without": []}
    off: dict[str, list[float]] = {}
    back: list[float] = []
    for file in chosen.clips:
        track = followed(file, chosen.seconds)
        if track is None:
            continue
        picture = tuple(int(v) for v in track.landmarks.max((0, 1)) + 1)
        shots, last = np.zeros(len(track), int), int(track.frames[-1])
        without = activation(track.frames, track.times, track.boxes, track.landmarks, track.scores, track.pose, picture, shots, last)
        for name, part in (("covered", track.covered), ("effect", np.minimum(track.activation, without)), ("without", without)):
            values[name] += part.tolist()
        for cover in chosen.covers if track.times[-1] > 1.5 else ():
            for half in (False, True):
                hidden, later = covered_pass(file, chosen.seconds, cover, half, track)
                off.setdefault(f"{cover}, {'half' if half else 'all'} of the mouth", []).extend(hidden)
                back += [min(later)] if later else []
    covered, effect, without = (np.array(values[name]) for name in ("covered", "effect", "without"))
    result = {"frames": len(covered), "covered_99": float(np.quantile(covered, 0.99)), "covered_most": float(covered.max()),
              "effect_without": float(without.mean()), "effect": float(effect.mean()),
              "lost_more_than_half": float((effect < 0.5 * without).mean()),
              "off": {name: [len(v), float((np.array(v) < OFF).mean())] for name, v in off.items() if v},
              "back_after_0.3_s": float((np.array(back) > 0.95).mean()) if back else None}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
