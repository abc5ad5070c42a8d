"""The built-in face models, tracking, and the geometry around them, on a real face."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import moving_face

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.errors import CheckpointError, FaceError
from lipsync_core.faces import Tracker, annotate, create_backend
from lipsync_core.faces.builtin import WEIGHTS, load_network
from lipsync_core.faces.crops import landmark_matrix
from lipsync_core.faces.networks import DetectorNet, LandmarkNet, folded
from lipsync_core.faces.pose import _TEMPLATE, estimate_pose

EYES, NOSE, MOUTH = (np.array([[203.0, 101.0], [246.6, 103.3]]), np.array([223.1, 125.3]), np.array([222.7, 144.9]))
"""Middle of the eyes, tip of the nose and middle of the lips in the portrait, by the landmark teacher (MediaPipe FaceMesh)."""


def test_it_finds_the_face_and_only_the_face(backend, astronaut: np.ndarray) -> None:
    faces = backend.detect([ArrayPixels(astronaut)])[0]
    assert len(faces) == 1
    x0, y0, x1, y1 = faces[0].box
    assert 168 < x0 < 192 and 256 < x1 < 282 and 76 < y0 < 98 and 164 < y1 < 188


def test_landmarks_lie_on_eyes_nose_and_mouth(backend, astronaut: np.ndarray) -> None:
    picture = ArrayPixels(astronaut)
    box = backend.detect([picture])[0][0].box
    first, _ = backend.landmarks([picture], [box])
    points, confidence = backend.landmarks([picture], list(first))
    assert confidence[0] > 0.8
    assert np.linalg.norm(points[0, 30] - NOSE) < 3
    assert np.linalg.norm(points[0, 48:60].mean(0) - MOUTH) < 3
    assert np.linalg.norm(np.stack([points[0, 36:42].mean(0), points[0, 42:48].mean(0)]) - EYES, axis=1).max() < 3
    assert np.linalg.norm(first - points, axis=-1).mean() < 2.5       # the box and the shape agree


def test_no_face_in_colours_and_noise(backend) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:240, 0:320]
    pictures = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), np.full((240, 320, 3), 128, np.uint8),
                np.stack([x % 256, y % 256, (x * y) % 256], -1).astype(np.uint8)]
    views = [ArrayPixels(p) for p in pictures]
    for view, faces in zip(views, backend.detect(views)):
        boxes = [face.box for face in faces] or [np.array([60, 40, 200, 200], np.float32)]
        assert (backend.landmarks([view] * len(boxes), boxes)[1] < 0.6).all()


def test_a_batch_gives_what_single_calls_give(backend, astronaut: np.ndarray) -> None:
    views = [ArrayPixels(p) for p in moving_face(astronaut, 3)]
    boxes = [faces[0].box for faces in backend.detect(views)]
    together, _ = backend.landmarks(views, boxes)
    alone = np.concatenate([backend.landmarks([v], [b])[0] for v, b in zip(views, boxes)])
    assert np.abs(together - alone).max() < 0.01


@pytest.mark.parametrize("angle", [-25, 25])
def test_tilted_heads(backend, astronaut: np.ndarray, angle: float) -> None:
    turn = cv2.getRotationMatrix2D((223, 140), angle, 1.6)
    view = ArrayPixels(cv2.warpAffine(astronaut, turn, (446, 320), borderMode=cv2.BORDER_REFLECT))
    box = backend.detect([view])[0][0].box
    first, _ = backend.landmarks([view], [box])
    points, confidence = backend.landmarks([view], list(first))
    mouth = turn @ [*MOUTH, 1]
    assert confidence[0] > 0.6 and np.linalg.norm(points[0, 48:60].mean(0) - mouth) < 5


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    for network, x in ((LandmarkNet(), torch.rand(2, 3, 128, 128)), (DetectorNet(), torch.rand(1, 3, 96, 160))):
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
        network.eval()
        with torch.no_grad():
            before = network(x)
            after = folded(network)(x)
        for a, b in zip(before if isinstance(before, tuple) else [before], after if isinstance(after, tuple) else [after]):
            assert torch.allclose(a, b, atol=1e-4)


def test_sizes() -> None:
    assert sum(p.numel() for p in LandmarkNet().parameters()) < 2_000_000
    assert sum(p.numel() for p in DetectorNet().parameters()) < 1_500_000
    assert DetectorNet()(torch.zeros(1, 3, 224, 416)).shape == (1, 5, 28, 52)
    points, logits = LandmarkNet()(torch.zeros(2, 3, 128, 128))
    assert points.shape == (2, 68, 2) and logits.shape == (2, 1)
    assert sum((WEIGHTS / f"face_{name}.safetensors").stat().st_size for name in ("detector", "landmarks")) < 8_000_000


def test_every_bundled_weight_has_a_card() -> None:
    for file in WEIGHTS.glob("*.safetensors"):
        card = file.with_suffix(".md").read_text(encoding="utf-8")
        for word in ("Taught on", "Licence", "Recipe", "Measured", "can't"):
            assert re.search(word, card, re.IGNORECASE), (file.name, word)


def test_wrong_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        load_network(LandmarkNet(), tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="does not hold"):
        load_network(LandmarkNet(), WEIGHTS / "face_detector.safetensors")
    with pytest.raises(FaceError, match="no face backend"):
        create_backend("dlib")


def test_crops_of_boxes_and_shapes() -> None:
    box = np.array([100.0, 50, 200, 170])
    matrix = landmark_matrix(box)
    centre = matrix @ [150, 110, 1]
    assert np.allclose(centre, 63.5) and np.isclose(np.linalg.norm(matrix[:, 0]), 128 / (1.4 * 120))
    shape = _TEMPLATE[:, :2] * 80 + 200
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    tilted = (shape - 200) @ turn.T + 200
    level = tilted @ landmark_matrix(tilted)[:, :2].T + landmark_matrix(tilted)[:, 2]
    assert abs(level[45, 1] - level[36, 1]) < 0.5


@pytest.mark.parametrize(("axis", "sign"), [(0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)])
def test_pose_of_a_turned_model(axis: int, sign: int) -> None:
    """The mean face turned by 20 degrees in 3-D is measured as turned by 20 degrees, the other angles as 0."""
    angle = np.deg2rad(20 * sign)
    c, s = np.cos(angle), np.sin(angle)
    # x right, y down, z away: yaw right brings the nose (z < 0) to +x, pitch up brings it to -y, roll is clockwise as seen.
    turn = [np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]), np.array([[1, 0, 0], [0, c, s], [0, -s, c]]),
            np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])][axis]
    points = (_TEMPLATE @ turn.T)[:, :2] * 90 + 300
    pose = estimate_pose(points[None])[0]
    expected = np.zeros(3)
    expected[axis] = 20 * sign
    assert np.abs(pose - expected).max() < 0.5


def test_tracking_follows_one_person(backend, astronaut: np.ndarray) -> None:
    tracker = Tracker(backend)
    for i, picture in enumerate(moving_face(astronaut, 40)):
        tracker.feed(i, i / 25, ArrayPixels(picture))
    tracks = tracker.finish()
    assert len(tracks) == 1 and len(tracks[0]) == 40 and tracker.shot_starts == [0]
    assert (tracks[0].activation > 0.95).all() and np.abs(tracks[0].pose).max() < 25
    drawn = annotate(np.zeros((320, 320, 3), np.uint8), tracks, 5)
    assert drawn.any() and not annotate(np.zeros((320, 320, 3), np.uint8), tracks, 99).any()


def test_a_person_who_comes_back_is_the_same_track_and_the_effect_fades(backend, astronaut: np.ndarray) -> None:
    tracker = Tracker(backend)
    for i, picture in enumerate(moving_face(astronaut, 60)):
        if 25 <= i < 35:
            picture = picture.copy()
            picture[60:260, 80:260] = 90                              # a board before the face
        tracker.feed(i, i / 25, ArrayPixels(picture))
    tracks = tracker.finish()
    assert len(tracks) == 1
    track = tracks[0]
    assert not set(range(27, 34)) & set(track.frames.tolist())
    at = dict(zip(track.frames.tolist(), track.activation.tolist()))
    assert at[10] > 0.95 and at[55] > 0.95 and max(at.get(i, 0) for i in (24, 25, 26)) < 0.4
    assert np.abs(np.diff([at.get(i, 0.0) for i in range(60)])).max() < 0.6


def test_a_cut_begins_a_shot(backend, astronaut: np.ndarray) -> None:
    tracker = Tracker(backend)
    near, far = moving_face(astronaut, 15), [cv2.resize(astronaut, (320, 320), interpolation=cv2.INTER_AREA)[:, ::-1]] * 15
    for i, picture in enumerate(near + far):
        tracker.feed(i, i / 25, ArrayPixels(np.ascontiguousarray(picture)))
    tracks = tracker.finish()
    assert tracker.shot_starts == [0, 15] and len(tracks) == 2
    assert sorted(len(t) for t in tracks) == [15, 15]
    assert all((t.activation > 0.9).all() for t in tracks if t.boxes[0, 3] - t.boxes[0, 1] > 40)


def test_two_people_are_two_tracks(backend, astronaut: np.ndarray) -> None:
    tracker = Tracker(backend)
    for i, picture in enumerate(moving_face(astronaut, 20, 240)):
        tracker.feed(i, i / 25, ArrayPixels(np.hstack([picture, picture[:, ::-1]])))
    tracks = tracker.finish()
    assert len(tracks) == 2 and all(len(t) == 20 for t in tracks)
    assert abs(tracks[0].boxes[:, 0].mean() - tracks[1].boxes[:, 0].mean()) > 120
