"""LipSyncNet's recipe: what pairs show, that they pack, that a network learns from them, and that a run loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import moving_face, write_clip

pytest.importorskip("accelerate", reason="requirements-train.txt")
pytest.importorskip("efficientnet_lite_pytorch", reason="requirements-train.txt")

from lipsync_core import Encoding, dub  # noqa: E402
from lipsync_core.errors import CheckpointError, LipSyncError  # noqa: E402
from lipsync_core.faces.builtin import BuiltinBackend  # noqa: E402
from lipsync_core.generators import create_generator  # noqa: E402
from lipsync_core.generators.lipsyncnet import build, drawn, preset  # noqa: E402
from lipsync_core.generators.lipsyncnet.canvas import MAPS, SIDE  # noqa: E402
from lipsync_core.media import VideoSource  # noqa: E402
from lipsync_core.training.lipsyncnet import state  # noqa: E402
from lipsync_core.training.lipsyncnet.__main__ import main  # noqa: E402
from lipsync_core.training.lipsyncnet.discriminator import Judge, fooled_loss, judge_loss  # noqa: E402
from lipsync_core.training.lipsyncnet.evaluate import evaluate, measures, similarity  # noqa: E402
from lipsync_core.training.lipsyncnet.loop import Trainer  # noqa: E402
from lipsync_core.training.lipsyncnet.losses import again, contrast_loss, energy_loss, loss_of, moved, spread, steady_loss, weights_of  # noqa: E402
from lipsync_core.training.lipsyncnet.pack import unpack  # noqa: E402
from lipsync_core.training.lipsyncnet.pairs import looks_of, open_mouths, pairs_of  # noqa: E402
from lipsync_core.training.lipsyncnet.perception import Perception, alike_loss  # noqa: E402
from lipsync_core.training.lipsyncnet.reader import Batch, Reader  # noqa: E402
from lipsync_core.training.lipsyncnet.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SMALL = Settings(size=32, batch=4, steps=6, minutes=5.0, judge_after=0.2, warmup=1)


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
        patch.setattr("lipsync_core.training.lipsyncnet.pack.APART", 0.08)
        patch.setattr("lipsync_core.training.lipsyncnet.pack.PAIRS", 12)
        assert main(["pack", str(media), "-o", str(folder), "--pairs", "12"]) == 0
    return folder


def test_a_pair_is_one_mouth_in_one_place(media: Path, backend: BuiltinBackend) -> None:
    """Around the mouth warp and truth show the same, and lips are where the maps will say."""
    track, mouth, looks = looks_of(VideoSource(media / "talking" / "astronaut.mp4"), backend, 24, 0.08)
    found = list(pairs_of(track, mouth, looks, open_mouths(looks), 6, np.random.default_rng(0)))
    assert len(found) == 6
    for pair in found:
        assert pair.warped.shape == pair.truth.shape == (SIDE, SIDE, 3) and pair.warped.dtype == np.uint8 and len(pair.references) == 2
        assert np.abs(pair.warped[:12].astype(int) - pair.truth[:12]).mean() < 12                 # the nose
        assert 10 < pair.lips.real.min() < 60 < 70 < pair.lips.real.max() < 118 and 30 < pair.lips.imag.mean() < 80


def test_there_and_back_nothing_differs_but_what_a_warp_does(media: Path, backend: BuiltinBackend) -> None:
    track, mouth, looks = looks_of(VideoSource(media / "talking" / "astronaut.mp4"), backend, 24, 0.08)
    found = list(pairs_of(track, mouth, looks, open_mouths(looks), 6, np.random.default_rng(0), back=3))
    for pair in found:
        away = np.abs(pair.warped.astype(int) - pair.truth).mean(-1)
        top, bottom = (int(v) for v in (pair.lips.imag.min() - 2, pair.lips.imag.max() + 3))
        assert away[:12].mean() < 2 < away[top:bottom, 40:90].mean() < 40                           # the nose; the lips


def test_a_face_that_the_picture_cuts_off_teaches_nothing(backend: BuiltinBackend, tmp_path: Path, astronaut: np.ndarray) -> None:
    frames = [frame[:150] for frame in moving_face(astronaut, 20, 240)]                            # to just below the mouth
    write_clip(tmp_path / "cut.mp4", frames)
    assert looks_of(VideoSource(tmp_path / "cut.mp4"), backend, 24, 0.08) is None


def test_packed_pairs_come_back(packed: Path, tmp_path: Path) -> None:
    taught, held = unpack(packed, "taught"), unpack(packed, "held_out")
    assert len(taught.lips) == len(held.lips) == 12 and taught.names == ["astronaut"] and held.names == ["testonly_astronaut"]
    assert taught.warped.shape == taught.truth.shape == (12, SIDE, SIDE, 3) and taught.references.max() < len(taught.opened)
    with pytest.raises(LipSyncError, match="no taught pairs"):
        unpack(tmp_path, "taught")


def test_processes_share_a_batch(packed: Path) -> None:
    reader = Reader(unpack(packed, "taught"), torch.device("cpu"), 64, 3)
    whole, *parts = (reader.drawn_lot(4, np.random.default_rng(5), part) for part in (slice(None), slice(0, 2), slice(2, 4)))
    for field in dataclasses.fields(Batch):
        assert torch.equal(getattr(whole, field.name), torch.cat([getattr(part, field.name) for part in parts]))
    assert whole.warped.shape == (4, 3, 64, 64) and whole.references.shape == (4, 3, 3, 64, 64) and whole.maps.shape == (4, MAPS, 64, 64)


def test_detail_counts_wherever_it_lies() -> None:
    """A grain moved by a pixel is as good as the truth's to one loss, a smooth picture is not."""
    grain = torch.zeros(1, 3, 32, 32)
    grain[..., ::4] = 0.5
    nothing = torch.zeros_like(grain)
    maps = torch.ones(1, MAPS, 32, 32)
    batch = Batch(nothing, grain, maps, nothing[:, None], maps[:, None])
    moved, flat = grain.roll(1, -1), torch.full_like(grain, 0.125)
    assert energy_loss(moved, batch) < 0.2 * energy_loss(flat, batch) and loss_of(flat, batch) < loss_of(moved, batch)


def test_what_a_fog_looks_like(astronaut: np.ndarray) -> None:
    """To a network that has seen pictures a mouth moved by a pixel is nearer to the mouth than a blurred one that costs fewer levels."""
    truth = torch.from_numpy(cv2.resize(astronaut[110:190, 180:260], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.float32))
    truth = truth.permute(2, 0, 1)[None] / 127.5 - 1
    near, fog = truth.roll(1, -1), torch.nn.functional.avg_pool2d(truth, 9, 1, 4)
    perception, whole = Perception(), torch.ones(1, 1, SIDE, SIDE)
    with torch.inference_mode():
        seen, *others = (perception(x) for x in (truth, near, fog, truth))
        found = [float(alike_loss(other, seen, whole)) for other in others]
    assert [part.shape[2] for part in seen] == [72, 36, 18, 9] and all(0.3 < float(part.std()) < 3 for part in seen)
    assert found[2] == 0 < 2 * found[0] < found[1], found


def test_what_moves_with_its_picture_is_steady() -> None:
    made, maps = torch.rand(2, 3, 32, 32), torch.ones(2, MAPS, 32, 32)
    batch = Batch(made, made, maps, made[:, None], maps[:, None])
    for shift in ((0, 0), (2, -3), (-1, 3)):
        second = again(batch, 1, shift, torch.zeros(1, 3, 32, 32))
        inner = np.s_[..., 3:-3, 3:-3]
        assert torch.allclose(second.warped[inner], torch.roll(made[:1], shift, (2, 3))[inner], atol=1e-4)
        assert second.references.shape == (1, 1, 3, 32, 32)
        assert steady_loss(made, second.warped, shift, maps) < 1e-5 < steady_loss(made, second.warped.roll(1, -1), shift, maps)
    smooth = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    assert torch.allclose(moved(smooth, (0.3, 0.5))[inner], (smooth - 0.5 / 31)[inner], atol=1e-4)


def test_grey_teeth_before_a_grey_hole_cost() -> None:
    """However right their mean is; what lies outside the mouth does not count, nor does a mouth that is a slit."""
    truth = torch.zeros(2, 3, 32, 32)
    truth[:, :, 10:14], truth[:, :, 14:20] = 0.6, -0.8
    maps = torch.zeros(2, MAPS, 32, 32)
    maps[0, 0, 10:20, 8:24] = 1
    maps[1, 0, 10:11, 8:24] = 1
    batch = Batch(truth, truth, maps, truth[:, None], maps[:, None])
    around = truth + 0.5 * (1 - maps[:1, :1])
    assert contrast_loss(truth, batch) == 0 == contrast_loss(around, batch)
    assert float(contrast_loss(0.5 * truth, batch)) == pytest.approx(0.25 * float(spread(truth, maps[:, :1])[0]), rel=0.01)


def test_measures() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    maps = np.zeros((3, MAPS, 64, 64), np.float32)
    maps[:, 0, 24:40, 16:48], maps[:, 1, 16:48, 8:56] = 1, 1
    same, soft = measures(truth, truth, maps), measures(np.full_like(truth, 127), truth, maps)
    fog = measures(127 + 0.5 * (truth - 127), truth, maps)
    assert same["contrast"] == pytest.approx(1) and fog["contrast"] == pytest.approx(0.5, abs=0.01) and soft["contrast"] == 0
    assert same["inside"] == 0 and same["ssim_lips"] == pytest.approx(1, abs=1e-4) and same["sharp_inside"] == pytest.approx(1)
    assert soft["inside"] > 50 and soft["sharp_inside"] < 0.01 and soft["ssim_lips"] < 0.1
    assert similarity(truth[0], truth[0]).shape == (64, 64)


def test_it_learns_and_is_measured(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.set_num_threads(1)
    trainer = Trainer(dataclasses.replace(SMALL, size=64, steps=30, rate=2e-3, average=0.8, judge_after=0.9), packed, tmp_path, cpu=True)
    for reader in (trainer.taught, trainer.watched):                  # a dub of ours leaves nothing to learn: here truth is darker
        reader._pictures[:, 1] = reader._pictures[:, 0] // 2
    errors = ("held_inside", "held_lips", "held_looks")
    began = trainer.watch()
    assert [began[name] for name in errors] == [1.0, 1.0, 1.0] and began["held_contrast"] == pytest.approx(2, abs=0.05)
    trainer.fit()
    ended = trainer.watch()
    assert all(ended[name] < 0.9 for name in errors[:2]) and ended["held_contrast"] < began["held_contrast"]
    network = create_generator(tmp_path / "lipsyncnet.safetensors").network
    found = evaluate(packed, network, tmp_path / "sheet.png")
    assert set(found) == {"warp", "network"} and np.isfinite(found["network"]["lips"]) and found["network"]["wobble"] >= 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000 and list(tmp_path.glob("seen-*.jpg")) and (tmp_path / "best.safetensors").exists()
    assert main(["evaluate", str(packed), str(tmp_path / "lipsyncnet.safetensors"), "--soft", "0"]) == 0
    assert "sharp_inside" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "best.safetensors"), "-o", str(tmp_path / "mine.safetensors"), "--card", "licence=CC0-1.0",
                 "--contrast", "1.1"]) == 0
    assert create_generator(tmp_path / "mine.safetensors").network.config == preset("tiny", size=64, contrast=1.1)
    assert main(["export", str(tmp_path / "best.safetensors"), "-o", "x", "--card", "lisence=CC0-1.0"]) == 1
    assert "'lisence' is nothing that a card tells" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(packed: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    Trainer(SMALL, packed, tmp_path / "whole", cpu=True).fit()
    part = Trainer(SMALL, packed, tmp_path / "cut", cpu=True)
    one = part._one
    part._one = lambda batch, share: one(batch, share) if part.step < 3 else pytest.fail("goes on")
    for _ in range(3):
        part._one(part.taught.drawn_lot(4, np.random.default_rng([0, part.step])), part.step / 6)
    part.save()
    Trainer(SMALL, packed, tmp_path / "cut", cpu=True).fit()
    whole, cut = (state.load(state.latest(tmp_path / name)) for name in ("whole", "cut"))
    assert whole["step"] == cut["step"] == 6
    for name in ("model", "judge", "average"):
        assert all(torch.allclose(cut[name][key].float(), value.float(), rtol=1e-4, atol=1e-6) for key, value in whole[name].items())


def test_it_stops_when_strangers_gain_no_more(packed: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = dataclasses.replace(SMALL, steps=500, rate=1e-9, tell_every=1e-6, watch_every=1, patience=2)
    trainer = Trainer(settings, packed, tmp_path, cpu=True)
    trainer.fit()
    assert trainer.step < 50


@pytest.mark.slow
def test_two_processes_see_what_one_would(packed: Path, tmp_path: Path) -> None:
    common = ["fit", str(packed), "--cpu", "--steps", "2", "--size", "32", "--batch", "4", "--judge-after", "0.4", "--warmup", "1",
              "--tell-every", "0.000001", "--precision", "fp32"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    subprocess.run([*launch, "-m", "lipsync_core.training.lipsyncnet", *common, "-o", str(tmp_path / "two")], check=True, cwd=tmp_path,
                   env=environment, timeout=240)
    torch.set_num_threads(1)
    assert main([*common, "-o", str(tmp_path / "one")]) == 0
    one, two = ([json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()][:2] for name in ("one", "two"))
    assert len(one) == len(two) == 2
    for a, b in zip(one, two):
        assert all(b[key] == pytest.approx(a[key], rel=5e-3, abs=2e-4) for key in ("pixels", "energy", "alike")), (a, b)


def test_checkpoints_come_back_whole_or_in_pieces(tmp_path: Path) -> None:
    tree = {"step": 3, "model": {"a.weight": torch.randn(300, 40), "b": torch.tensor(2.0)}, "empty": {},
            "by": {"param_groups": [{"lr": 0.1, "params": ["a.weight"]}]}}
    for number, limit in enumerate((0.0, 0.01)):
        folder = tmp_path / f"step-{number}"
        state.save(folder, tree, piece_mb=limit)
        again = state.load(folder)
        assert again["step"] == 3 and again["empty"] == {} and again["by"] == tree["by"]
        assert all(torch.equal(again["model"][key], value) for key, value in tree["model"].items())
        if limit:
            assert max(file.stat().st_size for file in folder.glob("*.safetensors")) < 16_000
    assert state.latest(tmp_path).name == "step-1"
    (tmp_path / "step-1" / state.MARK).unlink()                       # killed while it was written
    assert state.latest(tmp_path).name == "step-0"
    with pytest.raises(CheckpointError, match="no checkpoint"):
        state.load(tmp_path / "step-1")


def test_settings_that_make_no_training() -> None:
    for wrong, said in (({"minutes": 0}, "above 0"), ({"batch": 0}, "above 0"), ({"precision": "fp8"}, "no precision")):
        with pytest.raises(LipSyncError, match=said):
            Settings(**wrong)
    with pytest.raises(CheckpointError, match="tiny, small, base, large"):
        Settings(preset="huge").config()


def test_the_large_one_takes_a_step() -> None:
    """A training step of 2.5 x 10^8 parameters, discriminator and all, on the meta device: every shape fits and every parameter is taught.
    The same code at 32 px computes in the tests above."""
    config = preset("large")
    with torch.device("meta"):
        network, judge, perception = build(config), Judge(), Perception(taught=False)
        pictures, maps = torch.empty(1, 3, 256, 256), torch.empty(1, MAPS, 256, 256)
        references, reference_maps = (torch.empty(1, config.references, planes, 256, 256) for planes in (3, MAPS))
        batch = Batch(pictures, pictures, maps, references, reference_maps)
        made = drawn(network, batch.warped, batch.maps, batch.references, batch.reference_maps)
        seen, wanted = perception(made), perception(batch.truth)
        alike, steady = alike_loss(seen, wanted, weights_of(maps)), steady_loss(made, made, (0, 0), maps)
        (loss_of(made, batch) + energy_loss(made, batch) + alike + steady + fooled_loss(judge(seen, maps), weights_of(maps))).backward()
        judge_loss(judge(wanted, maps), judge([part.detach() for part in seen], maps), weights_of(maps)).backward()
        assert made.shape == pictures.shape and all(p.grad is not None and p.grad.shape == p.shape for p in network.parameters())
        torch.optim.AdamW(network.parameters()).step()


def test_a_visit_to_a_gpu_is_rehearsed(packed: Path, tmp_path: Path) -> None:
    """All parts but the large networks, whose own benchmark has its test; each writes what it found."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "visit", str(packed), "-o", str(tmp_path), "--minutes", "0.06",
               "--without", "networks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "visit.json").read_text())
    assert found["dub"]["frames"] >= 25 and found["dub"]["fps"] > 0
    assert set(found["training"]) == {"warp", "network"} and (tmp_path / "sheet.png").exists()
    assert (tmp_path / "run" / "lipsyncnet.safetensors").exists() and not list(tmp_path.glob("*.mp4"))
