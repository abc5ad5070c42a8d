"""The training of LipSyncNet: batches that can be split, runs that can be stopped, losses that fall, a file that dubs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import moving_face

for package in ("accelerate", "webdataset", "tensorboard"):
    pytest.importorskip(package, reason=f"training needs {package}, which `make test` installs: pip install -r requirements-train.txt")

from lipsync_core.errors import CheckpointError, LipSyncError, MediaError  # noqa: E402
from lipsync_core.generators import create_generator  # noqa: E402
from lipsync_core.generators.lipsyncnet import build, preset  # noqa: E402
from lipsync_core.models.brief import describe  # noqa: E402
from lipsync_core.training.lipsyncnet import state  # noqa: E402
from lipsync_core.training.lipsyncnet.__main__ import main  # noqa: E402
from lipsync_core.training.lipsyncnet.discriminators import Discriminators  # noqa: E402
from lipsync_core.training.lipsyncnet.expert_fit import judge, train_expert  # noqa: E402
from lipsync_core.training.lipsyncnet.export import export  # noqa: E402
from lipsync_core.training.lipsyncnet.loop import Trainer  # noqa: E402
from lipsync_core.training.lipsyncnet.losses import Perceptual  # noqa: E402
from lipsync_core.training.lipsyncnet.model import Criterion, WindowNet, adversarial_part, made_by, save_memory  # noqa: E402
from lipsync_core.training.lipsyncnet.settings import Settings, read  # noqa: E402
from lipsync_core.training.lipsyncnet.sync_expert import SyncExpert, load_expert, save_expert  # noqa: E402
from lipsync_core.training.lipsyncnet.windows import Batch, SegmentStore, WindowOptions, Windows  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SIDE, FRAMES = 96, 40
SMALL = replace(read("tiny", []), size=32, batch=4, steps=100, warmup=1, sync_from=1000, adversarial_from=1000, log_every=1,
                checkpoint_every=1000, evaluate_every=1000, image_every=1000, others=2, discriminator_width=8)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def video(pictures: list[np.ndarray]) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=25, options={"crf": "14"})
        track.width, track.height, track.pix_fmt = SIDE, SIDE, "yuv420p"
        for picture in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(track.encode(None))
    return stream.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, backend, babble: np.ndarray) -> Path:
    """Two segments to learn from and one to test on: the portrait, whose mouth is a grey bar as high as the sound is loud."""
    from lipsync_core.faces.align import steady_matrix, transform
    from lipsync_core.pixels import ArrayPixels

    folder = tmp_path_factory.mktemp("shards")
    for split, count in (("train", 2), ("test", 1)):
        with tarfile.open(folder / f"{split}-000000.tar", "w") as tar:
            for number in range(count):
                sound = np.roll(babble, 5000 * number)
                pictures, marks = [], []
                for i, picture in enumerate(moving_face(astronaut, FRAMES, 240)):
                    view = ArrayPixels(picture)
                    if not i % 10:
                        points, _ = backend.landmarks([view], [backend.detect([view])[0][0].box])
                    matrix = steady_matrix(points[0], SIDE)
                    crop = view.warp(matrix, (SIDE, SIDE)).copy()
                    at = 8000 + 640 * i
                    loud = min(1.0, 8 * float(np.abs(sound[at:at + 640]).mean()))
                    crop[62:64 + int(14 * loud), 36:60] = 60 + 40 * number
                    pictures.append(crop)
                    marks.append(transform(matrix, points[0]))
                key = f"{split}_{number}_0000"
                meta = {"clip": f"{split}_{number}", "person": f"{split}_{number}", "fps": 25.0, "audio_start": -0.5, "size": SIDE}
                add(tar, f"{key}.audio.npy", npy((32767 * np.clip(sound, -1, 1)).astype(np.int16)))
                add(tar, f"{key}.landmarks.npy", npy(np.array(marks, np.float32)))
                add(tar, f"{key}.meta.json", json.dumps(meta).encode())
                add(tar, f"{key}.times.npy", npy(np.arange(FRAMES) / 25))
                add(tar, f"{key}.video.mp4", video(pictures))
    return folder


def trainer(shards: Path, run: Path, expert: SyncExpert | None = None, **changes: object) -> Trainer:
    torch.set_num_threads(1)
    return Trainer(replace(SMALL, **changes), shards, run, cpu=True, expert=expert)


def test_settings_are_read_and_overridden() -> None:
    settings = read("tiny", ["batch=8", "weights.sync=0.5", "compile=true"])
    assert settings.preset == "tiny" and settings.batch == 8 and settings.weights.sync == 0.5 and settings.compile
    assert isinstance(read("base", []), Settings) and read("large", []).checkpointing
    for wrong, said in ((["bach=8"], "no setting"), (["batch=many"], "no int"), (["batch"], "key=value")):
        with pytest.raises(LipSyncError, match=said):
            read("tiny", wrong)
    with pytest.raises(LipSyncError, match="base, large, tiny"):
        read("huge", [])


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


def test_a_batch_can_be_shared_out(shards: Path) -> None:
    windows = Windows(SegmentStore(shards, "train"), WindowOptions(32, 2, 3), seed=4)
    whole, left, right = windows.batch(7, range(4)), windows.batch(7, [0, 1]), windows.batch(7, [2, 3])
    for name in ("faces", "references", "region", "mel", "steps", "window", "others"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(left, name), getattr(right, name)]))
    assert whole.faces.shape == (4, 5, 3, 32, 32) and whole.references.shape == (4, 2, 3, 32, 32)
    assert whole.others.shape == (4, 3, 80, 24) and 0 <= whole.faces.min() and whole.faces.max() <= 1
    assert not torch.equal(windows.batch(8, range(4)).faces, whole.faces)
    with pytest.raises(MediaError, match="prepare"):
        SegmentStore(shards, "nothing")


def test_a_frame_is_given_the_sound_of_its_moment(shards: Path) -> None:
    """The columns that the network reads for a frame are those of the frame's time."""
    store = SegmentStore(shards, "train")
    windows = Windows(store, WindowOptions(32, 1, 1, augment=False), seed=0)
    segment, mel = store.load(0)
    batch = windows._window(segment, mel, 20, np.random.default_rng(0))
    begin = 2 * round((segment.times[20] + 0.5 - 1.0) * 80 / 2)
    column = (batch.steps - 5) * 2 - 3 + begin                     # without the delay; a step's own place is 3 columns back
    assert torch.allclose(column / 80, torch.from_numpy(segment.times[20:25] + 0.5).float(), atol=1e-4)
    assert torch.equal(batch.mel, mel[:, begin:begin + batch.mel.shape[-1]])


def test_losses_fall_and_the_mouth_is_learned(shards: Path, tmp_path: Path) -> None:
    run = trainer(shards, tmp_path, rate=2e-3, ema=0.9)
    before = run.evaluate()
    history = run.fit(steps=22)
    after = run.evaluate()
    totals = [step["total"] for step in history]                      # of other windows each step, and rounding differs by processor
    assert np.mean(totals[-10:]) < 0.9 * np.mean(totals[:3])
    assert after["mouth_psnr"] > before["mouth_psnr"] + 1
    assert run.sheet(run.windows.batch(0, range(2))).shape == (3, 64, 128)
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(shards: Path, tmp_path: Path) -> None:
    """With discriminators and sync expert, so that all of the state is in it."""
    torch.manual_seed(0)
    expert = SyncExpert(8, 16).eval().requires_grad_(False)
    changes = {"sync_from": 1, "adversarial_from": 1, "r1_every": 2}
    whole = trainer(shards, tmp_path / "whole", expert, **changes).fit(steps=6)
    trainer(shards, tmp_path / "cut", expert, **changes).fit(steps=3)
    rest = trainer(shards, tmp_path / "cut", expert, **changes).fit(steps=3)
    for one, other in zip(whole[3:], rest):
        assert one.keys() == other.keys() >= {"l1", "sync", "adversarial", "critics"}
        assert all(other[name] == pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in one.items())


@pytest.mark.slow
def test_two_processes_see_what_one_would(shards: Path, tmp_path: Path) -> None:
    common = ["generator", str(shards), "--config", "tiny", "--cpu", "--more-steps", "2", "--set", "size=32", "batch=4", "log_every=1",
              "adversarial_from=1", "sync_from=1000", "discriminator_width=8", "warmup=1"]
    module = "lipsync_core.training.lipsyncnet"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    subprocess.run([*launch, "-m", module, *common, "-o", str(tmp_path / "two")], check=True, cwd=tmp_path, env=environment, timeout=240)
    torch.set_num_threads(1)
    assert main([*common, "-o", str(tmp_path / "one")]) == 0
    one, two = ([json.loads(line) for line in (tmp_path / name / "losses.jsonl").read_text().splitlines()] for name in ("one", "two"))
    assert len(one) == len(two) == 2
    for a, b in zip(one, two):
        assert all(b[key] == pytest.approx(value, rel=2e-3, abs=1e-5) for key, value in a.items()), (a, b)


def test_the_expert_learns_what_goes_together(shards: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    expert, losses = train_expert(shards, size=48, batch=12, steps=40, rate=2e-3)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    found = judge(expert, shards, size=48)
    assert found["segments"] == 1 and 0 <= found["two_way_accuracy"] <= 1 and len(found["curve"]) == 31
    save_expert(expert, tmp_path / "expert.safetensors")
    again = load_expert(tmp_path / "expert.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(expert.state_dict().values(), again.state_dict().values()))


def test_a_run_becomes_a_generator(shards: Path, tmp_path: Path) -> None:
    trainer(shards, tmp_path / "run").fit(steps=1)
    file = tmp_path / "ours.safetensors"
    assert main(["export", str(tmp_path / "run"), "-o", str(file), "--half", "--licence", "CC0-1.0", "--commercial-use", "yes",
                 "--card", "data=a portrait"]) == 0
    generator = create_generator(file)
    assert generator.spec.crop_size == generator.network.config.size == 32
    assert describe(file.name, file).endswith("MB, licence: CC0-1.0, commercial use allowed")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        export(tmp_path, tmp_path / "none.safetensors", {})


def test_the_large_one_takes_a_step_within_the_memory_of_a_desktop() -> None:
    """A training step of 2.5 x 10^8 parameters at 256 px, discriminators and all, on the meta device: every shape fits, every parameter
    is taught, and what a step holds at a time is counted. The same code at 32 px computes in the tests above."""
    settings, size = read("large", []), 256
    stored: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        stored[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.device("meta"):
        net = build(preset(settings.preset, size=size))
        save_memory(net)
        model, critics = WindowNet(net), Discriminators(5, settings.discriminator_width)
        batch = Batch(torch.empty(1, 5, 3, size, size), torch.empty(1, net.config.references, 3, size, size),
                      torch.empty(1, 5, 1, size, size), torch.empty(1, 80, 160), torch.empty(1, 5), torch.empty(1, 80, 24),
                      torch.empty(1, settings.others, 80, 24), ["clip"])
        optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = made_by(model, batch)
            total, parts = Criterion(settings.weights, Perceptual(None), None, model.hidden)(made, batch, sync=False)
            against, _ = adversarial_part(critics, made.pixels, batch.faces, settings.weights)
        (total + against).backward()
        assert made.pixels.shape == batch.faces.shape and parts.keys() >= {"l1", "perceptual", "flow"}
        assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
        optimiser.step()
    held = sum(p.numel() for p in model.parameters()) * 4 * 5         # weights, gradients, two moments of AdamW, the average
    assert held > 4.9e9 and held + sum(stored.values()) < 16e9
