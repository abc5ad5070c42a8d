"""Pairs of frames that teach a renderer: what they show, that they pack, and that a network learns from them and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_core import Encoding, dub
from lipsync_core.errors import LipSyncError
from lipsync_core.faces.builtin import BuiltinBackend
from lipsync_core.media import VideoSource
from lipsync_core.training.renderer import pairs
from lipsync_core.training.renderer.__main__ import main
from lipsync_core.training.renderer.evaluate import evaluate
from lipsync_core.training.renderer.fit import Settings, fit, load
from lipsync_core.training.renderer.network import MAPS, Renderer, lip_maps
from lipsync_core.training.renderer.pack import unpack
from lipsync_core.training.renderer.pairs import SIDE, looks_of, pairs_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, face_clip: Path, babble_file: Path) -> Path:
    """One person who talks (a dub of ours), as a person to teach and as one held out."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "talking").mkdir()
    dub(face_clip, babble_file, folder / "talking" / "astronaut.mp4", encoding=Encoding(crf=12, preset="ultrafast"))
    (folder / "talking" / "testonly_astronaut.mp4").write_bytes((folder / "talking" / "astronaut.mp4").read_bytes())
    return folder


@pytest.fixture(scope="module")
def packed(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "APART", 0.08)
        patch.setattr("lipsync_core.training.renderer.pack.PAIRS", 12)
        assert main(["pack", str(media), "-o", str(folder)]) == 0
    return folder


def test_a_pair_is_one_mouth_in_one_place(media: Path, backend: BuiltinBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warp goes half of the way to the truth at least, and around the mouth both show the same."""
    monkeypatch.setattr(pairs, "APART", 0.08)
    track, mouth, looks = looks_of(VideoSource(media / "talking" / "astronaut.mp4"), backend, 24)
    found = list(pairs_of(track, mouth, looks, 6, np.random.default_rng(0)))
    assert len(found) == 6
    for pair in found:
        assert pair.warped.shape == pair.truth.shape == (SIDE, SIDE, 3) and pair.warped.dtype == np.uint8 and len(pair.references) == 2
        assert np.abs(pair.warped[:20].astype(int) - pair.truth[:20]).mean() < 12                 # the nose
        assert 20 < pair.lips.real.min() < 60 < 70 < pair.lips.real.max() < 110 and 30 < pair.lips.imag.mean() < 80


def test_maps_tell_where_lips_are() -> None:
    def rim(count: int, width: float, height: float) -> np.ndarray:
        angle = np.linspace(np.pi, -np.pi, count, endpoint=False)
        return 64 + 64j + width * np.cos(angle) - 1j * height * np.sin(angle)

    maps = lip_maps(np.concatenate([rim(12, 30, 14), rim(8, 20, 6)])[None])[0]
    assert maps.shape == (MAPS, SIDE, SIDE) and maps.min() >= -1 and maps.max() <= 1
    assert maps[0, 64, 64] == 1 and maps[0, 74, 64] == 0 and maps[1, 74, 64] == 1 and maps[1, 90, 64] == 0 and maps[0, 64, 100] == 0
    assert maps[2, 64, 64] > 0 < maps[3, 64, 64]


def test_a_network_that_learned_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    network, x = Renderer(), torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    maps = torch.rand(2, MAPS, SIDE, SIDE)
    made = network(x, maps, torch.rand(2, 2, 3, SIDE, SIDE), torch.rand(2, 2, MAPS, SIDE, SIDE))
    assert made.shape == x.shape and torch.equal(made, x)


def test_it_learns_and_goes_on(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    taught, held = unpack(packed, "taught"), unpack(packed, "held_out")
    assert len(taught.lips) == len(held.lips) == 12 and taught.names == ["astronaut"] and held.names == ["testonly_astronaut"]
    fit(packed, tmp_path, Settings(batch=2, minutes=0.03))
    first = torch.load(tmp_path / "state.pt", weights_only=True)["steps"]
    fit(packed, tmp_path, Settings(batch=2, minutes=0.02))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["steps"] > first > 0
    found = evaluate(packed, load(tmp_path / "renderer.safetensors"), tmp_path / "sheet.png")
    assert set(found) == {"warp", "network"} and all(np.isfinite(list(values.values())).all() for values in found.values())
    assert main(["evaluate", str(packed), str(tmp_path / "renderer.safetensors")]) == 0
    assert "network" in capsys.readouterr().out and (tmp_path / "sheet.png").stat().st_size > 1000
    with pytest.raises(LipSyncError, match="no taught pairs"):
        unpack(tmp_path, "taught")


def test_a_visit_to_a_gpu_is_rehearsed(packed: Path, tmp_path: Path) -> None:
    """All parts but the large networks, whose own benchmark has its test; each writes what it found."""
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), "visit", str(packed), "-o", str(tmp_path), "--minutes", "0.06",
               "--without", "networks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "visit.json").read_text())
    assert found["renderer"] and found["renderer"][0]["ms"] > 0 and found["dub"]["frames"] >= 25 and found["dub"]["fps"] > 0
    assert set(found["training"]) == {"warp", "network"} and (tmp_path / "sheet.png").exists()
    assert (tmp_path / "run" / "state.pt").exists() and not list(tmp_path.glob("*.mp4"))
