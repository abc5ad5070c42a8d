"""Wav2Lip at work: driven by exactly the sound it was taught with, shown the face as it was taught, and blended."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dubbing_check import check_only_mouths_change
from random_checkpoints import random_wav2lip, save_as_trained

from lipsync_core import Hooks, LipSyncError
from lipsync_core.audio import wav2lip_mel
from lipsync_core.errors import CheckpointError
from lipsync_core.faces.align import crop_matrix, transform
from lipsync_core.generators.wav2lip import OPTIONS, Wav2LipOptions, create
from lipsync_core.generators.wav2lip.generator import Wav2LipGenerator
from lipsync_core.generators.wav2lip.network import Wav2Lip
from lipsync_core.types import Drive, FaceCrop, FaceTrack, GeneratorItem, Person, Speech

SIZE = 96
ROUNDING = 0.01
"""Of 255 levels: what sums in another order come to after some fifty layers."""
DRIVEN = Drive(silence="generate")
"""Nothing between the network and the speech."""


@pytest.fixture(scope="module")
def network() -> Wav2Lip:
    return random_wav2lip()


@pytest.fixture(scope="module")
def fused(network: Wav2Lip) -> Wav2Lip:
    return copy.deepcopy(network).fuse()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Emptied at once: checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def person(rows: int = 1, references: tuple[FaceCrop, ...] = ()) -> Person:
    """Somebody whose face wanders to the right, two pixels a frame."""
    shape = np.random.default_rng(0).uniform(100, 180, (68, 2))
    landmarks = np.stack([shape + [2 * i, 0] for i in range(rows)]).astype(np.float32)
    ones = np.ones(rows, np.float32)
    track = FaceTrack(np.arange(rows), np.arange(rows) / 25, np.concatenate([landmarks.min(1), landmarks.max(1)], 1), landmarks, ones,
                      np.zeros((rows, 3), np.float32), ones)
    return Person(track, references)


def item(time: float, seed: int = 1, activation: float = 1.0) -> GeneratorItem:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    crop = FaceCrop(pixels, np.eye(3)[:2], person().track.landmarks[0])
    return GeneratorItem(crop, time, 0, np.ones((SIZE, SIZE), np.float32), activation)


def network_input(pixels: np.ndarray, reference: np.ndarray | None = None) -> torch.Tensor:
    """(1, 6, S, S) of RGB crops, as architectures.md 1.2 says."""
    face, whole = (torch.from_numpy(p[..., ::-1].astype(np.float32) / 255).permute(2, 0, 1)
                   for p in (pixels, pixels if reference is None else reference))
    face[:, SIZE // 2:] = 0
    return torch.cat([face, whole])[None]


def dubbed_crop(painted: torch.Tensor, pixels: np.ndarray) -> np.ndarray:
    """RGB crop `pixels` whose lower half is that of the network's answer (1, 3, S, S)."""
    result = pixels.astype(np.float32)
    result[SIZE // 2:] = painted[0].permute(1, 2, 0).numpy()[SIZE // 2:, :, ::-1] * 255
    return result


# -- what drives it ----------------------------------------------------------------------------------------------------------


def test_frames_get_the_window_of_their_time(fused: Wav2Lip, babble: np.ndarray) -> None:
    """16 columns from int(80 t) on, whatever the frame rate; at the end the last 16; with offset_ms=40 those of the training."""
    mel = wav2lip_mel(babble)
    crop = item(0).crop.pixels
    for time, first, offset in ((0.0, 0, 0.0), (31 / 25, 99, 0.0), (27 * 1001 / 24_000, 90, 0.0), (2.95, mel.shape[1] - 16, 0.0),
                                (31 / 25, 96, 40.0), (0.02, 0, 40.0)):
        generator = Wav2LipGenerator(fused, Wav2LipOptions(offset_ms=offset))
        face = generator.generate([item(time)], generator.start(person(), generator.hear(Speech(babble)), DRIVEN))[0]
        expected, off = (dubbed_crop(fused(mel[None, None, :, at:at + 16], network_input(crop)), crop)
                             for at in (first, abs(first - 1)))
        assert np.abs(face.pixels - expected).max() < ROUNDING < np.abs(face.pixels - off).max()
        assert face.pixels.shape == (SIZE, SIZE, 3) and face.pixels.dtype == np.float32


def test_a_clip_in_one_batch_or_in_ten(fused: Wav2Lip, babble: np.ndarray) -> None:
    generator = Wav2LipGenerator(fused)
    state = generator.start(person(), generator.hear(Speech(babble)), Drive(strength=1.3))
    items = [item(0.4 + i / 25, seed=i) for i in range(10)]
    whole = generator.generate(items, state)
    split = [face for first in (0, 3, 4) for face in generator.generate(items[first:{0: 3, 3: 4, 4: 10}[first]], state)]
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, split, strict=True)) < ROUNDING
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(whole, split))


def test_drive(fused: Wav2Lip, babble: np.ndarray) -> None:
    """Strength 0 hears silence, so does a pause that is to be closed; 'keep' leaves the source in pauses; activation scales the mask."""
    generator = Wav2LipGenerator(fused)

    def face(time: float, drive: Drive, samples: np.ndarray = babble, activation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        made = generator.generate([item(time, activation=activation)], generator.start(person(), generator.hear(Speech(samples)), drive))[0]
        return made.pixels, made.mask

    spoken, pause = 0.8, 0.1
    silent, _ = face(spoken, DRIVEN, np.zeros(48_000, np.float32))
    quiet, heard = (fused.hear(mel[None, None]) for mel in (torch.full((80, 16), -4.0), wav2lip_mel(babble)[:, 64:80]))
    crop = item(spoken).crop.pixels
    for strength in (0.0, 0.5, 1.0, 2.0):
        made, _ = face(spoken, replace(DRIVEN, strength=strength))
        expected = fused.paint((quiet + strength * (heard - quiet)).clamp_min(0), network_input(crop))
        assert np.abs(made - dubbed_crop(expected, crop)).max() < ROUNDING
        assert (np.abs(made - silent).max() < ROUNDING) == (strength == 0)
    assert np.abs(face(pause, Drive())[0] - silent).max() < 1.0
    assert not face(pause, Drive(silence="keep"))[1].any() and face(spoken, Drive(silence="keep"))[1].max() > 0.95
    assert face(spoken, Drive(), activation=0.25)[1].max() == pytest.approx(0.25)
    assert not face(spoken, Drive(), activation=0.0)[1].any()


def test_only_the_half_that_it_paints_is_meant(fused: Wav2Lip) -> None:
    """The mask begins where the network stops seeing, and is soft towards every rim."""
    mask = Wav2LipGenerator(fused)._mask
    assert not mask[:SIZE // 2].any() and (mask[52:92, 4:92] == 1).all()
    assert max(mask[48].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.05


def test_speech_shorter_than_a_window(fused: Wav2Lip) -> None:
    generator = Wav2LipGenerator(fused)
    state = generator.start(person(), generator.hear(Speech(np.full(100, 0.1, np.float32))), Drive())
    assert np.isfinite(generator.generate([item(0.0)], state)[0].pixels).all()


# -- whose face --------------------------------------------------------------------------------------------------------------


def test_an_open_mouth_as_the_reference(fused: Wav2Lip, babble: np.ndarray) -> None:
    """It is cropped by its own landmarks. What the frame's own mouth does is then unknown to the network."""
    from lipsync_core.array_pixels import ArrayPixels

    generator = Wav2LipGenerator(fused, Wav2LipOptions(reference="open"))
    someone = person()
    picture = np.random.default_rng(4).integers(0, 256, (260, 260, 3), np.uint8)
    reference = FaceCrop(picture.astype(np.float32), np.eye(3)[:2], someone.track.landmarks[0])
    state = generator.start(replace(someone, references=(reference,)), generator.hear(Speech(babble)), DRIVEN)
    shown = item(0.8)
    cropped = ArrayPixels(picture).warp(crop_matrix("detector", someone.track, 0, SIZE), (SIZE, SIZE))
    painted = fused(wav2lip_mel(babble)[None, None, :, 64:80], network_input(shown.crop.pixels, cropped))
    expected = dubbed_crop(painted, shown.crop.pixels)
    face = generator.generate([shown], state)[0].pixels
    assert generator.spec.references == 1 and np.abs(face - expected).max() < ROUNDING
    other = shown.crop.pixels.copy()
    other[SIZE // 2:] = 255 - other[SIZE // 2:]
    again = generator.generate([replace(shown, crop=replace(shown.crop, pixels=other))], state)[0].pixels
    assert np.array_equal(again, face) and not np.array_equal(other, shown.crop.pixels)


def test_without_an_open_mouth_each_frame_is_its_own_reference(fused: Wav2Lip, babble: np.ndarray) -> None:
    said: list[str] = []
    faces = []
    for options in (Wav2LipOptions(reference="open"), Wav2LipOptions()):
        generator = Wav2LipGenerator(fused, options)
        faces += generator.generate([item(0.8)], generator.start(person(), generator.hear(Speech(babble)), DRIVEN, Hooks(warn=said.append)))
    assert len(said) == 1 and "own reference" in said[0] and np.array_equal(faces[0].pixels, faces[1].pixels)


def test_the_authors_crop(fused: Wav2Lip) -> None:
    """Mean box of five frames from this one on, at the end of the last five, ten pixels more below: edge to edge."""
    rule = Wav2LipGenerator(fused, Wav2LipOptions(upstream_crop=True)).spec.crop
    track = person(12).track
    points = track.landmarks.astype(float)
    boxes = np.concatenate([points.min(1), points.max(1)], 1)
    boxes[:, 1] -= 0.28 * (boxes[:, 3] - boxes[:, 1])
    for row, first in ((0, 0), (3, 3), (7, 7), (9, 7), (11, 7)):
        box = boxes[first:first + 5].mean(0) + [0, 0, 0, 10]
        corners = transform(crop_matrix(rule, track, row, SIZE), box.reshape(2, 2) - 0.5)
        assert np.allclose(corners, [[-0.5, -0.5], [SIZE - 0.5, SIZE - 0.5]], atol=0.5)
    # Of a person who was away in between only the frames near this one count.
    gap = replace(track, frames=np.where(np.arange(12) < 4, np.arange(12), np.arange(12) + 50))
    box = boxes[2:4].mean(0) + [0, 0, 0, 10]
    assert np.allclose(transform(rule(gap, 2, SIZE), box.reshape(2, 2) - 0.5)[1], SIZE - 0.5, atol=0.5)


def test_the_usual_crop_holds_the_face_of_the_frame(fused: Wav2Lip) -> None:
    track = person(12).track
    at = transform(crop_matrix(Wav2LipGenerator(fused).spec.crop, track, 5, SIZE), track.landmarks[5])
    assert at.min() > -0.51 and at.max() < SIZE + 0.5 and at[:, 1].max() < 0.97 * SIZE and at[:, 1].min() > 0.15 * SIZE


# -- options -----------------------------------------------------------------------------------------------------------------


def test_options_are_read_from_words() -> None:
    words = {"upstream_crop": "Yes", "reference": "open", "offset_ms": "-40", "batch": "8", "device": "cpu"}
    assert Wav2LipOptions.read(words) == Wav2LipOptions(True, "open", -40.0, 8)
    assert Wav2LipOptions.read({}) == Wav2LipOptions()


@pytest.mark.parametrize("options", [{"upstream_crop": "maybe"}, {"reference": "best"}, {"offset_ms": "nan"}, {"offset_ms": "1000"},
                                     {"batch": "0"}, {"batch": "1.5"}, {"batch": "many"}, {"steps": "20"}, {"device": "toaster"},
                                     {"precision": "int8"}])
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(LipSyncError, match=f"{re.escape(next(iter(options)))}.*: use ") as error:
        create("nowhere.pth", options)
    assert not isinstance(error.value, CheckpointError)


def test_each_option_says_its_default() -> None:
    usual = Wav2LipOptions()
    assert f"({usual.reference})" in OPTIONS["reference"] and f"({usual.offset_ms:g})" in OPTIONS["offset_ms"]
    assert f"({usual.batch})" in OPTIONS["batch"] and not usual.upstream_crop and "(no)" in OPTIONS["upstream_crop"]


def test_naming_it_costs_nothing() -> None:
    code = "import sys, lipsync_core.generators.wav2lip; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


# -- the pipeline ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"upstream_crop": "yes", "reference": "open", "precision": "bf16"}])
def test_a_dub_changes_mouths_and_nothing_else(network: Wav2Lip, astronaut: np.ndarray, babble: np.ndarray, folder: Path,
                                               options: dict[str, str]) -> None:
    save_as_trained(network, folder / "wav2lip.pth")
    check_only_mouths_change(create(folder / "wav2lip.pth", options), astronaut, babble[8000:24_000], folder)
