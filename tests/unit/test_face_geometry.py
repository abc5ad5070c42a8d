"""Smoothing, choice, activation, alignment: the parts of tracking that need no network."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.faces import choose, parse_face_rule
from lipsync_core.faces.activation import activation
from lipsync_core.faces.align import box_matrix, crop, invert, native_crop, similarity_matrix, transform
from lipsync_core.faces.pose import _TEMPLATE
from lipsync_core.faces.smoothing import smooth_landmarks
from lipsync_core.types import FaceTrack

FACE = _TEMPLATE[:, :2] * 100 + 300
TIMES = np.arange(100) / 25


def noisy(rng: np.random.Generator, faces: np.ndarray, pixels: float) -> np.ndarray:
    return faces + rng.normal(0, pixels, faces.shape)


def test_a_still_head_does_not_tremble() -> None:
    faces = noisy(np.random.default_rng(0), np.repeat(FACE[None], 100, 0), 1.0)
    def jitter(x: np.ndarray) -> float:
        return float(np.abs(np.diff(x[:, 27:48], axis=0)).mean())
    assert jitter(smooth_landmarks(faces, TIMES)) < 0.5 * jitter(faces)


def test_a_moving_head_is_not_followed_late() -> None:
    path = 60 * np.sin(2 * np.pi * 0.8 * TIMES)
    faces = FACE[None] + np.stack([path, 0 * path], -1)[:, None]
    smooth = smooth_landmarks(noisy(np.random.default_rng(1), faces, 0.7), TIMES)
    found = smooth[:, 27:48, 0].mean(1) - FACE[27:48, 0].mean()
    lags = np.arange(-5, 6)
    fit = [np.corrcoef(found[10:-10], np.roll(path, lag)[10:-10])[0, 1] for lag in lags]
    assert lags[int(np.argmax(fit))] == 0
    assert np.abs(found - path)[5:-5].max() < 2.5


def test_the_mouth_keeps_its_amplitude() -> None:
    opening = 12 * (0.5 - 0.5 * np.cos(2 * np.pi * 5 * TIMES))
    faces = np.repeat(FACE[None], 100, 0)
    faces[:, [65, 66, 67, 55, 56, 57, 58, 59], 1] += opening[:, None]
    smooth = smooth_landmarks(faces, TIMES)
    gap = smooth[:, 66, 1] - smooth[:, 62, 1]
    truth = faces[:, 66, 1] - faces[:, 62, 1]
    assert np.ptp(gap[5:-5]) > 0.9 * np.ptp(truth)


def test_one_bad_frame_is_mended() -> None:
    faces = np.repeat(FACE[None], 100, 0)
    faces[50] += [60, -30]
    assert np.abs(smooth_landmarks(faces, TIMES) - FACE).max() < 3


def test_cuts_and_gaps_are_not_smoothed_over() -> None:
    faces = np.repeat(FACE[None], 100, 0)
    faces[50:] += 200
    assert np.abs(smooth_landmarks(faces, TIMES, np.array([50])) - faces).max() < 0.01
    late = TIMES + (np.arange(100) >= 50) * 2.0
    assert np.abs(smooth_landmarks(faces, late) - faces).max() < 0.01


def track(x: float, size: float, frames: range, number: int) -> FaceTrack:
    rows = np.array(frames)
    boxes = np.tile(np.array([x, 50, x + size, 50 + size], np.float32), (len(rows), 1))
    ones = np.ones(len(rows), np.float32)
    return FaceTrack(rows, rows / 25, boxes, np.zeros((len(rows), 68, 2), np.float32), ones, np.zeros((len(rows), 3), np.float32),
                     ones, number)


def test_choosing_the_speaker() -> None:
    left, right, late = track(10, 50, range(50), 0), track(300, 80, range(50), 1), track(200, 60, range(50, 100), 2)
    people = [left, right, late]
    def numbers(rule, starts=(0,)):
        return [t.track_id for t in choose(people, rule, starts)]
    assert numbers("all") == [0, 1, 2]
    assert numbers("largest") == [1]
    assert numbers("largest", (0, 50)) == [1, 2]
    assert numbers(0) == [0] and numbers(2) == [1] and numbers(0, (0, 50)) == [0, 2] and numbers(7) == []
    assert numbers((20.0, 60.0)) == [0] and numbers((310.0, 60.0)) == [1]
    assert choose([], "largest") == []


def test_face_rules_are_parsed_or_explained() -> None:
    assert parse_face_rule("Largest") == "largest" and parse_face_rule(" 2 ") == 2 and parse_face_rule("640, 360") == (640.0, 360.0)
    for text in ("", "left", "-1", "1,2,3", "a,b"):
        with pytest.raises(ValueError, match="does not choose a face"):
            parse_face_rule(text)


def activations(**changes: np.ndarray) -> np.ndarray:
    n = 100
    values = dict(frames=np.arange(n), times=TIMES, boxes=np.tile(np.array([250, 200, 350, 330], np.float32), (n, 1)),
                  landmarks=np.tile(FACE, (n, 1, 1)), scores=np.ones(n), pose=np.zeros((n, 3)), shots=np.zeros(n, int))
    values |= changes
    return activation(**values, picture=(640, 640), last_frame=99)


def test_activation_falls_smoothly_where_the_face_cannot_be_dubbed() -> None:
    assert (activations() == 1).all()
    yaw = np.zeros((100, 3))
    yaw[:, 0] = np.clip(np.linspace(-50, 150, 100), 0, 60)
    turned = activations(pose=yaw)
    assert turned[0] == 1 and turned[-1] == 0 and np.abs(np.diff(turned)).max() < 0.35
    assert (activations(scores=np.full(100, 0.1)) == 0).all()
    small = np.tile(np.array([250, 200, 262, 215], np.float32), (100, 1))
    assert (activations(boxes=small) == 0).all()
    assert (activations(landmarks=np.tile(FACE - 400, (100, 1, 1))) == 0).all()


def test_activation_is_gone_before_a_gap() -> None:
    frames = np.r_[np.arange(40), np.arange(60, 120)]
    result = activations(frames=frames, times=frames / 25)
    assert result[0] == 1 and result[39] == 0 and result[40] == 0 and result[-1] == 1
    # A new shot is no gap: there is nothing to fade from.
    shots = (np.arange(100) >= 40).astype(int)
    assert (activations(frames=frames, times=frames / 25, shots=shots) == 1).all()


def test_crops_can_be_undone(astronaut: np.ndarray) -> None:
    picture, face = ArrayPixels(astronaut), _TEMPLATE[:, :2] * 62 + [223, 112]
    for matrix in (similarity_matrix(face, 256), box_matrix(np.array([180.3, 90.7, 270.1, 200.2]), 96)):
        back = transform(invert(matrix), transform(matrix, face))
        assert np.abs(back - face).max() < 1e-3
        result = crop(picture, face, matrix, 96 if matrix[0, 1] == 0 else 256)
        assert np.abs(transform(invert(result.matrix), result.landmarks) - face).max() < 1e-3
    window = native_crop(picture, face, (180, 90, 270, 200))
    assert np.array_equal(window.pixels, astronaut[90:200, 180:270].astype(np.float32))
    assert np.allclose(window.landmarks, face - [180, 90], atol=1e-4)


def test_a_box_template_cuts_as_a_resize_does(astronaut: np.ndarray) -> None:
    import cv2
    part = cv2.resize(astronaut[90:200, 180:270], (96, 96), interpolation=cv2.INTER_LINEAR)
    ours = ArrayPixels(astronaut).warp(box_matrix(np.array([180, 90, 270, 200]), 96), (96, 96))
    assert np.abs(part[2:-2, 2:-2].astype(int) - ours[2:-2, 2:-2]).mean() < 1
