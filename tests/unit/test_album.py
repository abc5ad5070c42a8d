"""The pictures of a person that are kept while a clip is read: the widest open mouths, apart in time, few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import moving_face, write_clip

from lipsync_core.analysis import analyse
from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.faces.album import APART, KEPT, Album, trim
from lipsync_core.faces.builtin import BuiltinBackend
from lipsync_core.media import VideoSource
from lipsync_core.types import FaceTrack, Hooks

PICTURE = ArrayPixels(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))


def face(opening: float) -> np.ndarray:
    """Landmarks of which only the eyes (40 pixels apart) and the mouth are somewhere."""
    points = np.full((68, 2), 60.0)
    points[36], points[45], points[62], points[66] = (40, 40), (80, 40), (60, 80), (60, 80 + 40 * opening)
    points[48], points[54], points[8], points[27] = (50, 80), (70, 80), (60, 100), (60, 40)
    return points


def album(openings: list[float], begin: int = 0) -> Album:
    kept = Album()
    for i, opening in enumerate(openings, begin):
        kept.offer(i, i / 25, face(opening), PICTURE)
    return kept


def test_the_widest_mouths_apart_in_time_are_kept() -> None:
    openings = list(0.1 + 0.09 * np.sin(np.arange(1000) / 7) ** 2 * np.linspace(0, 1, 1000))
    kept = album(openings).portraits
    assert len(kept) == KEPT
    times = sorted(one.time for one in kept)
    assert min(np.diff(times)) > APART and min(one.opening for one in kept) > np.quantile(openings, 0.9)


def test_a_portrait_holds_the_frame_s_own_pixels() -> None:
    (one,) = album([0.2]).portraits
    crop = one.crop(face(0.2))
    height, width = crop.pixels.shape[:2]
    assert np.array_equal(crop.pixels, PICTURE.region((*one.corner, one.corner[0] + width, one.corner[1] + height)))
    assert np.allclose(crop.landmarks + one.corner, face(0.2))


def test_a_stream_forgets_what_was_long_ago() -> None:
    kept = album([0.1] * 60)
    assert sorted(one.frame for one in kept.portraits) == [0, 11, 22, 33, 44, 54]
    kept.forget(30 / 25)
    assert sorted(one.frame for one in kept.portraits) == [33, 44, 54]


def test_all_albums_of_a_film_fit_into_one_room() -> None:
    """However many shots it has; of each the widest mouth stays longest."""
    albums = [album([0.1] * 15 + [0.2] * 15, begin=100 * i) for i in range(50)]
    one = albums[0].portraits[0].pixels.nbytes
    trim(albums, 100 * one)
    assert [len(each.portraits) for each in albums] == [2] * 50
    trim(albums, 50 * one)
    assert [[portrait.opening for portrait in each.portraits] for each in albums] == [pytest.approx([0.2])] * 50
    trim(albums, 10 * one)
    assert sum(each.size for each in albums) == 10 * one


def test_references_are_the_most_open_mouths_that_can_be_used(astronaut: np.ndarray, backend: BuiltinBackend, tmp_path: Path) -> None:
    """A clip is decoded once for them; a person with nothing but a shut mouth is shown once."""
    clip = write_clip(tmp_path / "clip.mkv", moving_face(astronaut, 40, 240), codec="ffv1", pix_fmt="bgr0")
    analysis = analyse(VideoSource(clip), backend, Hooks())
    (track,) = analysis.tracks
    references = analysis.references(track, 5)
    assert 1 < len(references) <= 5 and not analysis.references(track, 0)
    opening = [opened(track, one.frame) for one in references]
    assert opening == sorted(opening, reverse=True)
    view = next(item.pixels for item in VideoSource(clip).pictures() if item.index == references[0].frame)
    height, width = references[0].pixels.shape[:2]
    x, y = (-references[0].matrix[:, 2]).astype(int)
    assert np.array_equal(references[0].pixels, view.region((x, y, x + width, y + height)))
    shut = track.landmarks.copy()
    shut[:, 66] = shut[:, 62]
    assert len(analysis.references(FaceTrack(**(vars(track) | {"landmarks": shut})), 5)) == 1


def opened(track: FaceTrack, frame: int) -> float:
    points = track.landmarks[np.searchsorted(track.frames, frame)]
    yaw = float(track.pose[np.searchsorted(track.frames, frame), 0])
    gap, eyes = (np.linalg.norm(points[a] - points[b]) for a, b in ((66, 62), (45, 36)))
    return float(gap / eyes - 0.002 * abs(yaw))
