"""Pairs of frames of one clip: frame s, warped by `morph` to frame t's true lips, beside frame t, which it should have become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...analysis import analyse
from ...compositing import lower_face_box, region_of
from ...faces import FaceBackend
from ...faces.align import native_crop
from ...generators.lipsyncnet.canvas import ABOVE, SIDE, SPAN, in_picture, placed
from ...generators.morph.canonical import JAW, LIPS, to_complex, to_real
from ...generators.morph.generator import render
from ...generators.morph.geometry import PersonMouth, locate, place_lips, study_person
from ...generators.morph.interior import make_reference
from ...media import FrameView, VideoSource
from ...types import FaceCrop, FaceTrack, Hooks
from ..interior.data import NO_MOUTHS

MOST_TURN = (28.0, 22.0)
"""Degrees of yaw and pitch of a usable frame."""
ALIKE = (7.0, 6.0)
"""Degrees of yaw and pitch by which the frames of a pair may differ: a warp of lips turns no heads."""
LEAST_EYES = 48.0
"""Outer-eye distance in pixels that a face must have."""
OUTSIDE = 0.03
"""Outer-eye distances by which the picture that is cut may reach beyond the frame."""
REFERENCES = 2
"""Pictures of the person in other frames that come with a pair."""
WIDEST = 6
"""Frames with the widest open mouths, of which the references are."""
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
    centre: complex
    """Where the mouth at rest is, canonical: the place that pictures are cut around."""


@dataclass(frozen=True)
class Pair:
    """What a network is given, and what it should make of it. Pictures are RGB uint8 (side, side, 3) in the person's canonical frame."""

    warped: np.ndarray
    truth: np.ndarray
    lips: np.ndarray
    """complex (20,): where the truth's lips are, pixels of a picture of SIDE."""
    references: tuple[int, ...]
    """Rows of the clip's wide open mouths."""


@dataclass(frozen=True)
class Open:
    """A wide open mouth: RGB uint8 (side, side, 3), lips complex (20,) as those of a pair."""

    picture: np.ndarray
    lips: np.ndarray


def looks_of(source: VideoSource, backend: FaceBackend, most: int, apart: float) -> tuple[FaceTrack, PersonMouth, list[Look]] | None:
    """Up to `most` usable frames of the largest face, at least `apart` seconds between two, spread over the clip; None where there are
    too few."""
    analysis = analyse(source, backend, Hooks())
    if not analysis.tracks:
        return None
    track = analysis.tracks[0]
    mouth = study_person(track.landmarks, track.times, track.frames)
    usable = (track.activation > 0.9) & (np.abs(track.pose[:, 0]) < MOST_TURN[0]) & (np.abs(track.pose[:, 1]) < MOST_TURN[1])
    rows, last = {}, -np.inf
    for row in np.flatnonzero(usable):
        if track.times[row] >= last + apart:
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
    centre = complex(mouth.base[row][[0, 6]].mean())
    # What lies below the picture's edge can't be learned.
    corners = a * (centre + SPAN * (np.array([-0.5, 0.5, 0.5, -0.5]) - 1j * ABOVE + 1j * np.array([0, 0, 1, 1]))) + b + complex(*box[:2])
    beyond = max(-corners.real.min(), corners.real.max() - view.width, -corners.imag.min(), corners.imag.max() - view.height)
    if beyond > OUTSIDE * abs(a):
        return None
    chin = float(((to_complex(window.landmarks)[JAW] - b) / a)[8].imag)
    return Look(frame, float(track.times[row]), row, window, region_of(window), lips, chin, a, b, centre)


def open_mouths(looks: Sequence[Look]) -> list[Look]:
    """The looks that show most of the inside, widest first."""
    return sorted(looks, key=lambda look: -float(look.lips[18].imag - look.lips[14].imag))[:WIDEST]


def shown(look: Look, side: int = SIDE) -> Open:
    """A look as the network is shown it for a reference."""
    return Open(placed(look.window.pixels, look.a, look.b, look.centre, side), in_picture(look.lips, look.centre))


def pairs_of(track: FaceTrack, mouth: PersonMouth, looks: Sequence[Look], widest: Sequence[Look], count: int,
             rng: np.random.Generator, side: int = SIDE, back: int = 0) -> Iterator[Pair]:
    """`count` pairs of looks at one person whose heads are turned alike and whose lips differ, each pair of frames once. Of every three
    `back` are there and back: the second frame warped to the first one's lips and back to its own. Nothing but what a warp does differs
    there, where frames of a clip also differ by head, light and landmarks, which nobody can draw."""
    had = set()
    for _ in range(8 * count):
        if len(had) >= count:
            return
        i, j = rng.choice(len(looks), 2, replace=False).tolist()
        s, t = looks[i], looks[j]
        turn = np.abs(track.pose[s.row] - track.pose[t.row])
        if (i, j) in had or turn[0] > ALIKE[0] or turn[1] > ALIKE[1] or np.abs(s.lips - t.lips).mean() < DIFFERENT:
            continue
        others = [k for k, look in enumerate(widest) if look.frame not in (s.frame, t.frame)][:REFERENCES]
        if len(others) < REFERENCES:
            continue
        had.add((i, j))
        made = _there_and_back if len(had) % 3 < back else _pair
        yield made(mouth, s, t, others, widest[others[0]], side)


def _pair(mouth: PersonMouth, s: Look, t: Look, others: Sequence[int], widest: Look, side: int) -> Pair:
    frame = place_lips(s.window.landmarks, mouth, t.lips, t.chin)
    teeth = make_reference(np.asarray(widest.window.pixels, np.float32), widest.a, widest.b, widest.lips)
    warped = render(np.asarray(s.window.pixels, np.float32), s.window.landmarks, frame, s.region, mouth, s.row,
                    teeth if teeth.shown > 0 else None)
    return Pair(placed(warped, s.a, s.b, s.centre, side), placed(t.window.pixels, t.a, t.b, s.centre, side), in_picture(t.lips, s.centre),
                tuple(others))


def _there_and_back(mouth: PersonMouth, s: Look, t: Look, others: Sequence[int], widest: Look, side: int) -> Pair:
    teeth = make_reference(np.asarray(widest.window.pixels, np.float32), widest.a, widest.b, widest.lips)
    pixels, landmarks = np.asarray(t.window.pixels, np.float32), t.window.landmarks
    for look in (s, t):
        frame = place_lips(landmarks, mouth, look.lips, look.chin)
        pixels = render(pixels, landmarks, frame, t.region, mouth, t.row, teeth if teeth.shown > 0 else None)
        landmarks = np.array(landmarks)
        landmarks[JAW], landmarks[LIPS] = to_real(frame.target_jaw), to_real(frame.target_lips)
    return Pair(placed(pixels, t.a, t.b, t.centre, side), placed(t.window.pixels, t.a, t.b, t.centre, side), in_picture(t.lips, t.centre),
                tuple(others))


def clips_of(media: Path) -> list[Path]:
    """The clips with faces in a folder like ../shared/media."""
    files = [file for folder in ("talking", "expressions", "grid_s1") for file in sorted((media / folder).glob("*"))]
    return [file for file in files if file.suffix in (".mp4", ".mpg", ".mkv", ".avi") and "two_faces" not in file.name
            and file.stem not in NO_MOUTHS]
