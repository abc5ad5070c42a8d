"""Pairs of frames of one clip: frame s, warped by `morph` to frame t's true lips, beside frame t, which it should have become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...analysis import analyse
from ...compositing import lower_face_box, region_of
from ...faces import FaceBackend
from ...faces.align import native_crop
from ...generators.morph.canonical import JAW, to_complex
from ...generators.morph.generator import render
from ...generators.morph.geometry import PersonMouth, locate, place_lips, study_person
from ...generators.morph.interior import make_reference
from ...media import FrameView, VideoSource
from ...types import FaceCrop, FaceTrack, Hooks

SIDE = 128
"""Of the pictures that a network is shown, pixels."""
SPAN = 1.15
"""Outer-eye distances of their sides: both cheeks' folds and the chin are in."""
ABOVE = 0.42
"""Share of the side above the lip line of the mouth at rest."""
APART = 0.32
"""Seconds between two frames of a clip that are used."""
MOST_TURN = (28.0, 22.0)
"""Degrees of yaw and pitch of a usable frame."""
ALIKE = (7.0, 6.0)
"""Degrees of yaw and pitch by which the frames of a pair may differ: a warp of lips turns no heads."""
LEAST_EYES = 48.0
"""Outer-eye distance in pixels that a face must have."""
DIFFERENT = 0.02
"""Mean distance of the lips of a pair at least, canonical: what is the same already teaches nothing."""


@dataclass(frozen=True)
class Look:
    """One frame of a person."""

    frame: int
    time: float
    row: int
    window: FaceCrop
    """The lower face in native pixels."""
    region: np.ndarray
    lips: np.ndarray
    """complex (20,), canonical."""
    chin: float
    a: complex
    b: complex
    """Canonical points -> the window's pixels."""


@dataclass(frozen=True)
class Pair:
    """What a network is given, and what it should make of it. Pictures are RGB uint8 (SIDE, SIDE, 3) in the person's canonical frame."""

    warped: np.ndarray
    truth: np.ndarray
    lips: np.ndarray
    """complex (20,): where the truth's lips are, pixels of the pictures."""
    references: tuple[np.ndarray, ...]
    """The person in other frames, widest open mouth first."""
    reference_lips: tuple[np.ndarray, ...]


def looks_of(source: VideoSource, backend: FaceBackend, most: int) -> tuple[FaceTrack, PersonMouth, list[Look]] | None:
    """Up to `most` usable frames of the largest face, spread over the clip; None where there are too few."""
    analysis = analyse(source, backend, Hooks())
    if not analysis.tracks:
        return None
    track = analysis.tracks[0]
    mouth = study_person(track.landmarks, track.times, track.frames)
    usable = (track.activation > 0.9) & (np.abs(track.pose[:, 0]) < MOST_TURN[0]) & (np.abs(track.pose[:, 1]) < MOST_TURN[1])
    rows, last = {}, -np.inf
    for row in np.flatnonzero(usable):
        if track.times[row] >= last + APART:
            rows[int(track.frames[row])], last = int(row), track.times[row]
    if len(rows) > most:
        kept = np.linspace(0, len(rows) - 1, most).round().astype(int)
        rows = {frame: rows[frame] for frame in np.array(sorted(rows))[kept].tolist()}
    looks = []
    for item in source.frames():
        if item.index in rows:
            look = _look(FrameView(item.frame, source.info.rotation), track, rows[item.index], item.index, mouth)
            if look is not None:
                looks.append(look)
    return (track, mouth, looks) if len(looks) >= 4 else None


def _look(view: FrameView, track: FaceTrack, row: int, frame: int, mouth: PersonMouth) -> Look | None:
    landmarks = track.landmarks[row]
    box = lower_face_box(landmarks, (view.width, view.height))
    if box is None:
        return None
    window = native_crop(view, landmarks, box, frame)
    a, b, lips, _ = locate(window.landmarks, mouth)
    if abs(a) < LEAST_EYES:
        return None
    chin = float(((to_complex(window.landmarks)[JAW] - b) / a)[8].imag)
    return Look(frame, float(track.times[row]), row, window, region_of(window), lips, chin, a, b)


def placed(pixels: np.ndarray, a: complex, b: complex, centre: complex) -> np.ndarray:
    """A window's pixels -> RGB uint8 (SIDE, SIDE, 3), turned upright and scaled, `centre` (canonical) at a fixed place."""
    unit = SPAN / SIDE
    step = a * unit
    origin = a * (centre - unit * (SIDE / 2 + 1j * ABOVE * SIDE)) + b
    back = np.array([[step.real, -step.imag, origin.real], [step.imag, step.real, origin.imag]])
    pixels = np.asarray(pixels, np.float32)
    if abs(step) > 1.2:                                               # shrinking is filtered, not aliased
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * abs(step))
    made = cv2.warpAffine(pixels, back, (SIDE, SIDE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def in_picture(points: np.ndarray, centre: complex) -> np.ndarray:
    """Canonical points -> pixels of the pictures, complex."""
    return (points - centre) * (SIDE / SPAN) + SIDE / 2 + 1j * ABOVE * SIDE


def pairs_of(track: FaceTrack, mouth: PersonMouth, looks: Sequence[Look], count: int, rng: np.random.Generator) -> Iterator[Pair]:
    """`count` pairs of looks at one person whose heads are turned alike and whose lips differ."""
    widest = sorted(looks, key=lambda look: -float(look.lips[18].imag - look.lips[14].imag))[:6]
    made = 0
    for _ in range(8 * count):
        if made >= count:
            return
        s, t = (looks[i] for i in rng.choice(len(looks), 2, replace=False))
        turn = np.abs(track.pose[s.row] - track.pose[t.row])
        if turn[0] > ALIKE[0] or turn[1] > ALIKE[1] or np.abs(s.lips - t.lips).mean() < DIFFERENT:
            continue
        others = [look for look in widest if look.frame not in (s.frame, t.frame)][:2]
        if len(others) < 2:
            continue
        made += 1
        yield _pair(mouth, s, t, others)


def _pair(mouth: PersonMouth, s: Look, t: Look, others: Sequence[Look]) -> Pair:
    centre = complex(mouth.base[s.row][[0, 6]].mean())
    frame = place_lips(s.window.landmarks, mouth, t.lips, t.chin)
    teeth = make_reference(np.asarray(others[0].window.pixels, np.float32), others[0].a, others[0].b, others[0].lips)
    warped = render(np.asarray(s.window.pixels, np.float32), s.window.landmarks, frame, s.region, mouth, s.row,
                    teeth if teeth.shown > 0 else None)
    references = tuple(placed(look.window.pixels, look.a, look.b, centre) for look in others)
    return Pair(placed(warped, s.a, s.b, centre), placed(t.window.pixels, t.a, t.b, centre), in_picture(t.lips, centre), references,
                tuple(in_picture(look.lips, centre) for look in others))


def clips_of(media: Path) -> list[Path]:
    """The clips with faces in a folder like ../shared/media."""
    files = [file for folder in ("talking", "expressions", "grid_s1") for file in sorted((media / folder).glob("*"))]
    return [file for file in files if file.suffix in (".mp4", ".mpg", ".mkv", ".avi") and "two_faces" not in file.name]
