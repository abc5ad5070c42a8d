"""Covered mouths are found, uncovered ones are left alone: on colours made up for the purpose, and on a real face with drawn covers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import moving_face

from lipsync_core.analysis import analyse
from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.faces import Tracker
from lipsync_core.faces.activation import COVERED, activation
from lipsync_core.faces.crops import landmark_matrix
from lipsync_core.faces.occlusion import HALVES, MESH, Seen, covered, look
from lipsync_core.faces.pose import _TEMPLATE
from lipsync_core.media import VideoSource
from lipsync_core.types import FaceTrack, Hooks

FULL, NONE = COVERED
SKIN, LIP = np.array([205.0, 160, 135]), np.array([170.0, 95, 90])
LIPS = range(7, 27)
"""The points of `MESH` that lie on the lips."""
MOUTH = np.array([222.7, 144.9])
"""Middle of the portrait's lips."""
COLOURS = np.array([222, 170, 150], np.float32)
"""Its skin beside the mouth."""


def person(frames: int, seed: int = 0, noise: float = 2.0) -> np.ndarray:
    """Float looks (frames, 48, 3) of somebody with ordinary lips."""
    rng = np.random.default_rng(seed)
    base = np.tile(SKIN, (len(MESH), 1)) + rng.normal(0, 5, (len(MESH), 1))
    base[LIPS] = LIP + rng.normal(0, 5, (len(LIPS), 1))
    return base + rng.normal(0, noise, (frames, len(MESH), 3))


def bytes_of(looks: np.ndarray) -> np.ndarray:
    return np.clip(looks, 0, 255).astype(np.uint8)


def hand(looks: np.ndarray, points: np.ndarray | slice = slice(None)) -> np.ndarray:
    """The same frames with skin where `points` are."""
    rng = np.random.default_rng(9)
    result = looks.copy()
    result[:, points] = SKIN + rng.normal(0, 8, result[:, points].shape[:2])[..., None]
    return result


@pytest.mark.parametrize("points", [slice(None), HALVES[0], HALVES[1]], ids=["all", "left", "right"])
def test_skin_where_lips_were(points) -> None:
    looks = person(100)
    looks[40:60] = hand(looks[40:60], points)
    found = covered(bytes_of(looks))
    hidden = np.isin(np.arange(100), np.arange(40, 60))
    assert found.dtype == np.float32 and found.shape == (100,)
    assert found[hidden].min() > NONE and found[~hidden].max() < 0.1


def test_the_face_is_the_usual_even_where_it_is_the_exception() -> None:
    looks = person(100)
    looks[20:90] = hand(looks[20:90])
    found = covered(bytes_of(looks))
    assert found[20:90].min() > NONE and max(found[:20].max(), found[90:].max()) < 0.1


LIGHTS: dict[str, np.ndarray] = {
    "dim": np.full((len(MESH), 3), 0.3), "warm": np.tile([1.2, 1.0, 0.7], (len(MESH), 1)), "blue": np.tile([0.7, 0.9, 1.3], (len(MESH), 1)),
    "side": np.repeat(1 + 1.5 * np.array([[(1 - s) * _TEMPLATE[a, 0] + s * _TEMPLATE[b, 0]] for a, b, s in MESH]), 3, 1)}


@pytest.mark.parametrize("light", LIGHTS)
def test_light_is_no_cover(light: str) -> None:
    looks = person(100)
    looks[60:] *= LIGHTS[light]
    assert covered(bytes_of(looks)).max() < FULL


def test_noise_in_the_dark_is_no_cover() -> None:
    looks = person(200, noise=0) / 6 + np.random.default_rng(3).normal(0, 2, (200, len(MESH), 3))
    assert (covered(bytes_of(looks)) > FULL).mean() < 0.02


@pytest.mark.parametrize("frames", range(1, 11))
def test_short_tracks(frames: int) -> None:
    found = covered(bytes_of(person(frames)))
    assert found.shape == (frames,) and found.max() < 0.2


def test_nothing_to_see_is_no_number_out_of_range() -> None:
    for value in (0, 128, 255):
        found = covered(np.full((30, len(MESH), 3), value, np.uint8))
        assert np.isfinite(found).all() and 0 <= found.min() and found.max() <= 1
    assert covered(np.zeros((0, len(MESH), 3), np.uint8)).shape == (0,)


def test_long_tracks_are_worked_on_in_parts() -> None:
    looks = bytes_of(np.tile(person(100), (90, 1, 1)))
    looks[5000:5050] = bytes_of(hand(looks[5000:5050].astype(float)))
    found = covered(looks)
    assert len(found) == 9000 and set(np.flatnonzero(found > FULL)) == set(range(5000, 5050))


def test_a_look_reads_the_colours_at_the_landmarks() -> None:
    face = (_TEMPLATE[:, :2] * 150 + 250).astype(np.float32)
    picture = np.full((500, 500, 3), (200, 160, 140), np.uint8)
    cv2.fillPoly(picture, [np.rint(face[48:60]).astype(np.int32)], (150, 70, 80))
    colours = look(ArrayPixels(picture), face).astype(int)
    assert colours.shape == (len(MESH), 3)
    assert np.abs(colours[[13, 14, 15, 18, 19, 20]] - [150, 70, 80]).max() < 25      # the middle of the lips
    assert np.abs(colours[[*range(7), *range(32, 37)]] - [200, 160, 140]).max() < 14
    small = look(ArrayPixels(cv2.resize(picture, (125, 125), interpolation=cv2.INTER_AREA)), (face + 0.5) / 4 - 0.5).astype(int)
    assert np.abs(small - colours).mean() < 8

    seen = Seen(ArrayPixels(picture))
    crop = seen.warp(landmark_matrix(face), (128, 128))
    assert seen.crop is crop and np.abs(look(seen, face).astype(int) - colours).mean() < 6


def test_activation_goes_out_and_comes_back() -> None:
    times, n = np.arange(100) / 25, 100
    hidden = np.where((times > 1.5) & (times < 2.5), 0.8, 0.1).astype(np.float32)
    face = np.tile(_TEMPLATE[:, :2] * 100 + 300, (n, 1, 1))
    effect = activation(np.arange(n), times, np.tile([250, 200, 350, 330], (n, 1)), face, np.ones(n), np.zeros((n, 3)), (640, 640),
                        np.zeros(n, int), 99, hidden)
    assert effect[hidden > 0.5].max() == 0 and effect[times < 1.2].min() == 1 and effect[times > 2.8].min() == 1
    assert np.abs(np.diff(effect)).max() < 0.35


# -- a real face -----------------------------------------------------------------------------------------------------------


def draw_hand(picture: np.ndarray, x: float, y: float, size: float) -> None:
    """Four fingers and a palm in the portrait's skin colour, shaded, with soft edges; size = distance of the eyes."""
    rows, columns = np.mgrid[:picture.shape[0], :picture.shape[1]].astype(np.float32)
    u, v = (columns - x) / size, (rows - y) / size
    shade, alpha = np.zeros_like(u), np.zeros_like(u)
    for i in range(-2, 3):
        across = np.abs(u - 0.36 * i) / 0.19
        finger = np.clip((1 - across) * 6, 0, 1) * np.clip((0.75 - np.abs(v)) * 8, 0, 1)
        shade, alpha = np.maximum(shade, finger * np.sqrt(np.clip(1 - across ** 2, 0, 1))), np.maximum(alpha, finger)
    alpha = cv2.GaussianBlur(np.maximum(alpha, np.clip((1.2 - np.hypot(u, (v - 1.4) * 0.9)) * 8, 0, 1)), (0, 0), 1)[..., None]
    picture[:] = (picture * (1 - alpha) + COLOURS * (0.85 + 0.15 * np.maximum(shade, 0.5))[..., None] * alpha).astype(np.uint8)


def draw_microphone(picture: np.ndarray, x: float, y: float, size: float) -> None:
    cv2.line(picture, (round(x), round(y)), (round(x + 0.5 * size), round(y + 5 * size)), (25, 25, 28), round(0.5 * size), cv2.LINE_AA)
    cv2.circle(picture, (round(x), round(y)), round(0.75 * size), (45, 45, 50), -1, cv2.LINE_AA)


def draw_cup(picture: np.ndarray, x: float, y: float, size: float) -> None:
    corners = [round(v) for v in (x - 0.8 * size, y - 0.5 * size, x + 0.8 * size, y + 1.4 * size)]
    cv2.rectangle(picture, corners[:2], corners[2:], (228, 226, 220), -1, cv2.LINE_AA)


def draw_nothing(picture: np.ndarray, x: float, y: float, size: float) -> None:
    pass


def follow(backend, astronaut: np.ndarray, draw: Callable, frames: int = 50, hidden: range = range(18, 33),
           change: Callable[[int, np.ndarray], np.ndarray] = lambda i, picture: picture) -> FaceTrack:
    """The portrait under a moving camera, with something before the mouth that comes from below in 4 frames and leaves so."""
    tracker = Tracker(backend)
    for i, picture in enumerate(moving_face(astronaut, frames)):
        zoom = 320 / 260 * (1 + 0.03 * np.sin(0.3 * i))
        centre = 160 + zoom * (MOUTH - [222 + 4 * np.sin(0.2 * i), 128 + 3 * np.cos(0.25 * i)])
        away = max(hidden.start - i, i - hidden.stop + 1, 0)
        if away <= 4:
            draw(picture, centre[0], centre[1] + 35 * away, 43 * zoom * 0.6)
        tracker.feed(i, i / 25, ArrayPixels(change(i, picture)))
    tracks = tracker.finish()
    assert len(tracks) == 1 and tracks[0].track_id == 0
    return tracks[0]


@pytest.mark.parametrize("draw", [draw_hand, draw_microphone, draw_cup])
def test_a_cover_switches_the_effect_off_smoothly(backend, astronaut: np.ndarray, draw: Callable) -> None:
    track = follow(backend, astronaut, draw)
    at = dict(zip(track.frames.tolist(), track.activation.tolist()))
    assert max(at.get(i, 0.0) for i in range(18, 33)) < 0.2
    assert min(at[i] for i in [*range(8), *range(44, 50)]) > 0.95
    assert np.abs(np.diff([at.get(i, 0.0) for i in range(50)])).max() < 0.5
    assert track.covered is not None and track.covered.shape == track.frames.shape


def test_without_a_cover_nothing_is_lost(backend, astronaut: np.ndarray) -> None:
    def fade(i: int, picture: np.ndarray) -> np.ndarray:
        return (picture * np.array([1.0, 0.9, 0.75] if i > 25 else [1.0, 1, 1]) * (1 - 0.012 * i)).astype(np.uint8)

    track = follow(backend, astronaut, draw_nothing, change=fade)
    assert len(track) == 50 and track.activation.min() > 0.99 and track.covered.max() < 0.3


@pytest.mark.parametrize("frames", [1, 2, 3, 10])
def test_short_clips(backend, astronaut: np.ndarray, frames: int) -> None:
    track = follow(backend, astronaut, draw_nothing, frames)
    assert len(track) == len(track.covered) == frames and track.activation.min() > 0.95


@pytest.mark.parametrize("name", ["talking/grid_swiz3n.mpg", "expressions/liveportrait_d12.mp4", "talking/testonly_two_faces.avi"])
def test_people_keep_their_effect(backend, shared_media: Path | None, name: str) -> None:
    """The clips that come nearest to the limit: pale lips, wide-open mouths, a head turned by 30 degrees."""
    if shared_media is None:
        pytest.skip("needs ../shared/media, real clips that are not ours to ship; drawn covers on the portrait are tested above")
    tracks = analyse(VideoSource(shared_media / name, duration=3), backend, Hooks()).tracks
    assert tracks
    for track in tracks:
        assert track.covered.max() < FULL + 0.03
