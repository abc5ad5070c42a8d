"""The stages on frames in memory: the same pixels as `dub`, nothing else changed, options that do what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import moving_face, write_clip

from lipsync_core import Encoding, Hooks, LipSyncError, dub
from lipsync_core.audio import normalise_loudness, read_samples, speech_from_samples
from lipsync_core.compositing import Blending
from lipsync_core.errors import FaceError
from lipsync_core.faces.given import GivenBackend
from lipsync_core.generators import create_generator
from lipsync_core.generators.lipsyncnet import build, checkpoint, preset
from lipsync_core.looks import annotated, mouth_pictures
from lipsync_core.media import FrameBatch
from lipsync_core.mesh import MESH_TO_68
from lipsync_core.stages import FaceOptions, Faces, blend_faces, detect_faces, generate_faces
from lipsync_core.types import Drive, Speech

RATE = Fraction(25)
FRAMES, SIZE = 24, 240


@pytest.fixture(scope="module")
def frames(astronaut: np.ndarray) -> np.ndarray:
    """One second of the portrait under a moving camera: uint8 (24, 240, 240, 3)."""
    return np.stack(moving_face(astronaut, FRAMES, SIZE))


@pytest.fixture(scope="module")
def speech(babble: np.ndarray) -> Speech:
    return Speech(babble[8000:8000 + FRAMES * 640])


def batch_of(frames: np.ndarray) -> FrameBatch:
    """As ComfyUI has them: float32 0..1."""
    images = frames.astype(np.float32) / 255
    return FrameBatch(lambda i: images[i], len(images), (images.shape[2], images.shape[1]), RATE)


def blended(frames: np.ndarray, faces: Faces, blending: Blending | None = None, scale: int = 1) -> np.ndarray:
    """The frames with the changes added: float32 0..255."""
    result = np.repeat(np.repeat(frames, scale, 1), scale, 2).astype(np.float32)
    for change in blend_faces(faces, blending or Blending(), Hooks(), (result.shape[2], result.shape[1])):
        x0, y0, x1, y1 = change.box
        result[change.frame, y0:y1, x0:x1] += change.difference
    return result


@pytest.fixture(scope="module")
def made(frames: np.ndarray, speech: Speech) -> Faces:
    found = detect_faces(batch_of(frames), FaceOptions(), Hooks())
    return generate_faces(found, create_generator(), speech, Drive(), Hooks())


def test_the_stages_give_the_pixels_of_dub(frames: np.ndarray, speech: Speech, made: Faces, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "rgb.mkv", list(frames), codec="ffv1", pix_fmt="bgr0", rate=RATE)
    dub(clip, speech, tmp_path / "dub.mkv", encoding=Encoding(codec="ffv1"))
    with av.open(str(tmp_path / "dub.mkv")) as container:
        dubbed = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    sums = blended(frames, made)
    assert np.array_equal(sums, np.rint(sums))                        # rounded before anybody adds: no half is left
    stages = np.clip(sums, 0, 255).astype(np.uint8)
    assert np.array_equal(stages, dubbed)
    assert (stages != frames).any((1, 2, 3)).sum() > FRAMES / 2


def test_a_generator_of_aligned_crops_gives_the_pixels_of_dub_too(frames: np.ndarray, speech: Speech, tmp_path: Path) -> None:
    """Its crops are cut from what was kept of the face instead of from the frame, and its answer is brought back: a level at most."""
    torch.manual_seed(1)
    checkpoint.save(build(preset("tiny", size=64)), tmp_path / "random.safetensors", {})
    generator = create_generator(tmp_path / "random.safetensors")
    clip = write_clip(tmp_path / "rgb.mkv", list(frames), codec="ffv1", pix_fmt="bgr0", rate=RATE)
    dub(clip, speech, tmp_path / "dub.mkv", generator=generator, encoding=Encoding(codec="ffv1"))
    with av.open(str(tmp_path / "dub.mkv")) as container:
        dubbed = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    made = generate_faces(detect_faces(batch_of(frames), FaceOptions(), Hooks()), generator, speech, Drive(), Hooks(), batch=8)
    stages = np.clip(np.rint(blended(frames, made)), 0, 255).astype(np.uint8)
    apart = np.abs(stages.astype(int) - dubbed)
    assert (stages != frames).any((1, 2, 3)).all() and apart.max() <= 2 and apart.mean() < 0.05


def test_a_batch_of_one_or_many_is_the_same(frames: np.ndarray, speech: Speech, made: Faces) -> None:
    class Batched:
        """morph, told that it likes batches."""

        def __init__(self) -> None:
            self.morph, self.sizes = create_generator(), []
            self.spec, self.hear, self.start = replace(self.morph.spec, batch_size=16), self.morph.hear, self.morph.start

        def generate(self, batch: Sequence, state: object) -> list:
            self.sizes.append(len(batch))
            return self.morph.generate(batch, state)

    generator = Batched()
    found = detect_faces(batch_of(frames), FaceOptions(), Hooks())
    again = generate_faces(found, generator, speech, Drive(), Hooks(), batch=10)
    assert generator.sizes == [10, 10, 4]
    assert np.array_equal(blended(frames, again), blended(frames, made))


def test_outside_the_mask_nothing_changes(frames: np.ndarray, made: Faces) -> None:
    mask = np.zeros(frames.shape[:3], np.float32)
    for change in blend_faces(made, Blending(), Hooks()):
        x0, y0, x1, y1 = change.box
        mask[change.frame, y0:y1, x0:x1] = change.mask
    changed = (blended(frames, made) != frames).any(-1)
    assert changed.any() and not changed[mask == 0].any()


def test_the_mask_grows_shrinks_and_softens(made: Faces) -> None:
    def area(blending: Blending) -> float:
        return float(np.mean([change.mask.mean() for change in blend_faces(made, blending, Hooks())]))

    assert area(Blending(grow=-0.08)) < area(Blending()) < area(Blending(grow=0.1))
    assert area(Blending(feather=0.5)) < area(Blending()) < area(Blending(feather=0.05))
    for change in blend_faces(made, Blending(grow=0.3), Hooks()):
        rim = np.concatenate([change.mask[0], change.mask[-1], change.mask[:, 0], change.mask[:, -1]])
        assert rim.max() < 0.1                                        # no hard edge where the crop ends
    with pytest.raises(LipSyncError, match="feather"):
        list(blend_faces(made, Blending(feather=2.0), Hooks()))


def test_frames_that_were_upscaled_since(frames: np.ndarray, made: Faces) -> None:
    """Twice the size: the same change, twice as large; another shape is refused."""
    small, large = blended(frames, made) - frames, blended(frames, made, scale=2) - np.repeat(np.repeat(frames, 2, 1), 2, 2)
    shrunk = large.reshape(FRAMES, SIZE, 2, SIZE, 2, 3).mean((2, 4))
    whole_levels = 0.5 * (np.abs(shrunk) > 0.01).mean()               # what rounding the small one costs at most
    assert np.abs(shrunk - small).mean() < 0.05 * np.abs(small).mean() + whole_levels
    with pytest.raises(LipSyncError, match="same shape"):
        list(blend_faces(made, Blending(), Hooks(), (SIZE, 2 * SIZE)))


def test_landmarks_from_elsewhere(frames: np.ndarray, made: Faces) -> None:
    """ComfyUI's FACE_LANDMARKS: 478 points a face, of which ours are a choice."""
    track = made.tracks[0]
    mesh = np.zeros((FRAMES, 478, 2))
    mesh[:, MESH_TO_68] = track.landmarks + 0.5
    given = {"frames": [[{"landmarks_xy": points}] for points in mesh], "image_size": (SIZE, SIZE)}
    backend = GivenBackend.from_host(given, FRAMES, (SIZE, SIZE))
    found = detect_faces(batch_of(frames), FaceOptions(backend=backend, smoothing=0.0), Hooks())
    assert np.abs(found.tracks[0].landmarks - track.landmarks).max() < 1e-3
    given["frames"][3] = []                                           # nobody found in one frame: the rest goes on
    found = detect_faces(batch_of(frames), FaceOptions(backend=GivenBackend.from_host(given, FRAMES, (SIZE, SIZE))), Hooks())
    assert 3 not in found.tracks[0].frames and len(found.tracks[0]) >= FRAMES - 5
    with pytest.raises(FaceError, match="same frames"):
        GivenBackend.from_host(given, FRAMES + 1, (SIZE, SIZE))


def test_smoothing_can_be_left_out_or_made_heavy(frames: np.ndarray) -> None:
    def jitter(smoothing: float) -> float:
        track = detect_faces(batch_of(frames), FaceOptions(smoothing=smoothing), Hooks()).tracks[0]
        return float(np.abs(np.diff(track.landmarks[:, 30], n=2, axis=0)).mean())

    assert jitter(1.0) < jitter(0.0) and jitter(3.0) < jitter(0.0)


def test_frames_without_a_face_pass_through(speech: Speech) -> None:
    grey = np.full((5, 96, 128, 3), 90, np.uint8)
    warnings: list[str] = []
    found = detect_faces(batch_of(grey), FaceOptions(), Hooks(warn=warnings.append))
    made = generate_faces(found, create_generator(), speech, Drive(), Hooks())
    assert not list(blend_faces(made, Blending(), Hooks())) and "no face" in warnings[0]
    assert mouth_pictures(made, 64, Hooks()).shape == (5, 64, 64, 3)


def test_faces_must_be_generated_before_they_are_blended(frames: np.ndarray) -> None:
    found = detect_faces(batch_of(frames[:3]), FaceOptions(), Hooks())
    with pytest.raises(LipSyncError, match="Generate Lip Sync"):
        list(blend_faces(found, Blending(), Hooks()))


def test_an_interrupt_stops_every_stage(frames: np.ndarray, speech: Speech, made: Faces) -> None:
    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    hooks = Hooks(check_interrupt=stop)
    for stage in (lambda: detect_faces(batch_of(frames), FaceOptions(), hooks),
                  lambda: generate_faces(made, create_generator(), speech, Drive(), hooks),
                  lambda: list(blend_faces(made, Blending(), hooks)), lambda: mouth_pictures(made, 64, hooks),
                  lambda: annotated(batch_of(frames), made, 4, 128, hooks)):
        with pytest.raises(Stop):
            stage()


def test_pictures_for_looking(frames: np.ndarray, made: Faces) -> None:
    mouths = mouth_pictures(made, 64, Hooks())
    assert mouths.shape == (FRAMES, 64, 64, 3) and mouths[12].std() > 10
    shown = annotated(batch_of(frames), made, 4, 128, Hooks())
    assert len(shown) == 4 and shown[0].shape == (128, 128, 3)
    assert len(annotated(batch_of(frames), made, 0, 64, Hooks())) == FRAMES


def test_sound_is_read_whole_or_in_part(babble_file: Path, babble: np.ndarray, face_clip: Path) -> None:
    samples, rate = read_samples(babble_file)
    assert samples.shape == (1, len(babble)) and rate == 16_000
    part, _ = read_samples(babble_file, start=0.5, duration=1.0)
    assert np.array_equal(part[0], samples[0, 8000:24_000])
    with pytest.raises(LipSyncError, match="no sound"):
        read_samples(babble_file, start=60.0)
    with pytest.raises(LipSyncError, match="no sound track"):
        read_samples(face_clip)


def test_one_channel_speaks(babble: np.ndarray) -> None:
    stereo = np.stack([babble, np.zeros_like(babble)])
    left, right, mixed = (speech_from_samples(stereo, 16_000, channel).samples for channel in (0, 1, "mix"))
    assert np.allclose(left, babble, atol=1e-6) and not right.any() and np.allclose(mixed, babble / 2, atol=1e-6)
    with pytest.raises(LipSyncError, match="1 channel"):
        speech_from_samples(babble, 16_000, 1)


@pytest.mark.parametrize("gain", [0.01, 0.3, 3.0])
def test_loudness_is_brought_to_the_usual(babble: np.ndarray, gain: float) -> None:
    usual = normalise_loudness(babble)
    assert np.allclose(normalise_loudness(gain * babble), usual, atol=1e-4) and np.abs(usual).max() <= 1
    assert not normalise_loudness(np.zeros(16_000, np.float32)).any()


def test_a_lineup_counts_people_from_the_left_as_the_rules_do(astronaut: np.ndarray) -> None:
    from lipsync_core.faces import create_backend
    from lipsync_core.lineup import line_up
    from lipsync_core.media import FrameBatch

    face = astronaut[0:300, 72:372].astype(np.float32) / 255
    both = np.hstack([face, face[:, ::-1]])
    clip = FrameBatch(lambda i: both, 6, (600, 300), Fraction(25))
    found = line_up(clip, create_backend())
    assert found.picture.shape == (300, 600, 3) and len(found.boxes) == 2 and found.boxes[0][2] < 300 < found.boxes[1][0]
    nobody = line_up(FrameBatch(lambda i: both * 0, 3, (600, 300), Fraction(25)), create_backend())
    assert nobody.boxes == [] and nobody.picture.shape == (300, 600, 3)
    title = line_up(FrameBatch(lambda i: both * (i >= 155), 158, (600, 300), Fraction(25)), create_backend())
    assert len(title.boxes) == 2 and title.picture.max() > 100        # who comes after six seconds of black
