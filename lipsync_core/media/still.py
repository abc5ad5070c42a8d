"""A still as a clip: a slow, hand-held camera looks at it, so that there is something to follow."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from .encoding import Encoding
from .source import VideoInfo
from .writer import VideoWriter

RATE = 25


def film(picture: np.ndarray, centre: tuple[float, float], width: float, file: Path, seconds: float, size: int, begin: float = 0.0) -> None:
    """Write a clip of `size` x `size` pixels, 25 frames a second, H.264: `width` pixels of a picture, RGB uint8 (h, w, 3), about `centre`
    (x, y), with a little zoom, pan and turn. `begin`, seconds, is where in its wandering the camera starts."""
    info = VideoInfo(size, size, "yuv420p", Fraction(RATE), Fraction(1, RATE), 0, Fraction(1), 1, 1, 1, 1,
                     round(seconds * RATE), seconds, "rawvideo")
    with VideoWriter(file, info, Encoding(crf=14, preset="veryfast")) as writer:
        for i in range(round(seconds * RATE)):
            t = begin + i / RATE
            zoom = size / width * (1 + 0.05 * math.sin(0.7 * t))
            angle = math.radians(1.6 * math.sin(0.9 * t + 0.4))
            shift = np.array(centre) + width / 250 * np.array([5 * math.sin(0.8 * t), 3 * math.sin(1.1 * t + 1)])
            turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            matrix = np.hstack([turn, (np.array([size / 2, size / 2]) - turn @ shift)[:, None]])
            flags = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
            image = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            frame.colorspace, frame.color_range = 1, 1
            writer.write(frame, i)
