"""The demonstration: a public-domain portrait becomes a short clip, and the clip says a sentence about this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .analysis import analyse
from .audio import load_speech
from .contact_sheet import comparison_sheet
from .dubbing import DubReport, dub
from .errors import LipSyncError
from .faces import create_backend
from .media import VideoSource
from .media.still import film
from .types import Hooks

SPEECH = Path(__file__).resolve().parent / "assets" / "demo_speech.flac"


def portrait() -> np.ndarray:
    """Eileen Collins, NASA, public domain: RGB uint8 (512, 512, 3), as scikit-image ships it."""
    try:
        from skimage import data
    except ImportError as error:
        raise LipSyncError("The demo's portrait comes with scikit-image, which is missing: pip install scikit-image.") from error
    return data.astronaut()


def make_clip(file: Path, seconds: float, size: int = 720) -> None:
    """A clip of the portrait under a slow, hand-held camera."""
    film(portrait(), (222.0, 128.0), 250.0, file, seconds, size)      # between eyes and chin


def run_demo(folder: Path, hooks: Hooks) -> tuple[DubReport, list[Path]]:
    """Make the clip, dub it, and show both: the report and the files written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    source, result, sheet = folder / "source.mp4", folder / "dubbed.mp4", folder / "contact_sheet.png"
    make_clip(source, load_speech(SPEECH).duration)
    report = dub(source, SPEECH, result, hooks=hooks)
    analysis = analyse(VideoSource(source), create_backend(), Hooks(check_interrupt=hooks.check_interrupt))
    comparison_sheet(source, result, analysis.tracks[0] if analysis.tracks else None, sheet)
    return report, [source, result, sheet]
