"""Clips for the benchmarks, made from the portrait that scikit-image ships: a moving camera and film grain."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core.demo import SPEECH, portrait  # noqa: E402
from lipsync_core.media import Encoding, VideoInfo, VideoWriter  # noqa: E402


def make_clip(file: Path, width: int, height: int, seconds: float, rate: int = 25, preset: str = "ultrafast") -> Path:
    """`width` x `height`, the face about a third of the height."""
    info = VideoInfo(width, height, "yuv420p", Fraction(rate), Fraction(1, rate), 0, Fraction(1), 1, 1, 1, 1, 0, seconds, "")
    picture = portrait()
    rng = np.random.default_rng(0)
    # Grain is drawn once, larger than the picture, and shifted about: noise for every frame would cost more than the encoder.
    grain = rng.normal(0, 2.5, (height + 64, width + 64)).astype(np.int8)
    with VideoWriter(file, info, Encoding(crf=16, preset=preset)) as writer:
        for i in range(round(seconds * rate)):
            t = i / rate
            zoom = height / 290 * (1 + 0.04 * math.sin(0.7 * t))
            x, y = 222 + 6 * math.sin(0.8 * t), 150 + 4 * math.sin(1.1 * t)
            matrix = np.array([[zoom, 0, width / 2 - zoom * x], [0, zoom, height / 2 - zoom * y]])
            image = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", dst_colorspace=1)
            plane = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)[:height, :width]
            gy, gx = (int(v) for v in rng.integers(0, 64, 2))
            plane[:] = cv2.add(plane, grain[gy:gy + height, gx:gx + width], dtype=cv2.CV_8U)
            frame.colorspace, frame.color_range = 1, 1
            writer.write(frame, i)
    return file


def make_speech(file: Path, seconds: float) -> Path:
    """The demo's sentence, repeated."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    soundfile.write(file, np.tile(samples, math.ceil(seconds * rate / len(samples)))[:round(seconds * rate)], rate)
    return file
