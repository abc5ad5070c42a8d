"""The built-in generator opens and shuts a real mouth without tearing, folding, or touching what lies outside its region."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lipsync_core.array_pixels import ArrayPixels, warp_array
from lipsync_core.compositing import lower_face_box, lower_face_mask, match_colour
from lipsync_core.errors import CheckpointError
from lipsync_core.faces.align import native_crop
from lipsync_core.faces.geometry import mouth_opening
from lipsync_core.faces.pose import mean_face
from lipsync_core.generators import create_generator
from lipsync_core.generators.morph import MorphGenerator
from lipsync_core.generators.morph.articulation import MouthShape
from lipsync_core.generators.morph.geometry import close_lips, inner_gap, place, shape_lips, study_person, to_complex
from lipsync_core.generators.morph.softness import softness_of
from lipsync_core.generators.morph.warp import Grid, solve
from lipsync_core.types import Drive, FaceCrop, FaceTrack, GeneratorItem, Person, Speech

SIZE = 640


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray, backend) -> tuple[np.ndarray, np.ndarray]:
    """The portrait's face at 640 pixels (she smiles with her teeth) and its landmarks."""
    zoom = 4.0
    image = warp_array(astronaut, np.array([[zoom, 0, SIZE / 2 - zoom * 222], [0, zoom, SIZE / 2 - zoom * 132]]), (SIZE, SIZE))
    picture = ArrayPixels(image)
    first, _ = backend.landmarks([picture], [backend.detect([picture])[0][0].box])
    return image, backend.landmarks([picture], list(first))[0][0]


class Fixed:
    """An articulation that holds one mouth shape."""

    def __init__(self, opening: float, width: float = 0.0, closure: float = 0.0, activity: float = 1.0, tuck: float = 0.0,
                 rounded: float = 0.0) -> None:
        self.values = opening, width, opening, closure, tuck, rounded, activity

    def __call__(self, samples: np.ndarray, times: np.ndarray, check: object = None) -> MouthShape:
        return MouthShape(*(np.full(len(times), v, np.float32) for v in self.values))


def person_of(landmarks: np.ndarray, rows: int = 1) -> FaceTrack:
    ones = np.ones(rows, np.float32)
    marks = np.repeat(landmarks[None], rows, 0)
    boxes = np.concatenate([marks.min(1), marks.max(1)], 1)
    return FaceTrack(np.arange(rows), np.arange(rows) / 25, boxes, marks, ones, np.zeros((rows, 3), np.float32), ones)


def render(face: tuple[np.ndarray, np.ndarray], shape: Fixed, activation: float = 1.0, drive: Drive | None = None) -> np.ndarray:
    """The picture with the mouth in that shape, RGB uint8."""
    image, landmarks = face
    generator = MorphGenerator(shape)
    drive = drive or Drive(silence="generate")
    state = generator.start(Person(person_of(landmarks)), generator.hear(Speech(np.zeros(16_000, np.float32))), drive)
    box = lower_face_box(landmarks, (SIZE, SIZE))
    crop = native_crop(ArrayPixels(image), landmarks, box)
    region = lower_face_mask(crop.landmarks, (box[2] - box[0], box[3] - box[1]))
    result = generator.generate([GeneratorItem(crop, 0.5, 0, region, activation)], state)[0]
    assert result.mask.shape == region.shape and result.mask.max() <= 1
    out = image.astype(np.float32)
    part = out[box[1]:box[3], box[0]:box[2]]
    part += (result.mask * region)[..., None] * (result.pixels - part)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def opening_of(backend, image: np.ndarray, landmarks: np.ndarray) -> float:
    points, _ = backend.landmarks([ArrayPixels(image)], [landmarks])
    return float(mouth_opening(points[0]))


def test_an_open_mouth_shuts_and_opens_wider(backend, face: tuple) -> None:
    """Measured on the pictures that come out."""
    image, landmarks = face
    openings = [opening_of(backend, render(face, Fixed(v)), landmarks) for v in (0.0, 0.35, 0.7, 1.05)]
    assert openings[0] < 0.05 < opening_of(backend, image, landmarks)
    assert openings == sorted(openings) and openings[-1] > 0.1


def test_nothing_outside_the_region_moves(face: tuple) -> None:
    image, landmarks = face
    changed = np.abs(render(face, Fixed(1.0)).astype(int) - image).max(-1) > 0
    region = lower_face_mask(landmarks, (SIZE, SIZE)) > 0
    assert changed.any() and not (changed & ~region).any()
    assert not changed[:int(landmarks[29, 1]) - 20].any()             # eyes and brows stay


def test_without_activation_the_picture_is_the_source(face: tuple) -> None:
    image, _ = face
    assert np.array_equal(render(face, Fixed(1.0), activation=0.0), image)
    small = np.abs(render(face, Fixed(1.0), activation=0.05).astype(int) - image).mean()
    assert small < np.abs(render(face, Fixed(1.0), activation=0.5).astype(int) - image).mean()


def test_silence_as_the_user_wants_it(backend, face: tuple) -> None:
    image, landmarks = face
    quiet = Fixed(0.8, activity=0.0)
    assert opening_of(backend, render(face, quiet, drive=Drive(silence="close")), landmarks) < 0.05
    assert np.array_equal(render(face, quiet, drive=Drive(silence="keep")), image)
    assert opening_of(backend, render(face, quiet, drive=Drive(silence="generate")), landmarks) > 0.06
    assert opening_of(backend, render(face, Fixed(0.8), drive=Drive(0.0, "generate")), landmarks) < 0.05


@pytest.mark.parametrize("opening", [0.0, 0.5, 1.0, 1.6])
@pytest.mark.parametrize("width, rounded", [(-1.0, 0.0), (0.0, 0.0), (1.0, 0.0), (-1.0, 1.0)])
def test_the_warp_neither_folds_nor_tears(face: tuple, opening: float, width: float, rounded: float) -> None:
    """The backward map keeps its order along both axes everywhere, in each of its two sheets."""
    _, landmarks = face
    mouth = study_person(landmarks[None], np.zeros(1), np.zeros(1, int))
    frame = place(landmarks, 0, mouth, opening=opening, width=width, closure=0.0, amount=1.0, rounded=rounded)
    fields = solve(frame, landmarks.astype(np.float64), (SIZE, SIZE))
    lips = frame.target_lips
    for name, field in (("upper", fields.upper), ("lower", fields.lower)):
        where = fields.grid.sources(field, (0, 0, SIZE, SIZE))
        rows = np.arange(SIZE)[:, None] * np.ones(SIZE)
        line = np.interp(np.arange(SIZE), np.sort(lips.real[12:17]), lips.imag[12:17][np.argsort(lips.real[12:17])])
        mine = rows < line - 1 if name == "upper" else rows > line + 1
        dy = np.diff(where[..., 1], axis=0)[:, :-1]
        dx = np.diff(where[..., 0], axis=1)[:-1]
        area = dx * dy - np.diff(where[..., 0], axis=0)[:, :-1] * np.diff(where[..., 1], axis=1)[:-1]
        assert area[mine[:-1, :-1]].min() > 0.05, name


def test_what_a_grid_says_of_a_box_is_what_it_says_of_the_whole() -> None:
    """Boxes at the crop's edges and of one pixel among them; without a movement every pixel is its own source."""
    grid = Grid((61, 47), 5)
    still = np.zeros((len(grid.rows), len(grid.columns), 2), np.float32)
    moved = np.random.default_rng(0).normal(0, 2, still.shape).astype(np.float32)
    own = np.dstack(np.meshgrid(np.arange(61.0), np.arange(47.0)))
    assert np.abs(grid.sources(still, (0, 0, 61, 47)) - own).max() < 1e-3
    whole = grid.sources(moved, (0, 0, 61, 47))
    assert np.abs(whole[::-5, ::5] - (grid.nodes + moved)[::-1, :][:10, :13]).max() < 1e-3
    for box in ((0, 0, 1, 1), (60, 46, 61, 47), (3, 44, 58, 47), (7, 9, 8, 30), (0, 0, 61, 47)):
        x0, y0, x1, y1 = box
        assert np.abs(grid.sources(moved, box) - whole[y0:y1, x0:x1]).max() < 1e-3, box


def test_closing_and_shaping_lips(face: tuple) -> None:
    _, landmarks = face
    mouth = study_person(landmarks[None], np.zeros(1), np.zeros(1, int))
    assert inner_gap(mouth.base[0]).max() < 1e-6
    lips = to_complex(landmarks[48:68]) / np.linalg.norm(landmarks[45] - landmarks[36])
    assert inner_gap(close_lips(lips, inner_gap(lips))).max() < 1e-6
    for gap in (0.0, 0.1, 0.2):
        assert abs(inner_gap(shape_lips(mouth.base[0], gap, 0, 0))[2] - gap) < 0.02
    def width(w: float, rounded: float = 0.0) -> float:
        return float(np.ptp(shape_lips(mouth.base[0], 0.05, w, rounded=rounded).real[:12]))
    assert width(-1, 1.0) < 0.8 * width(0) < width(-1) < width(0) < width(1)


def corners(lips: np.ndarray) -> float:
    return float(abs(lips[6] - lips[0]))


def test_the_sources_own_width_and_chin_are_taken_out(face: tuple) -> None:
    """A mouth that the source spreads and narrows, and a chin that it drops behind shut lips, rest where the speech rests."""
    _, landmarks = face
    times = np.arange(100) / 25
    marks = np.repeat(landmarks[None].astype(np.float64), len(times), 0)
    beat = np.sin(2 * np.pi * times / 0.9)
    centre = marks[:, 48:68, 0].mean(1, keepdims=True)
    marks[:, 48:68, 0] = centre + (marks[:, 48:68, 0] - centre) * (1 + 0.12 * beat[:, None])
    marks[:, 6:11, 1] += 8 * beat[:, None]
    mouth = study_person(marks, times, np.arange(len(times)))
    frames = [place(marks[i], i, mouth, opening=0.3) for i in range(len(times))]
    source = np.array([corners(f.to_canonical(to_complex(marks[i, 48:68]))) for i, f in enumerate(frames)])
    target = np.array([corners(f.to_canonical(f.target_lips)) for f in frames])
    chins = np.array([f.to_canonical(f.target_jaw)[8].imag for f in frames])
    assert target.std() < 0.1 * source.std() and abs(target.mean() - source.mean()) < 0.1 * source.mean()
    assert chins.std() < 0.1 * np.std([f.to_canonical(f.source_jaw)[8].imag for f in frames])


def test_the_mouth_of_a_turning_head_turns_along() -> None:
    """The foreshortened mouth of a half profile is no narrow one, and closes as evenly as any."""
    times = np.arange(60) / 25
    yaw = 30 * np.sin(2 * np.pi * times / 2.4)
    marks = 300 + 200 * mean_face(np.stack([yaw, 0 * yaw, 0 * yaw], 1))
    mouth = study_person(marks, times, np.arange(len(times)))
    frames = [place(marks[i], i, mouth, opening=0.0) for i in range(len(times))]
    for i, frame in enumerate(frames):
        lips = frame.to_canonical(to_complex(marks[i, 48:68]))
        target = frame.to_canonical(frame.target_lips)
        assert corners(target) == pytest.approx(corners(lips), rel=0.05)
        assert np.ptp(target[[8, 10]].imag - lips[[8, 10]].imag) < 0.02


def test_a_smile_stays_in_plain_speech_and_gives_way_under_an_oo(backend, face: tuple) -> None:
    """Measured on the pictures that come out."""
    image, landmarks = face
    def width(picture: np.ndarray) -> float:
        points, _ = backend.landmarks([ArrayPixels(picture)], [landmarks])
        return float(np.linalg.norm(points[0][54] - points[0][48]))
    smile, shut, oo = width(image), width(render(face, Fixed(0.1))), width(render(face, Fixed(0.2, width=-0.8, rounded=0.9)))
    assert 0.9 * smile < shut < 1.05 * smile
    assert oo < 0.8 * shut


def test_nothing_is_asked_for_from_under_the_picture(face: tuple) -> None:
    """Where the chin is at the picture's lower edge and rises, what is above the edge is stretched; the lips shut all the same."""
    _, landmarks = face
    mouth = study_person(landmarks[None], np.zeros(1), np.zeros(1, int))
    height = int(landmarks[8, 1]) + 2
    frame = place(landmarks, 0, mouth, opening=0.0)
    fields = solve(frame, landmarks.astype(np.float64), (SIZE, height))
    free = solve(frame, landmarks.astype(np.float64), (SIZE, SIZE))
    for field, other in ((fields.upper, free.upper), (fields.lower, free.lower)):
        where, unheld = fields.grid.sources(field, (0, 0, SIZE, height)), free.grid.sources(other, (0, 0, SIZE, height))
        asked = where[..., 1]
        assert asked.max() <= height - 1 + 0.01 and np.diff(asked, axis=0)[int(landmarks[57, 1]):].min() > 0
        lip = int(frame.target_lips[9].imag)
        assert abs(where - unheld)[lip, 300:340].max() < 3


def test_one_batch_or_ten_give_the_same_pixels(face: tuple) -> None:
    image, landmarks = face
    generator = MorphGenerator(Fixed(0.6))
    track = person_of(landmarks, 6)
    box = lower_face_box(landmarks, (SIZE, SIZE))
    crop = native_crop(ArrayPixels(image), landmarks, box)
    region = lower_face_mask(crop.landmarks, (box[2] - box[0], box[3] - box[1]))
    items = [GeneratorItem(crop, i / 25, i, region) for i in range(6)]
    state = generator.start(Person(track), generator.hear(Speech(np.zeros(16_000, np.float32))), Drive(silence="generate"))
    whole = generator.generate(items, state)
    split = [generator.generate([item], state)[0] for item in items]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(whole, split))


def test_a_reference_fills_the_mouth_of_a_shut_face(backend, face: tuple) -> None:
    """The person's own teeth appear where the frame at hand has none."""
    image, landmarks = face
    shut = render(face, Fixed(0.0))
    points, _ = backend.landmarks([ArrayPixels(shut)], [landmarks])
    opened = FaceCrop(image.astype(np.float32), np.eye(3)[:2], landmarks)
    generator = MorphGenerator(Fixed(0.7))
    box = lower_face_box(points[0], (SIZE, SIZE))
    crop = native_crop(ArrayPixels(shut), points[0], box)
    region = lower_face_mask(crop.landmarks, (box[2] - box[0], box[3] - box[1]))
    brightness = []
    for references in ((), (opened,)):
        heard = generator.hear(Speech(np.zeros(16_000, np.float32)))
        state = generator.start(Person(person_of(points[0]), references), heard, Drive(silence="generate"))
        result = generator.generate([GeneratorItem(crop, 0.2, 0, region)], state)[0]
        x, y = (points[0][62] + [0, 10] - [box[0], box[1]]).astype(int)
        brightness.append(float(result.pixels[y - 4:y + 4, x - 12:x + 12].mean()))
    assert brightness[1] > brightness[0] + 10


def test_the_softness_of_a_picture_is_told(face: tuple) -> None:
    """Blurs add up as squares, the picture's own contrast and a little noise make no difference."""
    image = face[0].astype(np.float32)
    own = softness_of(image)
    for sigma in (1.5, 3.0):
        blurred = cv2.GaussianBlur(image, (0, 0), sigma)
        expected = np.hypot(own, sigma)
        noise = np.random.default_rng(0).normal(0, 1, image.shape).astype(np.float32)
        for picture in (blurred, 0.4 * blurred + 20, blurred + noise):
            assert softness_of(picture) == pytest.approx(expected, rel=0.25)
    assert softness_of(np.zeros((40, 40, 3), np.uint8)) > 5                                       # no edges at all


def test_an_opened_mouth_is_as_soft_as_the_face(face: tuple) -> None:
    """Teeth and dark in a soft picture have no rim as if they were cut out with scissors."""
    image, landmarks = face
    image = cv2.GaussianBlur(image, (0, 0), 3.0)
    x0, y0, x1, y1 = (int(v) for v in (*(landmarks[48:].min(0) - 20), *(landmarks[48:].max(0) + 40)))
    made = render((image, landmarks), Fixed(1.0, rounded=0.3))
    assert np.abs(made[y0:y1, x0:x1].astype(int) - image[y0:y1, x0:x1]).mean() > 5
    assert softness_of(made[y0:y1, x0:x1]) > 0.78 * softness_of(image[y0:y1, x0:x1])


def test_colour_is_matched_at_the_rim_and_left_alone_where_it_matches(face: tuple) -> None:
    image, landmarks = face
    mask = lower_face_mask(landmarks, (SIZE, SIZE))
    old = image.astype(np.float32)
    assert np.array_equal(match_colour(old, old, mask), old)
    tinted = old + np.array([9, -6, 4], np.float32)
    assert np.abs((match_colour(tinted, old, mask) - old)[mask > 0.05]).mean() < 1.0


def test_masks_are_soft_and_shaped_like_the_face(face: tuple) -> None:
    _, landmarks = face
    mask = lower_face_mask(landmarks, (SIZE, SIZE))
    assert mask.dtype == np.float32 and mask.min() == 0 and mask.max() <= 1
    for index in (48, 51, 54, 57, 8, 6, 10):
        x, y = landmarks[index].astype(int)
        assert mask[y, x] > 0.5, index
    for index in (19, 24, 37, 44):
        x, y = landmarks[index].astype(int)
        assert mask[y, x] == 0, index
    assert np.abs(np.diff(mask, axis=0)).max() < 0.2
    x0, y0, x1, y1 = lower_face_box(landmarks, (SIZE, SIZE))
    assert mask.sum() == pytest.approx(mask[y0:y1, x0:x1].sum()) and x0 % 4 == y0 % 4 == 0
    assert lower_face_box(landmarks + 5000, (SIZE, SIZE)) is None


def test_what_is_no_generator_is_explained(tmp_path: Path) -> None:
    assert create_generator("morph").spec.name == "morph"
    strange, text = tmp_path / "strange.safetensors", tmp_path / "text.pth"
    save_file({"first.weight": torch.zeros(1)}, strange)
    text.write_text("not a checkpoint")
    torch.save({"state_dict": {"module.a": torch.zeros(2)}}, tmp_path / "known.pth")
    torch.save({"just": "words"}, tmp_path / "words.pt")
    for name, words in (("nothing", "no generator"), (tmp_path, "folder"), (strange, "first.weight"), (text, "can't be read"),
                        (tmp_path / "known.pth", "begins with a"), (tmp_path / "words.pt", "holds no tensors")):
        with pytest.raises(CheckpointError, match=words) as error:
            create_generator(name)
        assert "\n" not in str(error.value)
