"""Labels on disk -> batches for the two face networks.

`label` wrote one `.npz` a clip or still: crops of 256 pixels (JPEG) in which the face fills half, landmarks in crop and
picture coordinates, and thumbnails of whole pictures with boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...faces.crops import LANDMARK_SIZE, landmark_matrix
from .augment import degrade, geometry, mirror, occlude

HELD_OUT = ("testonly_", "liveportrait_d9", "liveportrait_d12", "liveportrait_s29", "grid_lwbsza", "grid_sbia1a",
            "dhlive_000001", "LivePortrait__d9", "LivePortrait__d12", "facenet-pytorch__", "hallo__", "StyleHEAT__")
"""Name parts of clips and stills whose people no network is taught on: the test split."""


def is_held_out(name: str) -> bool:
    return any(part in name for part in HELD_OUT)


@dataclass
class Samples:
    """Crops (n, 256, 256, 3) uint8 RGB, landmarks in them (n, 68, 2), the label file each came from, and how often it counts."""

    crops: list[bytes]
    landmarks: np.ndarray
    clip: np.ndarray
    weight: np.ndarray
    names: list[str]

    def crop(self, i: int) -> np.ndarray:
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(self.crops[i], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def load_samples(labels: Path, held_out: bool) -> Samples:
    """All crops of the label folder on one side of the split."""
    crops, points, clip, weight, names = [], [], [], [], []
    for file in sorted(labels.glob("*.npz")):
        if file.name.endswith(".thumbs.npz"):
            continue
        if is_held_out(file.stem) != held_out:
            continue
        with np.load(file) as data:
            offsets, jpegs, landmarks = data["offsets"], data["jpegs"].tobytes(), data["crop_landmarks"]
        if not len(landmarks):
            continue
        crops += [jpegs[a:b] for a, b in zip(offsets[:-1], offsets[1:])]
        points.append(landmarks)
        clip += [len(names)] * len(landmarks)
        # A long clip of one person teaches less than its length; GRID's speaker 1 is one person in hundreds of files.
        share = 0.02 if file.stem.startswith("grid_s1__") else 1 / np.sqrt(max(len(landmarks), 1))
        weight += [share if len(landmarks) > 3 else 1.0] * len(landmarks)
        names.append(file.stem)
    weights = np.array(weight)
    return Samples(crops, np.concatenate(points), np.array(clip), weights / weights.sum(), names)


def load_backgrounds(labels: Path, held_out: bool) -> list[np.ndarray]:
    """RGB uint8 pictures without a face: thumbnails of faceless frames, and of the rest the part beside the faces."""
    pictures = []
    for file in sorted(labels.glob("*.thumbs.npz")):
        if is_held_out(file.stem) != held_out:
            continue
        for image, boxes in thumbnails(file):
            if not len(boxes):
                pictures.append(image)
                continue
            h, w = image.shape[:2]
            margin = 0.35 * (boxes[:, 2:] - boxes[:, :2]).max()
            left, right = boxes[:, 0].min() - margin, boxes[:, 2].max() + margin
            top = boxes[:, 1].min() - 1.5 * margin
            for x0, y0, x1, y1 in ((0, 0, left, h), (right, 0, w, h), (0, 0, w, top), (0, boxes[:, 3].max() + margin, w, h)):
                if x1 - x0 >= 48 and y1 - y0 >= 48:
                    pictures.append(image[int(y0):int(y1), int(x0):int(x1)])
    return pictures


def thumbnails(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures (h, w, 3) RGB and boxes (k, 4) of a `.thumbs.npz` file."""
    with np.load(file) as data:
        offsets, jpegs = data["offsets"], data["jpegs"].tobytes()
        boxes, owner = data["boxes"], data["owner"]
    result = []
    for i, (a, b) in enumerate(zip(offsets[:-1], offsets[1:])):
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpegs[a:b], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        result.append((image, boxes[owner == i].astype(np.float32)))
    return result


def face_batches(samples: Samples, backgrounds: list[np.ndarray], batch: int, seed: int,
                 negatives: float = 0.15) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Endless (images (b, 128, 128, 3) uint8, points (b, 68, 2) 0..1, is_face (b,) float32)."""
    rng = np.random.default_rng(seed)
    size = LANDMARK_SIZE
    cumulative = np.cumsum(samples.weight)
    while True:
        images = np.empty((batch, size, size, 3), np.uint8)
        points = np.zeros((batch, 68, 2), np.float32)
        is_face = np.ones(batch, np.float32)
        for k in range(batch):
            if rng.random() < negatives:
                is_face[k] = 0
                images[k] = degrade(rng, _negative(rng, samples, backgrounds, size, cumulative))
                continue
            i = min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)
            crop, shape = samples.crop(i), samples.landmarks[i]
            if rng.random() < 0.5:
                crop, shape = np.ascontiguousarray(crop[:, ::-1]), mirror(shape, crop.shape[1])
            if rng.random() < 0.35:
                # As after a detection: an upright, looser crop of a head that may be tilted.
                box = np.concatenate([shape.min(0), shape.max(0)])
                matrix = geometry(rng, landmark_matrix(box), size, 16, 0.12, 0.06)
            else:
                matrix = geometry(rng, landmark_matrix(shape), size, 6, 0.07, 0.03)
            if (factor := np.sqrt(abs(np.linalg.det(matrix[:, :2])))) < 0.5:
                matrix *= 0.5 / factor
            image = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            if rng.random() < 0.22:
                occlude(rng, image)
            images[k] = degrade(rng, image)
            points[k] = (shape @ matrix[:, :2].T + matrix[:, 2]) / (size - 1)
        yield images, points, is_face


def _negative(rng: np.random.Generator, samples: Samples, backgrounds: list[np.ndarray], size: int,
              cumulative: np.ndarray) -> np.ndarray:
    """A crop that is not a face in its place: background, or a face far off the middle or of the wrong size."""
    if backgrounds and rng.random() < 0.6:
        picture = backgrounds[int(rng.integers(len(backgrounds)))]
        side = int(rng.uniform(0.15, 1.0) * min(picture.shape[:2]))
        side = max(side, min(24, *picture.shape[:2]))
        y = int(rng.integers(0, picture.shape[0] - side + 1))
        x = int(rng.integers(0, picture.shape[1] - side + 1))
        crop = cv2.resize(picture[y:y + side, x:x + side], (size, size), interpolation=cv2.INTER_LINEAR)
        return cv2.rotate(crop, int(rng.integers(0, 3))) if rng.random() < 0.3 else crop
    i = min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)
    matrix = landmark_matrix(samples.landmarks[i])
    kind = rng.random()
    if kind < 0.5:
        # Half a crop aside, at least.
        angle = rng.uniform(0, 2 * np.pi)
        matrix[:, 2] += size * rng.uniform(0.5, 0.9) * np.array([np.cos(angle), np.sin(angle)])
    else:
        factor = rng.uniform(2.2, 4.0) if kind < 0.8 else rng.uniform(0.2, 0.4)
        matrix = matrix * factor
        matrix[:, 2] += (1 - factor) * (size - 1) / 2
    return cv2.warpAffine(samples.crop(i), matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def scene_batches(labels: Path, batch: int, seed: int, size: int = 320) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Endless (images (b, size, size, 3) uint8, boxes of each image [(k, 4)]) of training scenes.

    A scene is a whole picture scaled and shifted at random, so that its faces get any size from 12 to 300 pixels, now and then
    two pictures side by side, or one without any face.
    """
    rng = np.random.default_rng(seed)
    scenes: list[tuple[np.ndarray, np.ndarray]] = []
    empty: list[np.ndarray] = []
    for file in sorted(labels.glob("*.thumbs.npz")):
        if not is_held_out(file.stem):
            found = thumbnails(file)
            scenes += [(image, boxes) for image, boxes in found if len(boxes)]
            empty += [image for image, boxes in found if not len(boxes)]
    backgrounds = load_backgrounds(labels, held_out=False)
    while True:
        images, boxes = np.empty((batch, size, size, 3), np.uint8), []
        for k in range(batch):
            choice = rng.random()
            if choice < 0.12 and (empty or backgrounds):
                pool = empty if empty and rng.random() < 0.5 else backgrounds
                image, found = _scene(rng, pool[int(rng.integers(len(pool)))], np.zeros((0, 4), np.float32), size, None)
            else:
                picture, faces = scenes[int(rng.integers(len(scenes)))]
                image, found = _scene(rng, picture, faces, size, backgrounds)
                if choice > 0.75:
                    other, faces = scenes[int(rng.integers(len(scenes)))]
                    second, more = _scene(rng, other, faces, size, backgrounds)
                    cut = int(rng.integers(size // 4, 3 * size // 4))
                    image[:, cut:] = second[:, cut:]
                    found = np.concatenate([_visible(found, 0, cut, size), _visible(more, cut, size, size)])
            if rng.random() < 0.15:
                image = np.ascontiguousarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5)))
            images[k] = degrade(rng, image)
            boxes.append(found)
        yield images, boxes


def _visible(boxes: np.ndarray, x0: int, x1: int, height: int) -> np.ndarray:
    """Boxes clipped to columns x0..x1; those of which under 55 % is left are dropped."""
    if not len(boxes):
        return boxes
    clipped = boxes.copy()
    clipped[:, [0, 2]] = np.clip(boxes[:, [0, 2]], x0, x1)
    clipped[:, [1, 3]] = np.clip(boxes[:, [1, 3]], 0, height)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1])
    return clipped[left > 0.55 * area]


def _scene(rng: np.random.Generator, picture: np.ndarray, boxes: np.ndarray, size: int,
           backgrounds: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    h, w = picture.shape[:2]
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
        boxes = np.stack([w - boxes[:, 2], boxes[:, 1], w - boxes[:, 0], boxes[:, 3]], 1) if len(boxes) else boxes
    if len(boxes):
        one = boxes[int(rng.integers(len(boxes)))]
        face = float(max(one[2:] - one[:2]))
        wanted = np.exp(rng.uniform(np.log(12), np.log(290)))
        scale = min(wanted / face, 3.0)
        middle = (one[:2] + one[2:]) / 2
        at = rng.uniform(0.1, 0.9, 2) * size if wanted < 0.5 * size else rng.uniform(0.4, 0.6, 2) * size
    else:
        scale, middle, at = size / min(h, w) * np.exp(rng.uniform(-0.5, 1.0)), np.array([w, h]) / 2, np.array([size, size]) / 2
    angle = np.deg2rad(rng.normal(0, 12))
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.hstack([rotation, (at - rotation @ middle)[:, None]])
    if scale < 0.5:
        factor = int(0.5 / scale) + 1
        picture = cv2.resize(picture, (max(1, w // factor), max(1, h // factor)), interpolation=cv2.INTER_AREA)
        undo = np.diag([w / picture.shape[1], h / picture.shape[0]])
        small = np.hstack([matrix[:, :2] @ undo, matrix[:, 2:]])
    else:
        small = matrix
    border = cv2.BORDER_REFLECT if not len(boxes) else cv2.BORDER_CONSTANT
    image = cv2.warpAffine(picture, small, (size, size), flags=cv2.INTER_LINEAR, borderMode=border,
                           borderValue=rng.integers(0, 256, 3).tolist())
    if len(boxes) and backgrounds and rng.random() < 0.5:
        outside = cv2.warpAffine(np.ones(picture.shape[:2], np.uint8), small, (size, size), flags=cv2.INTER_NEAREST) == 0
        filler = backgrounds[int(rng.integers(len(backgrounds)))]
        image[outside] = cv2.resize(filler, (size, size), interpolation=cv2.INTER_LINEAR)[outside]
    if not len(boxes):
        return image, boxes
    # A face stays about as wide and high when the picture turns.
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    moved = np.concatenate([centres - half, centres + half], 1).astype(np.float32)
    return image, _visible(moved, 0, size, size)
