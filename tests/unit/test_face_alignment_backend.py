"""The adapter on the real `face-alignment` package, with networks of its own architecture and random weights."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.errors import FaceError
from lipsync_core.faces import create_backend
from lipsync_core.faces.face_alignment_backend import FILES


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub folder and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_without_network_the_error_says_what_to_put_where(hub: Path) -> None:
    with pytest.raises(FaceError) as error:
        create_backend("face-alignment")
    assert all(name in str(error.value) for name in (*FILES, str(hub), "built-in")) and "\n" not in str(error.value)


def test_damaged_weights_are_one_sentence(hub: Path) -> None:
    for name in FILES:
        torch.save({"conv1.weight": torch.zeros(1)}, hub / name)
    with pytest.raises(FaceError, match="delete"):
        create_backend("face-alignment")


@pytest.mark.slow
def test_the_real_networks_run_behind_our_interface(hub: Path, astronaut: np.ndarray) -> None:
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), hub / FILES[0])
    torch.save(FAN(4).state_dict(), hub / FILES[1])
    backend = create_backend("face-alignment")
    picture = ArrayPixels(astronaut)
    assert isinstance(backend.detect([picture])[0], list)
    points, confidence = backend.landmarks([picture], [np.array([178, 86, 270, 177], np.float32)])
    assert points.shape == (1, 68, 2) and points.dtype == np.float32 and 0 <= confidence[0] <= 1
    # Whatever random weights say, it lies in the crop around the face.
    assert (np.abs(points[0] - [224, 131]) < 140).all()
