"""Draw what was found and what is done: the one drawing of previews, contact sheets and the overlay of a dub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..types import FaceTrack

_COLOURS = ((60, 220, 90), (250, 170, 40), (70, 160, 255), (240, 80, 200), (230, 230, 60), (120, 240, 240))
_DARK, _WHITE, _ON, _OFF = (20, 22, 26), (245, 245, 245), (60, 220, 90), (240, 70, 70)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class FaceLook:
    """What is drawn of one face."""

    box: np.ndarray
    """x0, y0, x1, y1 in the picture's pixels."""
    landmarks: np.ndarray
    """(68, 2)."""
    label: str
    colour: int = 0
    """Faces of one person have one."""
    acts: tuple[int, int, int, int] | None = None
    """x0, y0, x1, y1 of where the effect acts; None = it doesn't."""
    shape: Mapping[str, float] = field(default_factory=dict)
    """Mouth-shape values by name, -1..1, shown as bars."""


def look_of(track: FaceTrack, row: int, name: str = "") -> FaceLook:
    """A track's face in its row `row`; `name` in place of the track's number."""
    label = f"{name or f'#{track.track_id}'} {track.activation[row]:.2f}"
    return FaceLook(track.boxes[row], track.landmarks[row], label, track.track_id)


def annotate(image: np.ndarray, tracks: Sequence[FaceTrack], frame: int, scale: float = 1.0,
             names: Mapping[int, str] | None = None) -> np.ndarray:
    """A copy of `image` (h, w, 3) RGB uint8 with the boxes, landmarks, numbers and activations of a frame's faces.

    `scale`: pixels of `image` for a pixel of the source; `names` of tracks by their numbers.
    """
    looks = []
    for track in tracks:
        row = int(np.searchsorted(track.frames, frame))
        if row < len(track) and track.frames[row] == frame:
            looks.append(look_of(track, row, (names or {}).get(track.track_id, "")))
    return draw(image, looks, scale)


def draw(image: np.ndarray, looks: Sequence[FaceLook], scale: float = 1.0, frame: int | None = None,
         on: bool | None = None) -> np.ndarray:
    """A copy of `image` (h, w, 3) RGB uint8 with faces drawn in, and in its corner the frame's number and whether the effect is on."""
    picture = np.ascontiguousarray(image).copy()
    thick, size = max(1, round(min(image.shape[:2]) / 400)), max(0.4, min(image.shape[:2]) / 900)
    for look in looks:
        colour = _COLOURS[look.colour % len(_COLOURS)]
        x0, y0, x1, y1 = np.rint(np.asarray(look.box) * scale).astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
        for x, y in np.rint(np.asarray(look.landmarks) * scale * 16).astype(int).tolist():
            cv2.circle(picture, (x, y), 20 * thick, colour, -1, cv2.LINE_AA, 4)
        if look.acts is not None:
            a, b, c, d = (round(value * scale) for value in look.acts)
            cv2.rectangle(picture, (a, b), (c, d), _WHITE, thick, cv2.LINE_AA)
            _text(picture, f"{look.acts[0]},{look.acts[1]} {look.acts[2] - look.acts[0]}x{look.acts[3] - look.acts[1]}", (a, d), 0.8 * size,
                  _WHITE, thick, below=True)
        _bars(picture, look.shape, (x1 + 3 * thick, y0), y1 - y0, colour)
        _text(picture, look.label, (x0, y0), size, colour, thick)
    if frame is not None:
        state = "" if on is None else " ON" if on else " OFF"
        _text(picture, f"frame {frame}{state}", (4, 4), 1.2 * size, _WHITE if on is None else _ON if on else _OFF, thick, below=True)
    return picture


def _text(picture: np.ndarray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int], thick: int, *,
          below: bool = False) -> None:
    """Text on a dark ground, above (or below) the point `at`, inside the picture."""
    (wide, high), under = cv2.getTextSize(text, _FONT, size, thick)
    height, width = picture.shape[:2]
    x = int(np.clip(at[0], 0, max(0, width - wide - 4)))
    base = int(np.clip(at[1] + high + 4 if below else at[1] - under, high + 4, max(high + 4, height - under)))
    cv2.rectangle(picture, (x, base - high - 4), (x + wide + 4, base + under), _DARK, -1)
    cv2.putText(picture, text, (x + 2, base), _FONT, size, colour, thick, cv2.LINE_AA)


def _bars(picture: np.ndarray, shape: Mapping[str, float], at: tuple[int, int], height: int, colour: tuple[int, int, int]) -> None:
    """A bar for each value, from the middle up or down, with the name's first letter below."""
    if not shape or height < 24:
        return
    wide = max(4, round(height / 12))
    thick, size = max(1, wide // 10), wide / 26
    letters = round(1.4 * wide)
    half = (height - letters) // 2
    left = min(at[0], picture.shape[1] - (wide + 2) * len(shape) - 2)
    top = at[1]
    cv2.rectangle(picture, (left - 1, top), (left + (wide + 2) * len(shape), top + height), _DARK, -1)
    for i, (name, value) in enumerate(shape.items()):
        x = left + i * (wide + 2)
        end = top + half - round(float(np.clip(value, -1, 1)) * half)
        cv2.line(picture, (x, top + half), (x + wide - 1, top + half), _WHITE, thick)
        cv2.rectangle(picture, (x, min(end, top + half)), (x + wide - 1, max(end, top + half)), colour, -1)
        cv2.putText(picture, name[:1].upper(), (x, top + height - thick - 1), _FONT, size, _WHITE, thick, cv2.LINE_AA)
