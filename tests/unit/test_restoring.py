"""A face restorer sees a whole head, aligned as it was taught, and only what it changes comes into the picture."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import moving_face, write_clip
from safetensors.torch import save_file
from torch import Tensor

from lipsync_core import Hooks, LipSyncError, dub
from lipsync_core.errors import CheckpointError
from lipsync_core.faces.align import FFHQ_TEMPLATE, ffhq_matrix, five_points, transform
from lipsync_core.generators import create_generator
from lipsync_core.generators.painted import painted_mask
from lipsync_core.generators.restored import BATCH, SIZE, RestoredGenerator
from lipsync_core.generators.restorers import load_restorer
from lipsync_core.media import FrameBatch
from lipsync_core.models import by_name, find_restorer
from lipsync_core.models.brief import describe, may_be_generator, may_be_restorer
from lipsync_core.stages import FaceOptions, Faces, Work, detect_faces, generate_faces, in_window, work_of
from lipsync_core.types import Drive, GeneratedFace, GeneratorItem, GeneratorSpec, Person, Speech

SPEECH = Speech(np.zeros(16_000, np.float32))
ROUNDING = 0.01
"""Of 255 levels: float32 sums in another order."""


class Blurred:
    """A generator of small crops: each face as it is, in the crop's few pixels."""

    def __init__(self, crop: str, size: int) -> None:
        self.spec = GeneratorSpec("blurred", crop=crop, crop_size=size, batch_size=8)

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> None:
        return None

    def start(self, person: Person, heard: None, drive: Drive, hooks: Hooks | None = None, before: None = None) -> None:
        return None

    def generate(self, batch: Sequence[GeneratorItem], state: None) -> list[GeneratedFace]:
        size = self.spec.crop_size
        return [GeneratedFace(np.asarray(item.crop.pixels, np.float32), painted_mask(size, size // 2, size // 24) * item.activation)
                for item in batch]


class Convolution(torch.nn.Module):
    """A restorer of one 3x3 kernel, the same for every channel; remembers how it was called."""

    def __init__(self, name: str, kernel: list[list[float]]) -> None:
        super().__init__()
        self.name, self.calls = name, []
        self.register_buffer("kernel", torch.tensor(kernel).repeat(3, 1, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        self.calls.append(faces)
        return torch.nn.functional.conv2d(torch.nn.functional.pad(faces, (1, 1, 1, 1), "replicate"), self.kernel, groups=3)


def identity() -> Convolution:
    return Convolution("identity", [[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])


def sharpen() -> Convolution:
    return Convolution("sharpen", [[-0.5, -0.5, -0.5], [-0.5, 5, -0.5], [-0.5, -0.5, -0.5]])


@pytest.fixture(scope="module")
def pictures(astronaut: np.ndarray) -> list[np.ndarray]:
    return moving_face(astronaut, 6)


@pytest.fixture(scope="module")
def faces(pictures: list[np.ndarray]) -> Faces:
    batch = np.stack(pictures).astype(np.float32) / 255
    return detect_faces(FrameBatch(lambda i: batch[i], len(batch), (320, 320), Fraction(25)), FaceOptions(), Hooks())


def made(faces: Faces, generator: object, batch: int = 8) -> list[GeneratedFace]:
    """The new faces, in the native windows."""
    return generate_faces(faces, generator, SPEECH, Drive(), Hooks(), batch=batch).people[0].generated


def inside(face: GeneratedFace) -> np.ndarray:
    return face.mask > 0.99


# -- alignment --------------------------------------------------------------------------------------------------------------


def test_the_restorer_sees_a_head_aligned_as_it_was_taught(faces: Faces) -> None:
    restorer = identity()
    made(faces, RestoredGenerator(Blurred("detector", 96), restorer, 1.0))
    assert all(call.shape[1:] == (3, SIZE, SIZE) and 0 <= float(call.min()) and float(call.max()) <= 1 for call in restorer.calls)
    assert [len(call) for call in restorer.calls] == [BATCH, 6 - BATCH]
    landmarks = faces.people[0].person.track.landmarks[0]
    points = five_points(transform(ffhq_matrix(landmarks, SIZE), landmarks))
    assert np.abs(points - FFHQ_TEMPLATE * SIZE).max() < 20               # nobody has exactly the average face
    assert np.allclose(points.mean(0), (FFHQ_TEMPLATE * SIZE).mean(0))


def test_its_surroundings_are_the_frame_and_the_mouth_is_the_generator_s(faces: Faces) -> None:
    """Not a crop that ends at the chin: the restorer knows faces with hair and neck."""
    restorer, work = identity(), works(faces, "ffhq", SIZE)[0]
    made(faces, RestoredGenerator(Blurred("detector", 96), restorer, 1.0))
    shown, frame = restorer.calls[0][0].permute(1, 2, 0).numpy() * 255, work.item.crop.pixels.astype(np.float32)
    changed = np.abs(shown - frame).max(2)
    assert changed[:200].max() < 1e-4 and changed[:, :60].max() < 1e-4    # eyes, background
    assert changed[340:400, 200:310].mean() > 0.5                         # 96 pixels are less than the frame has


@pytest.mark.parametrize(("crop", "size", "levels"), [("detector", 96, 2.0), ("nose", 256, 1.5), ("steady", 256, 1.5), ("face", 512, 1.5)])
def test_a_restorer_that_changes_nothing_changes_nothing(faces: Faces, crop: str, size: int, levels: float) -> None:
    """The way into the restorer's 512 pixels and back leaves the generator's pixels where they were; 96 pixels are shrunk from those 512,
    a little softer than from the frame."""
    plain, restored = made(faces, Blurred(crop, size)), made(faces, RestoredGenerator(Blurred(crop, size), identity(), 1.0))
    for one, other, work in zip(plain, restored, works(faces, "ffhq", SIZE)):
        assert (other.mask * work.region).sum() > 0.9 * (one.mask * work.region).sum()      # 'steady' shows more neck than the head does
        both = inside(one) & inside(other)
        assert both.sum() > 500
        difference = (one.pixels - other.pixels)[both]
        assert np.abs(difference).mean() < levels and abs(difference.mean()) < 0.1


def test_the_mask_ends_softly_where_the_head_ends(faces: Faces) -> None:
    for work in works(faces, "ffhq", SIZE):
        generator = RestoredGenerator(Blurred("steady", 256), identity(), 1.0)
        (face,) = generator.generate([work.item], generator.start(faces.people[0].person, generator.hear(SPEECH), Drive()))
        assert face.mask.max() > 0.9 and max(face.mask[edge].max() for edge in (0, -1, (slice(None), 0), (slice(None), -1))) < 0.01
        assert max(np.abs(np.diff(face.mask, axis=axis)).max() for axis in (0, 1)) < 0.1


def works(faces: Faces, crop: str, size: int) -> list[Work]:
    one = faces.people[0]
    return [work_of(item.view(), one.person.track, item.row, item.frame, 0.0, GeneratorSpec("", crop, size)) for item in one.crops]


# -- strength, batches, who is left alone --------------------------------------------------------------------------------------


def test_strength_0_is_exactly_the_generator(faces: Faces) -> None:
    restorer = sharpen()
    off = RestoredGenerator(Blurred("detector", 96), restorer, 0.0)
    assert off.spec == Blurred("detector", 96).spec
    for one, other in zip(made(faces, Blurred("detector", 96)), made(faces, off)):
        assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.mask, other.mask)
    assert not restorer.calls


def test_strength_scales_what_the_restorer_changes(faces: Faces) -> None:
    """Measured in the head's pixels, before anything is clipped by the window."""
    def answers(strength: float) -> np.ndarray:
        generator = RestoredGenerator(Blurred("detector", 96), Convolution("softer", [[1 / 9] * 3] * 3), strength)
        items = [work.item for work in works(faces, "ffhq", SIZE)]
        state = generator.start(faces.people[0].person, generator.hear(SPEECH), Drive())
        return np.stack([face.pixels for face in generator.generate(items, state)])

    base, half, whole = answers(1e-9), answers(0.5), answers(1.0)
    within = (whole > 0) & (whole < 255)                                  # elsewhere it was clipped
    assert np.abs(whole - base).max() > 5 and within.mean() > 0.9
    assert np.abs((whole - base) - 2 * (half - base))[within].max() < ROUNDING


def test_detail_comes_in_that_the_generator_s_crop_has_no_room_for(faces: Faces) -> None:
    stripes = (torch.arange(SIZE) // 4 % 2 * 2 - 1) * 0.08                # 8 pixels apart: a crop of 96 has about 3 for them

    class Striped(Convolution):
        def forward(self, faces: Tensor) -> Tensor:
            return super().forward(faces) + stripes

    striped = RestoredGenerator(Blurred("detector", 96), Striped("striped", identity().kernel[0, 0].tolist()), 0.5)
    work = works(faces, "ffhq", SIZE)[0]
    state = striped.start(faces.people[0].person, striped.hear(SPEECH), Drive())
    (face,), (plain,) = striped.generate([work.item], state), RestoredGenerator(Blurred("detector", 96), identity(), 1.0).generate(
        [work.item], state)
    seen = (face.pixels - plain.pixels)[320:420, 180:330].mean(2)
    assert np.abs(seen - stripes.numpy()[180:330] * 255 * 0.5).mean() < 0.5
    window = in_window(face, work).pixels - in_window(plain, work).pixels
    assert window[in_window(plain, work).mask > 0.99].std() > 3           # and they arrive in the frame's pixels


def test_one_at_a_time_or_all_together_is_the_same(faces: Faces) -> None:
    def generator() -> RestoredGenerator:
        return RestoredGenerator(Blurred("detector", 96), sharpen(), 0.7)

    for one, other in zip(made(faces, generator(), 1), made(faces, generator(), 8)):
        assert np.abs(one.pixels - other.pixels).max() < ROUNDING and np.array_equal(one.mask, other.mask)


def test_faces_that_do_not_change_are_not_restored(faces: Faces) -> None:
    class Still(Blurred):
        def generate(self, batch: Sequence[GeneratorItem], state: None) -> list[GeneratedFace]:
            return [GeneratedFace(face.pixels, face.mask * 0) for face in super().generate(batch, state)]

    restorer = sharpen()
    answers = made(faces, RestoredGenerator(Still("detector", 96), restorer, 1.0))
    assert not restorer.calls and not any(face.mask.any() for face in answers)


def test_generators_of_native_pixels_are_left_alone_and_it_is_said(faces: Faces) -> None:
    said: list[str] = []
    morph, restorer = create_generator("morph"), sharpen()
    generator = RestoredGenerator(morph, restorer, 1.0)
    generator.start(faces.people[0].person, generator.hear(SPEECH), Drive(), Hooks(warn=said.append))
    assert generator.spec == morph.spec
    assert said == ["morph moves the video's own pixels, which are as sharp as the video: sharpen is left out."]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_said(strength: float) -> None:
    with pytest.raises(LipSyncError, match="use 0 .off. to 1"):
        RestoredGenerator(Blurred("detector", 96), identity(), strength)


def test_dub_and_the_stages_give_the_restorer_the_same(pictures: list[np.ndarray], faces: Faces, tmp_path: Path) -> None:
    """The stages keep only the face's surroundings: these hold the whole head."""
    clip, streamed, staged = write_clip(tmp_path / "clip.mkv", pictures, pix_fmt="bgr0", codec="ffv1"), identity(), identity()
    report = dub(clip, SPEECH, tmp_path / "out.mkv", generator=Blurred("detector", 96), restore=streamed)
    made(faces, RestoredGenerator(Blurred("detector", 96), staged, 0.5))
    assert report.dubbed == 6
    assert float((torch.cat(streamed.calls) - torch.cat(staged.calls)).abs().max()) < 2 / 255


# -- files --------------------------------------------------------------------------------------------------------------------


def test_other_files_are_no_restorers(tmp_path: Path) -> None:
    save_file({"encoder.conv_in.weight": torch.zeros(1), "decoder.conv_in.weight": torch.zeros(1)}, tmp_path / "vae.safetensors")
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="is an image VAE of Stable Diffusion: choose a file of GFPGAN, CodeFormer or Rest"):
        load_restorer(tmp_path / "vae.safetensors")
    with pytest.raises(CheckpointError, match="is of a network that is none of them: choose a file"):
        load_restorer(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="There is no file"):
        load_restorer(tmp_path / "absent.pth")


def test_restorers_are_told_from_generators(tmp_path: Path) -> None:
    for name in ("GFPGANv1.3.pth", "codeformer-v0.1.0.pth", "facerestore/RestoreFormer.pth"):
        assert may_be_restorer(name) and not may_be_generator(name, tmp_path / name)
    assert not may_be_restorer("4x-UltraSharp.pth")
    save_file(marks("gfpgan"), tmp_path / "gfpgan.safetensors")
    with pytest.raises(CheckpointError, match="is GFPGAN, which restores faces .dub --restore., and makes no faces"):
        create_generator(tmp_path / "gfpgan.safetensors")


def marks(name: str) -> dict[str, Tensor]:
    from lipsync_core.generators.architectures import OTHERS

    return {mark: torch.zeros(1) for mark in next(other for other in OTHERS if other.name == name).marks}


def test_files_are_found_by_name_where_comfyui_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLIPSYNC_MODELS", str(tmp_path / "models" / "lipsync"))
    there = tmp_path / "models" / "facerestore_models" / "GFPGANv1.4.pth"
    there.parent.mkdir(parents=True)
    there.touch()
    assert find_restorer("GFPGANv1.4.pth") == str(there) and find_restorer("absent.pth") == "absent.pth"
    fetched = tmp_path / "models" / "lipsync" / by_name("codeformer").files[0].path
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert find_restorer("codeformer.pth") == str(fetched)


def test_licences_are_known(tmp_path: Path) -> None:
    assert by_name("codeformer").commercial == "no" and "S-Lab" in by_name("codeformer").licence
    file = tmp_path / "codeformer-v0.1.0.pth"
    file.touch()
    assert "by its name CodeFormer" in describe(file.name, file) and "NO commercial use" in describe(file.name, file)
    assert by_name("gfpgan").licence.startswith("Apache-2.0") and not by_name("gfpgan").generator


@pytest.mark.parametrize(("name", "library"), [("gfpgan", "spandrel"), ("codeformer", "spandrel_extra_arches")])
def test_an_absent_library_is_said_in_one_sentence(name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "codeformer" and importlib.util.find_spec("spandrel") is None:
        library = "spandrel"
    save_file(marks(name), tmp_path / "file.safetensors")
    monkeypatch.setitem(sys.modules, library, None)                       # an import of it fails, as if it were not there
    with pytest.raises(LipSyncError, match=rf"needs the library {library}, which can't be imported .*: pip install {library}\b"):
        load_restorer(tmp_path / "file.safetensors")


def test_nothing_is_imported_before_it_is_chosen() -> None:
    code = "import sys, lipsync_core.dubbing, lipsync_core.generators.registry; print('spandrel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
