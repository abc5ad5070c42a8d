"""Draw what tracking found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..types import FaceTrack

_COLOURS = ((60, 220, 90), (250, 170, 40), (70, 160, 255), (240, 80, 200), (230, 230, 60), (120, 240, 240))


def annotate(image: np.ndarray, tracks: Sequence[FaceTrack], frame: int, scale: float = 1.0) -> np.ndarray:
    """A copy of `image` (h, w, 3) RGB uint8 with the boxes, landmarks, numbers and activations of a frame's faces.

    `scale`: pixels of `image` for a pixel of the source.
    """
    picture = np.ascontiguousarray(image).copy()
    for track in tracks:
        row = int(np.searchsorted(track.frames, frame))
        if row >= len(track) or track.frames[row] != frame:
            continue
        colour = _COLOURS[track.track_id % len(_COLOURS)]
        x0, y0, x1, y1 = np.rint(track.boxes[row] * scale).astype(int).tolist()
        thick = max(1, round(min(image.shape[:2]) / 400))
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
        for x, y in np.rint(track.landmarks[row] * scale * 16).astype(int).tolist():
            cv2.circle(picture, (x, y), 20 * thick, colour, -1, cv2.LINE_AA, 4)
        text = f"#{track.track_id} {track.activation[row]:.2f}"
        size = max(0.4, min(image.shape[:2]) / 900)
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        base = max(high + 4, y0 - below)
        cv2.rectangle(picture, (x0, base - high - 4), (x0 + wide + 4, base + below), (20, 22, 26), -1)
        cv2.putText(picture, text, (x0 + 2, base), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)
    return picture
