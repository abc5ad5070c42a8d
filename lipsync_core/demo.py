"""The demonstration: a public-domain portrait becomes a short clip, and the clip says a sentence about this project."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from .analysis import analyse
from .audio import load_speech
from .contact_sheet import comparison_sheet
from .dubbing import DubReport, dub
from .errors import LipSyncError
from .faces import create_backend
from .media import Encoding, VideoInfo, VideoSource, VideoWriter
from .types import Hooks

SPEECH = Path(__file__).resolve().parent / "assets" / "demo_speech.flac"
RATE = 25


def portrait() -> np.ndarray:
    """Eileen Collins, NASA, public domain: RGB uint8 (512, 512, 3), as scikit-image ships it."""
    try:
        from skimage import data
    except ImportError as error:
        raise LipSyncError("The demo's portrait comes with scikit-image, which is missing: pip install scikit-image.") from error
    return data.astronaut()


def make_clip(file: Path, seconds: float, size: int = 720) -> None:
    """A clip of the portrait under a slow, hand-held camera: zoom, pan and a little turn, so that tracking has work to do."""
    picture = portrait()
    info = VideoInfo(size, size, "yuv420p", Fraction(RATE), Fraction(1, RATE), 0, Fraction(1), 1, 1, 1, 1,
                     round(seconds * RATE), seconds, "rawvideo")
    centre = np.array([222.0, 128.0])                                 # between eyes and chin
    with VideoWriter(file, info, Encoding(crf=14, preset="veryfast")) as writer:
        for i in range(round(seconds * RATE)):
            t = i / RATE
            zoom = size / 250 * (1 + 0.05 * math.sin(0.7 * t))
            angle = math.radians(1.6 * math.sin(0.9 * t + 0.4))
            shift = centre + [5 * math.sin(0.8 * t), 3 * math.sin(1.1 * t + 1)]
            turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            matrix = np.hstack([turn, (np.array([size / 2, size / 2]) - turn @ shift)[:, None]])
            image = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            frame.colorspace, frame.color_range = 1, 1
            writer.write(frame, i)


def run_demo(folder: Path, hooks: Hooks) -> tuple[DubReport, list[Path]]:
    """Make the clip, dub it, and show both: the report and the files written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    source, result, sheet = folder / "source.mp4", folder / "dubbed.mp4", folder / "contact_sheet.png"
    make_clip(source, load_speech(SPEECH).duration)
    report = dub(source, SPEECH, result, hooks=hooks)
    analysis = analyse(VideoSource(source), create_backend(), Hooks(check_interrupt=hooks.check_interrupt))
    comparison_sheet(source, result, analysis.tracks[0] if analysis.tracks else None, sheet)
    return report, [source, result, sheet]
