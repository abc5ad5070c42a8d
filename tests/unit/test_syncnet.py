"""SyncNet v2: its tensors and files, the sound as it hears it, and that the protocol finds a shift that is known.

The published weights are not here. Where numbers must mean something, a network stands in whose embeddings are brightness and loudness.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lipsync_core.array_pixels import ArrayPixels
from lipsync_core.cli import main
from lipsync_core.errors import CheckpointError
from lipsync_core.evaluation import sync_scores
from lipsync_core.evaluation.container import Timing
from lipsync_core.evaluation.curves import CANONICAL
from lipsync_core.evaluation.html import page
from lipsync_core.evaluation.landmarks import Mouths, Person
from lipsync_core.evaluation.mfcc import BLOCK, mfcc
from lipsync_core.evaluation.report import Evaluation, table
from lipsync_core.evaluation.syncnet import BATCH, PAD, Passage, crop, crops_of, distances, mean_distances, passages_of, score
from lipsync_core.evaluation.syncnet_file import find_syncnet, load_syncnet
from lipsync_core.evaluation.syncnet_net import EMBEDDING, SyncNet
from lipsync_core.generators.architectures import recognise
from lipsync_core.media import FrameBatch
from lipsync_core.models import by_name
from lipsync_core.models.folder import VARIABLE
from lipsync_core.types import FaceTrack, Hooks, Picture

SHAPES = {
    "netcnnaud.0": (64, 1, 3, 3), "netcnnaud.4": (192, 64, 3, 3), "netcnnaud.8": (384, 192, 3, 3), "netcnnaud.11": (256, 384, 3, 3),
    "netcnnaud.14": (256, 256, 3, 3), "netcnnaud.18": (512, 256, 5, 4), "netfcaud.0": (512, 512), "netfcaud.3": (1024, 512),
    "netcnnlip.0": (96, 3, 5, 7, 7), "netcnnlip.4": (256, 96, 1, 5, 5), "netcnnlip.8": (256, 256, 1, 3, 3),
    "netcnnlip.11": (256, 256, 1, 3, 3), "netcnnlip.14": (256, 256, 1, 3, 3), "netcnnlip.18": (512, 256, 1, 6, 6),
    "netfclip.0": (512, 512), "netfclip.3": (1024, 512)}
"""Weights of the layer table, architectures.md section 4."""


@pytest.fixture(scope="module")
def network() -> SyncNet:
    """Seeded weights, with running statistics that keep the numbers of a picture in bounds."""
    torch.manual_seed(11)
    made = SyncNet()
    made.train().requires_grad_(False)
    made.see(255 * torch.rand(6, 3, 224, 224))
    made.hear(10 * torch.randn(4, 1, 13, 20))
    return made.eval()


@pytest.fixture(scope="module")
def weights(network: SyncNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("models") / "syncnet_v2.model"
    torch.save(network.state_dict(), file)
    return file


# -- the network ---------------------------------------------------------------------------------------------------------------


def test_tensors_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        state = SyncNet().state_dict()
        assert sum(p.numel() for p in SyncNet().parameters()) == 13_631_616
    assert len(state) == 102
    assert {name.removesuffix(".weight"): tuple(value.shape) for name, value in state.items() if value.dim() > 1} == SHAPES
    norms = {name.rpartition(".")[0] for name in state if name.endswith("running_var")}
    assert norms == {f"{net}.{i}" for net, numbers in (("netcnnaud", (1, 5, 9, 12, 15, 19)), ("netcnnlip", (1, 5, 9, 12, 15, 19)),
                                                       ("netfcaud", (1,)), ("netfclip", (1,))) for i in numbers}
    assert recognise({name: tuple(value.shape) for name, value in state.items()}).name == "syncnet"


def test_a_row_of_pictures_gives_what_its_windows_give(network: SyncNet) -> None:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (7, 3, 224, 224), generator=generator).float()
    with torch.inference_mode():
        row = network.see(pictures)
        single = torch.cat([network.see(pictures[i:i + 5]) for i in range(3)])
        assert network.hear(torch.randn(2, 1, 13, 20, generator=generator)).shape == (2, EMBEDDING)
    assert row.shape == (3, EMBEDDING) and torch.allclose(row, single, atol=1e-4 * float(row.abs().max()))
    assert float((row[0] - row[1]).abs().max()) > 0.01


@pytest.mark.parametrize("kind", ["torch", "old torch", "wrapped", "safetensors", "no counters"])
def test_every_container_brings_it_back(network: SyncNet, tmp_path: Path, kind: str) -> None:
    state = OrderedDict((name, value.clone()) for name, value in network.state_dict().items())
    file = tmp_path / "syncnet_v2.model"
    if kind == "safetensors":
        save_file(dict(state), file)
    elif kind == "wrapped":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, file)
    elif kind == "no counters":
        torch.save({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "torch")      # the published one is of before torch 1.6
    again = load_syncnet(file).state_dict()
    assert list(again) == list(state)
    assert all(torch.equal(again[name], value) for name, value in state.items() if not name.endswith("num_batches_tracked"))


def test_other_files_are_called_by_their_name(network: SyncNet, tmp_path: Path) -> None:
    file = tmp_path / "syncnet_v2.model"
    with pytest.raises(CheckpointError, match="There is no file"):
        load_syncnet(file)
    file.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        load_syncnet(file)
    torch.save({f"{half}_encoder.0.conv_block.0.weight": torch.ones(2) for half in ("face", "audio")}, file)
    with pytest.raises(CheckpointError, match=r"is no SyncNet v2 \(it is Wav2Lip's sync expert\): use syncnet_v2.model, published by"):
        load_syncnet(file)
    state = network.state_dict()
    torch.save(state | {"netcnnlip.0.weight": torch.ones(96, 1, 5, 7, 7)}, file)
    with pytest.raises(CheckpointError, match="differ from netcnnlip.0.weight on"):
        load_syncnet(file)
    torch.save(state | {"extra": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match="differ from extra on"):
        load_syncnet(file)


def test_the_file_is_found_in_the_model_folder(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find_syncnet() is None and find_syncnet("elsewhere/x.model") == Path("elsewhere/x.model")
    monkeypatch.setenv(VARIABLE, str(weights.parent))
    assert find_syncnet() == weights and find_syncnet("syncnet_v2.model") == weights
    assert by_name("syncnet").files[0].path == weights.name           # where `download` puts it


# -- the sound -----------------------------------------------------------------------------------------------------------------


def fixture_signal() -> np.ndarray:
    """16-bit numbers that are the same everywhere (integer arithmetic): a noisy chirp that swells, digital silence, a faint rest."""
    t = np.arange(8030, dtype=np.int64)
    chirp = (t * t * 37 % 20_011 - 10_005) * (t % 1600) // 1600 + 9000 * ((t * t // 9000) % 2) - 4500
    return np.where(t < 5200, chirp, np.where(t < 6800, 0, t * 7919 % 13 - 6)).astype(np.int16)


def test_mfcc_equals_an_independent_library() -> None:
    """python_speech_features 0.6, whose defaults SyncNet was taught with. The numbers were made by

        pip install python_speech_features==0.6 scipy==1.17.1 numpy==2.4.6
        cd tests/unit && PYTHONPATH=../.. python -c "
        import json, python_speech_features as psf; from test_syncnet import fixture_signal
        json.dump([[round(v, 6) for v in row] for row in psf.mfcc(fixture_signal(), 16000).tolist()], open('data/mfcc.json', 'w'))"
    """
    expected = np.array(json.loads((Path(__file__).parent / "data" / "mfcc.json").read_text(encoding="utf-8")))
    found = mfcc(fixture_signal().astype(np.float32) / 32768)
    assert found.shape == expected.shape == (49, 13)
    assert np.abs(found - expected).max() < 1e-5 and np.ptp(expected) > 50


def test_mfcc_in_blocks_is_mfcc_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = fixture_signal().astype(np.float32) / 32768
    whole = mfcc(samples)
    assert BLOCK > len(whole)
    monkeypatch.setattr("lipsync_core.evaluation.mfcc.BLOCK", 7)
    assert np.abs(mfcc(samples) - whole).max() < 1e-12
    assert mfcc(samples[:399]).shape == mfcc(samples[:400]).shape == (1, 13) and mfcc(samples[:401]).shape == (2, 13)
    assert np.isfinite(mfcc(np.zeros(0, np.float32))).all()


# -- distances and scores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [-15, -4, 0, 3, 15])
def test_a_known_shift_of_embeddings_is_found(late: int) -> None:
    """The picture at i shows the sound at i - late, with noise; the distances at the right shift are the noise's alone."""
    rng = np.random.default_rng(5)
    sound = rng.standard_normal((200, 64)).astype(np.float32)
    seen = np.roll(sound, late, 0) + 0.1 * rng.standard_normal(sound.shape).astype(np.float32)
    heard = np.concatenate([sound[-15:], sound, sound[:15]])
    curve = distances(torch.from_numpy(seen), torch.from_numpy(heard)).mean(0).numpy()
    assert curve.shape == (31,) and sync_scores.offset_frames(curve) == late
    assert sync_scores.lse_d(curve) == pytest.approx(0.1 * np.sqrt(64), rel=0.02)
    assert sync_scores.lse_c(curve) == pytest.approx(np.sqrt(2.01 * 64) - 0.8, rel=0.03)


def test_scores_by_hand() -> None:
    curve = 10 + np.abs(np.arange(31) - 12) / 10
    assert sync_scores.offset_frames(curve) == 3 and sync_scores.lse_d(curve) == 10
    assert sync_scores.lse_c(curve) == pytest.approx(0.8)             # the median of 0, .1 .1, ... 1.2 1.2, 1.3, ... 1.8
    both = sync_scores.combine([curve, np.roll(curve, 1) + 1], [90, 10])
    assert (both.lse_d, both.offset_frames, both.offset_ms, both.windows, both.passages) == (10.5, 3, 120.0, 100, 2)


def test_streamed_distances_are_those_of_single_windows(network: SyncNet) -> None:
    """Against the protocol word by word: every window by itself, zeros beyond the ends, the mean of all distances of a shift."""
    rng = np.random.default_rng(2)
    windows = BATCH + 3
    crops = [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(windows + 5)]
    columns = 8 * rng.standard_normal((4 * windows + 30, 13))
    stream = iter(crops)
    found = mean_distances(network, stream, columns, windows)
    assert len(list(stream)) == 1                                     # the last picture is not used
    with torch.inference_mode():
        seen, heard = [], []
        for i in range(windows):
            clip = np.stack(crops[i:i + 5]).astype(np.float32).transpose(0, 3, 1, 2)
            seen.append(network.see(torch.from_numpy(clip))[0].numpy())
            heard.append(network.hear(torch.from_numpy(columns[4 * i:4 * i + 20].T[None, None].astype(np.float32)))[0].numpy())
    for shift in range(-15, 16):
        pairs = [seen[i] - (heard[i + shift] if 0 <= i + shift < windows else 0) for i in range(windows)]
        assert found[15 + shift] == pytest.approx(np.mean([np.linalg.norm(pair) for pair in pairs]), rel=1e-4)


# -- the person ------------------------------------------------------------------------------------------------------------------


def a_person(frames: int, rate: float = 25.0, missing: tuple[int, int] = (0, 0), shots: tuple[int, ...] = ()) -> Person:
    """A face in the middle of a picture of 320 x 240; a track a shot, and nobody in the frames `missing`."""
    shape = (60 * (CANONICAL - CANONICAL.mean(0)) + [160, 100]).astype(np.float32)
    times = np.arange(frames) / rate
    rows: list[tuple[FaceTrack, int] | None] = [None] * frames
    tracks = []
    for begin, end in zip((0, *shots), (*shots, frames)):
        here = np.array([f for f in range(begin, end) if not missing[0] <= f < missing[1]])
        n = len(here)
        box = np.r_[shape.min(0), shape.max(0)]
        track = FaceTrack(here, times[here], np.tile(box, (n, 1)), np.tile(shape, (n, 1, 1)), np.ones(n, np.float32),
                          np.zeros((n, 3), np.float32), np.ones(n, np.float32))
        tracks.append(track)
        for row, frame in enumerate(here):
            rows[frame] = (track, row)
    points = np.stack([shape if row else np.full_like(shape, np.nan) for row in rows])
    return Person(Mouths(times, points), rows, tracks)


def test_passages_end_at_shots_and_long_gaps() -> None:
    def spans(person: Person) -> list[tuple[int, int]]:
        return [(p.first, len(p.frames)) for p in passages_of(person)]

    assert spans(a_person(150)) == [(0, 150)]
    assert spans(a_person(150, missing=(60, 80))) == [(0, 150)]       # bridged
    assert spans(a_person(150, missing=(60, 90))) == [(0, 60), (90, 60)]
    assert spans(a_person(150, shots=(70, 110))) == [(0, 70)]         # what is left is too short
    assert spans(a_person(40)) == [] and spans(a_person(1)) == []
    assert spans(a_person(180, rate=30.0)) == [(0, 150)] and spans(a_person(60, rate=12.5)) == [(0, 120)]


def test_pictures_are_the_nearest_frames_at_25_a_second() -> None:
    (fast,), (slow,) = passages_of(a_person(120, rate=50.0)), passages_of(a_person(60, rate=12.5))
    assert fast.frames.tolist() == list(range(0, 120, 2))
    assert slow.frames.tolist() == [k // 2 for k in range(120)]
    (odd,) = passages_of(a_person(90, rate=30.0))
    assert np.abs(odd.frames / 30 - np.arange(75) / 25).max() <= 0.5 / 30 + 1e-9


def test_boxes_are_steady_and_leave_room_below() -> None:
    person = a_person(60)
    (steady,) = passages_of(person)
    track = person.others[0]
    track.landmarks[30] += 40                                         # one detection that jumps
    (jumped,) = passages_of(person)
    assert np.allclose(steady.boxes, jumped.boxes)
    x0, y0, x1, y1 = steady.boxes[0]
    low, high = track.landmarks[0].min(0), track.landmarks[0].max(0)
    half = (y1 - y0) / 2.8
    assert x1 - x0 == pytest.approx(y1 - y0) and (x0 + x1) / 2 == pytest.approx((low[0] + high[0]) / 2)
    assert y1 - high[1] == pytest.approx(0.8 * half, rel=1e-5) and y0 < low[1]


def test_crops_are_bgr_and_grey_beyond_the_frame() -> None:
    y, x = np.mgrid[0:100, 0:120]
    pixels = ArrayPixels(np.stack([x, y, np.full_like(x, 200)], -1).astype(np.uint8))
    image = crop(pixels, np.array([-10.0, 20.0, 102.0, 132.0]))       # two pixels for one
    assert image.shape == (224, 224, 3) and image.dtype == np.uint8
    assert (image[:, :18] == PAD).all() and (image[162:] == PAD).all()
    inside = image[2:158, 24:].astype(float)
    rows, columns = np.mgrid[2:158, 24:224]
    assert (inside[..., 0] == 200).all()
    assert np.abs(inside[..., 1] - (20 + rows / 2 - 0.25)).max() <= 1 and np.abs(inside[..., 2] - (columns / 2 - 10.25)).max() <= 1


def test_every_frame_is_read_once_and_given_as_often_as_it_is_wanted() -> None:
    images = [np.full((40, 40, 3), 10 * i, np.uint8) for i in range(6)]
    pictures = (Picture(i, Fraction(i, 25), ArrayPixels(image)) for i, image in enumerate(images))
    passages = [Passage(0, np.array([0, 1, 1]), np.tile([5.0, 5, 35, 35], (3, 1))), Passage(5, np.array([4]), np.array([[5.0, 5, 35, 35]]))]
    assert [int(image.mean()) for image in crops_of(pictures, passages, Hooks())] == [0, 10, 10, 40]
    assert [picture.index for picture in pictures] == [5]             # what is not needed is not decoded


class Loudness(SyncNet):
    """Embeddings that mean something: brightness of the pictures, and loudness of the sound, as one number of 0 to 10."""

    def __init__(self, silent: float, loud: float) -> None:
        super().__init__()
        self.silent, self.loud = silent, loud

    def see(self, pictures: Tensor) -> Tensor:
        return self._embedding((pictures[..., 100:130, 100:130].mean((1, 2, 3)).unfold(0, 5, 1).mean(1) - 40) / 180)

    def hear(self, columns: Tensor) -> Tensor:
        return self._embedding((columns[:, 0, 0].mean(1) - self.silent) / (self.loud - self.silent))

    def _embedding(self, values: Tensor) -> Tensor:
        return torch.nn.functional.pad(10 * values[:, None].clamp(0, 1), (0, EMBEDDING - 1))


SOUND_AFTER = 0.0275
"""Seconds by which the middle of 20 columns (0 to 215 ms) comes after the mean time of five pictures (0 to 160 ms)."""


@pytest.mark.parametrize("rate, late, sound_start", [(25, 0.0, 0.0), (25, 0.12, 0.0), (30, -0.2, 0.0), (50, 0.08, 0.5), (25, 0.04, -0.4)])
def test_a_mouth_that_comes_late_is_found_late(rate: int, late: float, sound_start: float) -> None:
    """A picture whose brightness follows the sound's loudness `late` seconds after it, through the whole protocol."""
    rng = np.random.default_rng(4)
    knots = rng.uniform(0, 1, 70)

    def level(times: np.ndarray) -> np.ndarray:
        return np.interp(times, np.arange(70) * 0.15 - 1, knots)

    noise = rng.uniform(-1, 1, round((8 - sound_start) * 16_000)).astype(np.float32)
    samples = (0.02 * np.exp(3 * level(sound_start + np.arange(len(noise)) / 16_000)) * noise).astype(np.float32)
    silent, loud = (float(mfcc((0.02 * np.exp(3 * value) * noise[:16_000]).astype(np.float32))[:-2, 0].mean()) for value in (0, 1))
    brightness = (40 + 180 * level(np.arange(8 * rate) / rate + SOUND_AFTER - late)) / 255
    clip = FrameBatch(lambda i: np.full((240, 320, 3), brightness[i], np.float32), 8 * rate, (320, 240), Fraction(rate))
    found = score(Loudness(silent, loud), clip, a_person(8 * rate, rate), samples, sound_start)
    assert found is not None and found.offset_ms == pytest.approx(1000 * late) and found.offset_frames == round(25 * late)
    assert (found.windows, found.passages) == (195, 1)
    assert found.lse_c > 1 and found.lse_d < 2
    short = score(Loudness(silent, loud), clip, a_person(8 * rate, rate), samples[:16_000], sound_start)
    assert short is None                                              # sound ends before two seconds of picture


# -- evaluate --------------------------------------------------------------------------------------------------------------------


def test_evaluate_scores_a_clip_and_says_so(weights: Path, face_clip: Path, babble_file: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture) -> None:
    target, html = tmp_path / "report.json", tmp_path / "report.html"
    assert main(["evaluate", str(face_clip), "--audio", str(babble_file), "--syncnet", str(weights), "-o", str(target), "--html",
                 str(html), "--quiet"]) == 0
    content = json.loads(target.read_text())
    assert content["counts"]["sync_windows"] == 45 and content["counts"]["sync_passages"] == 1 and content["lse_note"] == ""
    assert content["lse_d"] > 0 and content["lse_c"] >= 0 and content["syncnet_offset_ms"] in range(-600, 601, 40)
    assert not {"lse_c", "lse_d", "syncnet_offset_ms"} & set(content["measures"])
    printed = capsys.readouterr().out
    assert f"{content['lse_d']:.2f}" in printed and "n 45" in printed and "no SyncNet file" not in printed
    assert "LSE-D, SyncNet" in html.read_text() and "no SyncNet file" not in html.read_text()


def an_evaluation(note: str) -> Evaluation:
    curves = {"time": np.arange(5) / 25, "opening": np.zeros(5), "sound_time": np.arange(20) / 100, "sound_level": np.zeros(20)}
    return Evaluation("dub.mp4", None, None, "dub.mp4", "builtin", "", 5, 5, {"closure": 20.0}, {}, Timing(0.0, None, 0.2, None), None, [],
                      curves, lse_note=note)


def test_without_a_file_table_and_page_say_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for text in (table([an_evaluation("no SyncNet file")]), page([an_evaluation("no SyncNet file")])):
        assert text.count("no SyncNet file") == 2                     # in its line, and in the sentence
        assert "joonson/syncnet_python, MIT" in text and str(tmp_path) in text and "download syncnet" in text
    for text in (table([an_evaluation("too short for SyncNet")]), page([an_evaluation("too short for SyncNet")])):
        assert "too short for SyncNet" in text and "no SyncNet file" not in text
    content = an_evaluation("no SyncNet file").as_dict()
    assert content["lse_c"] is content["lse_d"] is content["syncnet_offset_ms"] is None and content["lse_note"] == "no SyncNet file"


def test_a_wrong_file_is_said_before_the_work(face_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(face_clip), "--syncnet", str(tmp_path / "none.model")]) == 1
    assert "There is no file" in capsys.readouterr().err
