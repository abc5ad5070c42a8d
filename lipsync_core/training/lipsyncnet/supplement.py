"""More people than were filmed: stills under a moving camera, and clips whose sound is of no use, made to speak by morph.

What the generator learns from them is faces, skins and beards, not how lips move: morph knows less of that than real speakers. The sync
expert should not be taught on them.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...audio import load_speech
from ...dubbing import DubOptions, dub
from ...errors import LipSyncError, MediaError
from ...faces import FaceBackend, create_backend
from ...media import Encoding
from ...media.still import film
from ...pixels import ArrayPixels
from .prepare import SUFFIXES

log = logging.getLogger(__name__)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SIDE = 360
"""Of the clips that are made of stills, pixels: the face fills two thirds of it."""
ROOM = 1.6
"""Side of the picture that is filmed, in sides of the face's box."""
SMALLEST = 70
"""Faces whose box is narrower are left out, pixels."""


def add_supplement(commands: argparse._SubParsersAction) -> None:
    """The `supplement` command."""
    parser = commands.add_parser("supplement", help="more people: stills and silent clips that morph makes speak, for `prepare`")
    parser.add_argument("sources", nargs="+", type=Path, metavar="FILE", help="stills, videos, or folders of them")
    parser.add_argument("--speech", nargs="+", type=Path, required=True, metavar="FILE", help="recordings, or folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip (default 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_run)


def _run(chosen: argparse.Namespace) -> None:
    made = supplement(chosen.sources, chosen.speech, chosen.output, seconds=chosen.seconds, seed=chosen.seed)
    sys.stdout.write(f"{len(made)} clips in {chosen.output}\n")


def supplement(sources: Sequence[Path], speech: Sequence[Path], folder: Path, *, seconds: float = 5.0, seed: int = 0) -> list[Path]:
    """Clips that are there already stay. Returns what was made; a still without a face large enough is left out, with a line in the
    log. Raises `MediaError` where there is nothing to use."""
    pictures, sounds = _files(sources, (*PICTURES, *SUFFIXES)), _files(speech, (".wav", ".flac", ".mp3", ".m4a", ".ogg", *SUFFIXES))
    folder.mkdir(parents=True, exist_ok=True)
    backend = create_backend()
    made = []
    for number, source in enumerate(pictures):
        target = folder / f"{source.stem}.mp4"
        rng = random.Random(f"{seed} {source.stem}")
        sound = rng.choice(sounds)
        long = load_speech(sound).duration
        options = DubOptions(strength=rng.uniform(0.9, 1.2), duration=seconds, backend=backend, require_face=True,
                             audio_start=rng.uniform(0, max(0.0, long - seconds)), encoding=Encoding(crf=12, preset="veryfast"))
        if target.exists():
            continue
        try:
            if source.suffix.lower() in PICTURES:
                with tempfile.TemporaryDirectory() as scratch:
                    still = Path(scratch) / "still.mp4"
                    _film(source, still, seconds, backend, rng.uniform(0, 20))
                    dub(still, sound, target, options)
            else:
                dub(source, sound, target, options)
        except LipSyncError as error:
            log.info("%d of %d, %s: %s", number + 1, len(pictures), source.name, error)
            continue
        made.append(target)
        log.info("%d of %d, %s", number + 1, len(pictures), target.name)
    return made


def _files(given: Sequence[Path], endings: tuple[str, ...]) -> list[Path]:
    found = []
    for path in given:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in inside if file.is_file() and (file.suffix.lower() in endings)]
    if not found:
        raise MediaError(f"There is nothing to use in {', '.join(map(str, given))}: endings looked for are {', '.join(endings)}.")
    return found


def _film(source: Path, target: Path, seconds: float, backend: FaceBackend, begin: float) -> None:
    """The largest face of a still as a clip. Raises `MediaError` where there is none that is large enough."""
    data = cv2.imdecode(np.fromfile(source, np.uint8), cv2.IMREAD_COLOR)     # cv2.imread knows no other alphabets on Windows
    if data is None:
        raise MediaError(f"{source} is no picture that can be read.")
    picture = np.ascontiguousarray(data[..., ::-1])
    found = backend.detect([ArrayPixels(picture)])[0]
    box = max((face.box for face in found), key=lambda b: float(b[2] - b[0]), default=None)
    if box is None or box[2] - box[0] < SMALLEST:
        raise MediaError(f"{source.name} shows no face that is {SMALLEST} pixels wide.")
    x0, y0, x1, y1 = (float(v) for v in box)
    width = ROOM * max(x1 - x0, y1 - y0)
    centre = ((x0 + x1) / 2, (y0 + y1) / 2 + 0.05 * width)
    film(picture, centre, width, target, math.ceil(seconds * 25) / 25 + 0.2, SIDE, begin)
