"""Who is who over cuts: the face embedding, and tracks grouped by person."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import moving_face, write_clip

from lipsync_core.analysis import Analysis, analyse
from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.casting import people_of
from lipsync_core.faces.album import Album
from lipsync_core.faces.builtin import BuiltinBackend
from lipsync_core.faces.embedding import SIDE, chip, chip_matrix, describe
from lipsync_core.faces.identity import SAME, same_people
from lipsync_core.faces.tracking import Tracker
from lipsync_core.media import VideoSource
from lipsync_core.types import FaceTrack, Hooks

DATA = Path(__file__).resolve().parent / "data"


def face(picture: np.ndarray, backend: BuiltinBackend) -> np.ndarray:
    """Landmarks (68, 2) of the one face."""
    view = ArrayPixels(np.ascontiguousarray(picture, np.float32))
    backend.begin(0)
    shapes, _ = backend.landmarks([view], [backend.detect([view])[0][0].box])
    return backend.landmarks([view], list(shapes))[0][0]


def test_the_numbers_are_dlibs(astronaut: np.ndarray) -> None:
    """What dlib itself said of the same square of the portrait."""
    square = cv2.resize(astronaut[40:220, 135:315], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    theirs = np.loadtxt(DATA / "face_embedding_of_astronaut.txt")
    ours = describe([square])[0]
    assert ours.shape == (128,) and np.linalg.norm(theirs) > 1 and np.linalg.norm(ours - theirs) < 0.02


def test_a_face_is_laid_upright(astronaut: np.ndarray, backend: BuiltinBackend) -> None:
    points = face(astronaut[:300, 60:380], backend)
    turned = cv2.getRotationMatrix2D((160, 130), 20, 1.3)
    moved = points @ turned[:, :2].T + turned[:, 2]
    for shape in (points, moved):
        laid = shape @ chip_matrix(shape)[:, :2].T + chip_matrix(shape)[:, 2]
        eyes = laid[36:42].mean(0), laid[42:48].mean(0)
        assert abs(eyes[0][1] - eyes[1][1]) < 4 and 40 < eyes[0][0] < 65 < 85 < eyes[1][0] < 110
    one = chip(astronaut[:300, 60:380], points)
    other = chip(cv2.warpAffine(astronaut[:300, 60:380], turned, (420, 400), flags=cv2.INTER_CUBIC), moved)
    assert one.shape == (SIDE, SIDE, 3) and np.abs(one.astype(float) - other).mean() < 6
    a, b = describe([one, other])
    assert np.linalg.norm(a - b) < 0.25


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, backend: BuiltinBackend) -> Analysis:
    """The portrait in two shots, from near on the left, from afar and darker on the right, an empty shot between them."""
    near = moving_face(astronaut, 15, 240)
    empty = np.full((240, 400, 3), (40, 90, 130), np.uint8)
    shots = [[_placed(picture, empty, 0) for picture in near], [empty] * 6,
             [_placed((cv2.resize(picture, (190, 190)) * 0.75).astype(np.uint8), empty, 205) for picture in near]]
    clip = write_clip(tmp_path_factory.mktemp("cuts") / "cuts.mp4", [picture for shot in shots for picture in shot])
    return analyse(VideoSource(clip), backend, Hooks())


def _placed(picture: np.ndarray, empty: np.ndarray, x: int) -> np.ndarray:
    whole = empty.copy()
    whole[:picture.shape[0], x:x + picture.shape[1]] = picture
    return whole


def test_one_person_in_two_shots(cuts: Analysis) -> None:
    assert len(cuts.tracks) == 2
    assert [sorted(numbers) for numbers in people_of(cuts)] == [[0, 1]]


def flat(number: int, first: int, frames: int) -> FaceTrack:
    rows = np.arange(first, first + frames)
    box = np.tile(np.array([10, 10, 50, 50], np.float32), (frames, 1))
    ones = np.ones(frames, np.float32)
    return FaceTrack(rows, rows / 25, box, np.zeros((frames, 68, 2), np.float32), ones, np.zeros((frames, 3), np.float32), ones, number)


def test_who_is_in_one_picture_is_not_one_person(cuts: Analysis) -> None:
    """And where nobody could be anybody else the network is not asked."""
    def never(chips: object) -> np.ndarray:
        raise AssertionError("asked")

    together = [flat(0, 0, 20), flat(1, 10, 20)]
    assert same_people(together, [Album(), Album()], never).groups == [[0], [1]]
    assert same_people(together[:1], [Album()], never).groups == [[0]] and same_people([], [], never).groups == []
    assert same_people([flat(0, 0, 5), flat(1, 10, 5)], [Album(), Album()], never).groups == [[0], [1]]       # nobody has a portrait


def test_groups_by_distance(cuts: Analysis) -> None:
    """Embeddings in place of faces: three shots of one, one of another, and one that is hard to tell."""
    track = cuts.tracks[0]
    spread = [0.0, 0.1, 2.0, 0.2, SAME + 0.05]
    tracks = [FaceTrack(**{**vars(track), "frames": track.frames + 100 * i, "track_id": i}) for i in range(5)]
    albums = [_shifted(cuts.albums[0], 100 * i) for i in range(5)]
    asked = iter(spread)
    people = same_people(tracks, albums, lambda chips: np.full((len(chips), 1), next(asked), np.float32))
    assert people.groups == [[0, 1, 3, 4], [2]] or people.groups == [[0, 1, 3], [2], [4]]
    assert {pair[:2] for pair in people.unsure} >= {(4, 0)} and all(2 not in pair[:2] for pair in people.unsure)


def _shifted(album: Album, frames: int) -> Album:
    import dataclasses

    result = Album()
    result.portraits = [dataclasses.replace(portrait, frame=portrait.frame + frames) for portrait in album.portraits]
    return result


def test_a_cut_to_somebody_else_at_the_same_place(shared_media: Path | None, backend: BuiltinBackend) -> None:
    """The landmarks go on as if nothing had happened; the face does not."""
    if shared_media is None:
        pytest.skip("needs ../shared/media, real clips that are not ours to ship: a cut between two real faces was NOT tracked")
    files = sorted((shared_media / "talking").glob("grid_*.mpg"))[:2]
    shots = [[item.frame.to_ndarray(format="rgb24") for item in VideoSource(file).frames()][:10] for file in files]
    first, second = (face(shot[0], backend) for shot in shots)
    moved = (first[27:48].mean(0) - second[27:48].mean(0)).astype(float)
    there = np.array([[1, 0, moved[0]], [0, 1, moved[1]]])
    shots[1] = [cv2.warpAffine(picture, there, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT) for picture in shots[1]]
    tracker = Tracker(backend)
    for i, picture in enumerate(shots[0] + shots[1]):
        tracker.feed(i, i / 25, ArrayPixels(picture.astype(np.float32)))
    tracks = tracker.finish()
    assert [track.frames.tolist() for track in sorted(tracks, key=lambda track: track.frames[0])] == [list(range(10)), list(range(10, 20))]
    assert len(same_people(tracks, tracker.albums).groups) == 2
