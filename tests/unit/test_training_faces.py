"""The recipe of the built-in face models, on labels made here from the one face that a dependency ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.evaluation.mediapipe_teacher import MIRROR as LABEL_MIRROR
from lipsync_core.faces import create_backend
from lipsync_core.faces.networks import DetectorNet, LandmarkNet, folded
from lipsync_core.faces.pose import _TEMPLATE
from lipsync_core.inference import load_network
from lipsync_core.training.faces.augment import MIRROR, mirror
from lipsync_core.training.faces.data import face_batches, is_held_out, load_backgrounds, load_samples, scene_batches
from lipsync_core.training.faces.label import face_crop


def jpegs(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    data = [cv2.imencode(".jpg", p[:, :, ::-1])[1] for p in pictures]
    return {"jpegs": np.concatenate(data), "offsets": np.cumsum([0] + [len(d) for d in data])}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Two labelled clips for teaching and one held out, in the form that `label.py` writes."""
    folder = tmp_path_factory.mktemp("labels")
    backend, picture = create_backend(), ArrayPixels(astronaut)
    first, _ = backend.landmarks([picture], [backend.detect([picture])[0][0].box])
    points = backend.landmarks([picture], list(first))[0][0]
    crop, inside = face_crop(astronaut, points)
    box = np.concatenate([points.min(0), points.max(0)])
    for name in ("talking__one", "stills__two", "talking__testonly_three"):
        np.savez(folder / f"{name}.npz", frames=np.arange(4), landmarks=np.stack([points] * 4), faceless=np.zeros(0, int),
                 crop_landmarks=np.stack([inside] * 4).astype(np.float32), examined=4, **jpegs([crop] * 4))
        np.savez(folder / f"{name}.thumbs.npz", boxes=box[None].astype(np.float32), owner=np.zeros(1, int), frames=np.arange(2),
                 **jpegs([astronaut, astronaut[300:, 250:]]))
    return folder


def test_a_mirrored_face_is_a_face() -> None:
    """Left and right change places, and twice mirrored is as before."""
    face = _TEMPLATE[:, :2] * 50 + 100
    turned = mirror(face, 201)
    assert np.allclose(mirror(turned, 201), face) and np.allclose(turned, face, atol=1e-6)     # the template is symmetric
    assert turned[36, 0] < turned[45, 0] and turned[48, 0] < turned[54, 0]
    assert sorted(MIRROR) == list(range(68)) and list(MIRROR) == LABEL_MIRROR


def test_people_of_the_test_are_never_taught(labels: Path) -> None:
    assert load_samples(labels, held_out=False).names == ["stills__two", "talking__one"]
    assert load_samples(labels, held_out=True).names == ["talking__testonly_three"]
    assert is_held_out("talking__testonly_x") and not is_held_out("talking__edtalk_pose2")


def test_label_crops_hold_the_face_in_their_middle(astronaut: np.ndarray) -> None:
    face = _TEMPLATE[:, :2] * 400 + 1000
    crop, inside = face_crop(cv2.resize(astronaut, (2048, 2048)), face)
    assert crop.shape == (256, 256, 3)
    assert abs(float(np.ptp(inside, axis=0).max()) - 128) < 2 and np.abs((inside.min(0) + inside.max(0)) / 2 - 127.5).max() < 2


def test_batches_hold_what_they_say(labels: Path) -> None:
    samples, backgrounds = load_samples(labels, held_out=False), load_backgrounds(labels, held_out=False)
    assert backgrounds
    images, points, is_face = next(face_batches(samples, backgrounds, 64, seed=3))
    assert images.shape == (64, 128, 128, 3) and images.dtype == np.uint8
    assert 0.6 < is_face.mean() < 1 and (points[is_face == 0] == 0).all()
    faces = points[is_face == 1]
    assert (np.abs(faces.mean(1) - 0.5) < 0.35).all() and (faces[:, 36, 0] < faces[:, 45, 0]).mean() > 0.95
    again = next(face_batches(samples, backgrounds, 64, seed=3))
    assert np.array_equal(images, again[0])
    scenes, boxes = next(scene_batches(labels, 16, seed=4))
    assert scenes.shape == (16, 320, 320, 3) and sum(len(b) for b in boxes) >= 6
    for found in boxes:
        assert (found >= -1e-3).all() and (found <= 320).all() and (found[:, 2:] > found[:, :2]).all()


@pytest.mark.slow
def test_the_recipe_runs_with_one_command(labels: Path, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-m", "lipsync_core.training.faces", "train", str(labels), "--work", str(tmp_path / "work"),
                          "--output", str(tmp_path / "weights"), "--quick"], capture_output=True, text=True,
                         cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stderr
    load_network(folded(LandmarkNet()), tmp_path / "weights" / "face_landmarks.safetensors")
    load_network(folded(DetectorNet()), tmp_path / "weights" / "face_detector.safetensors")
    assert not list((tmp_path / "weights").glob("*.partial"))
