"""Pictures that let a person judge a clip at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .analysis import Analysis
from .errors import OutputError
from .faces import annotate
from .faces.geometry import mouth_box
from .media import FrameView, VideoSource
from .types import FaceTrack


def pick_frames(total: int, count: int) -> list[int]:
    """`count` frame numbers spread over a clip of `total` frames."""
    return sorted({int(round(v)) for v in np.linspace(0, max(total - 1, 0), count)})


def comparison_sheet(before: Path, after: Path, track: FaceTrack | None, file: Path, *, count: int = 12, side: int = 240,
                     start: float = 0.0) -> None:
    """A PNG with `count` moments: the source's mouth above, the dubbed one below, at native resolution where it fits.

    `start`: seconds of the source that the dub skipped.
    """
    total = VideoSource(after).info.frames
    wanted = pick_frames(total, count)
    rows = [_mouths(VideoSource(path, start=skip), wanted, track, side) for path, skip in ((before, start), (after, 0.0))]
    width = min(len(row) for row in rows)
    if not width:
        raise OutputError(f"There is no frame to show in {after}.")
    half = -(-width // 2)
    lines = []
    for begin in range(0, width, half):
        for row in rows:
            tiles = row[begin:begin + half]
            tiles = tiles + [np.zeros_like(tiles[0])] * (half - len(tiles))
            lines.append(np.hstack(tiles))
    write_png(file, np.vstack(lines))


def _mouths(source: VideoSource, wanted: list[int], track: FaceTrack | None, side: int) -> list[np.ndarray]:
    tiles, left = [], set(wanted)
    for item in source.frames():
        if item.index in left:
            left.discard(item.index)
            tiles.append(_tile(FrameView(item.frame, source.info.rotation), item.index, track, side))
        if not left:
            break
    return tiles


def _tile(view: FrameView, frame: int, track: FaceTrack | None, side: int) -> np.ndarray:
    row = int(np.searchsorted(track.frames, frame)) if track is not None else -1
    box = None
    if track is not None and row < len(track) and track.frames[row] == frame:
        box = mouth_box(track.landmarks[row], (view.width, view.height), margin=0.55)
    image = np.clip(view.region(box), 0, 255).astype(np.uint8) if box else view.thumbnail(side)
    return fit(image, side)


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """`image` scaled to fit a square of `side` pixels, on black."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.zeros((side, side, 3), np.uint8)
    y, x = (side - size[1]) // 2, (side - size[0]) // 2
    canvas[y:y + size[1], x:x + size[0]] = small
    return canvas


def tracks_sheet(source: VideoSource, analysis: Analysis, file: Path, people: Sequence[Sequence[int]] = (), *, count: int = 12,
                 side: int = 480) -> None:
    """A PNG with `count` frames of the clip, faces drawn in; `people`: numbers of tracks, a list for each person, to name them by."""
    wanted, tiles = set(pick_frames(analysis.frames, count)), []
    names = {number: f"{i} #{number}" for i, numbers in enumerate(people) for number in numbers}
    for item in source.frames():
        if item.index in wanted:
            view = FrameView(item.frame, source.info.rotation)
            image = view.thumbnail(side)
            tiles.append(fit(annotate(image, analysis.tracks, item.index, image.shape[1] / view.width, names), side))
        if item.index >= analysis.frames - 1:
            break
    columns = 4
    tiles += [np.zeros((side, side, 3), np.uint8)] * (-len(tiles) % columns)
    write_png(file, np.vstack([np.hstack(tiles[i:i + columns]) for i in range(0, len(tiles), columns)]))


def write_png(file: Path, image: np.ndarray) -> None:
    """RGB uint8 -> PNG under any name; raises `OutputError`."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        if not ok:
            raise OSError(0, "the picture can't be encoded")
        # cv2.imwrite can't open names outside the code page on Windows.
        file.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"The picture {file} can't be written ({error.strerror}): choose another place.") from error
