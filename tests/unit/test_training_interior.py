"""The recipe of the built-in inner mouth, on tracks made here from the one face that a dependency ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.faces import create_backend
from lipsync_core.generators.morph.interior_model import InteriorNet
from lipsync_core.generators.morph.interior_net import SIZE
from lipsync_core.inference import load_network
from lipsync_core.training.interior.data import MIRROR_LIPS, choose, is_taught, load_samples, person_of, prepare
from lipsync_core.training.interior.evaluate import evaluate, table
from lipsync_core.training.interior.export import mixed_code


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> tuple[Path, Path]:
    """A folder of stills (two that may be taught, one for tests only) and their tracks, in the form that the labels have."""
    folder = tmp_path_factory.mktemp("interior")
    media, tracks = folder / "media", folder / "tracks"
    (media / "stills").mkdir(parents=True)
    tracks.mkdir()
    backend, picture = create_backend(), ArrayPixels(astronaut)
    first, _ = backend.landmarks([picture], [backend.detect([picture])[0][0].box])
    points = backend.landmarks([picture], list(first))[0]
    for name in ("a__one", "b__two", "deepface__three"):
        cv2.imwrite(str(media / "stills" / f"{name}.jpg"), astronaut[:, :, ::-1])
        np.savez(tracks / f"stills__{name}.npz", times=np.zeros(1), landmarks=points.astype(np.float32))
    return media, tracks


@pytest.fixture(scope="module")
def data(media: tuple[Path, Path]) -> Path:
    file = media[0].parent / "data.npz"
    assert prepare(*media, file) == 3
    return file


def test_who_may_be_taught() -> None:
    assert is_taught("expressions__liveportrait_d13") and is_taught("grid_s1__bbaf3s")
    for name in ("talking__testonly_wda_X", "stills__deepface__img1", "stills__face_recognition__obama", "talking__grid_pwij3p",
                 "stills__cognitive-services-sample-data-files__Family2-Man1", "stills__face-detection__trump"):
        assert not is_taught(name), name
    assert person_of("stills__LivePortrait__d9") == person_of("expressions__liveportrait_d9") == "liveportrait_d9"
    assert person_of("grid_s1__bbaf3s") == person_of("grid_s1__bgaa7s")


def test_chosen_mouths_are_far_from_each_other() -> None:
    rows = np.repeat([[0.0, 0], [5, 0], [0, 5], [9, 9]], 50, 0) + np.random.default_rng(1).normal(0, 0.05, (200, 2))
    assert sorted(i // 50 for i in choose(rows, 4)) == [0, 1, 2, 3]
    assert len(choose(rows, 100)) < 20 and choose(rows[:0], 3) == []


def test_samples_are_what_was_cut(data: Path) -> None:
    samples = load_samples(data, taught=True)
    assert len(samples.people) == 4 and len(samples.who) == 4                       # two people, and the two in the mirror
    planes, numbers, pictures = samples.batch(np.arange(4))
    assert planes.shape[2:] == SIZE[::-1] == pictures.shape[2:] and np.isfinite(numbers).all()
    assert 0.05 < (planes[:, 2] > 0.5).mean() < 0.5
    assert np.allclose(planes[2, 2], planes[0, 2, :, ::-1], atol=0.02)              # the mirrored lips fit the mirrored picture
    assert np.allclose(pictures[2], pictures[0][:, :, ::-1], atol=1e-3)
    assert sorted(MIRROR_LIPS) == list(range(20)) and np.array_equal(MIRROR_LIPS[MIRROR_LIPS], np.arange(20))
    # She shows her teeth: what is between the lips is nearly as bright as her skin.
    assert pictures[0].mean(0)[planes[0, 2] > 0.5].mean() > 0.85
    other = samples.batch(np.arange(4), np.random.default_rng(0))
    assert not np.allclose(other[2], pictures) and np.allclose(other[0], planes)


def test_evaluation_looks_at_held_out_people(data: Path) -> None:
    rows = evaluate(data)
    assert [r["person"] for r in rows] == ["deepface__three"] and 0 < rows[0]["drawn_l1"] < 2
    assert "mean of 1 people" in table(rows)


def test_codes_mix() -> None:
    codes = torch.eye(3)
    assert torch.allclose(mixed_code(codes, ["a", "b", "c~"], "0.25*a+0.75*c~"), torch.tensor([0.25, 0, 0.75]))
    with pytest.raises(ValueError, match="nobody"):
        mixed_code(codes, ["a", "b", "c"], "d")


@pytest.mark.slow
def test_the_recipe_runs_with_one_command(media: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    output = tmp_path / "mouth.safetensors"
    run = subprocess.run([sys.executable, "-m", "lipsync_core.training.interior", "train", str(data), "--course",
                          str(tmp_path / "course.pt"), "--output", str(output), "--quick"], capture_output=True, text=True,
                         cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stderr
    network = load_network(InteriorNet(), output)
    assert float(network.code.abs().max()) > 0 and output.stat().st_size < 1_000_000
    assert not list(tmp_path.glob("*.partial"))
