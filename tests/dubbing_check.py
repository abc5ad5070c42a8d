"""What a dub through the whole pipeline may change."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from helpers import moving_face, write_clip

from lipsync_core import Encoding, Hooks, dub
from lipsync_core.media import FrameBatch
from lipsync_core.stages import FaceOptions, detect_faces
from lipsync_core.types import Generator, Speech


def check_only_mouths_change(generator: Generator, astronaut: np.ndarray, samples: np.ndarray, folder: Path) -> None:
    """Dub ten frames of the portrait losslessly, 29.97 a second, with speech (n,): every mouth changes, and nothing outside the boxes."""
    frames = np.stack(moving_face(astronaut, 10, 240))
    rate = Fraction(30_000, 1001)
    clip = write_clip(folder / "rgb.mkv", list(frames), codec="ffv1", pix_fmt="bgr0", rate=rate)
    report = dub(clip, Speech(samples), folder / "dub.mkv", generator=generator, encoding=Encoding(codec="ffv1"))
    with av.open(str(folder / "dub.mkv")) as container:
        dubbed = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert (report.frames, report.dubbed) == (10, 10) and dubbed.shape == frames.shape
    found = detect_faces(FrameBatch(lambda i: frames[i].astype(np.float32) / 255, 10, (240, 240), rate), FaceOptions(), Hooks())
    outside = np.ones(frames.shape[:3], bool)
    for crop in found.people[0].crops:
        x0, y0, x1, y1 = crop.box
        outside[crop.frame, y0:y1, x0:x1] = False
    changed = (dubbed != frames).any(-1)
    assert changed.any((1, 2)).all() and not (changed & outside).any()
