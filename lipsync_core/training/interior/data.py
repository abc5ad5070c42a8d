"""Open mouths out of tracked clips and stills: pictures in the network's window, with what `describe` is told of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...faces.pose import estimate_pose
from ...generators.morph.geometry import JAW, LIPS, fit_similarity, inner_gap, study_person, to_complex
from ...generators.morph.interior import colours_of
from ...generators.morph.interior_layout import CONDITIONS, MAPS, SHAPES
from ...generators.morph.interior_net import SIZE, Colours, describe, light_of, tones, window_of
from ...generators.morph.opening import Opening, opening_of

log = logging.getLogger(__name__)

FOLDERS = ("talking", "expressions", "grid_s1", "stills")
TEST_ONLY = ("testonly_", "deepface__", "face_recognition__", "EDTalk__leijun", "Real3DPortrait__Macron", "face-detection__",
             "AniPortrait__Aragaki", "mimictalk_address", "edtalk_address", "dfrf_french")
"""Never taught: what the media's README keeps for tests (the last three: for articulation, too), and the other pictures of public
figures."""
HELD_OUT = ("grid_pwij3p", "grid_lbbc2a", "liveportrait_s20",
            "cognitive-services-sample-data-files__Family2",
            "cognitive-services-sample-data-files__Family3")
"""People who might be taught, kept for measuring."""
NO_MOUTHS = ("astorfi_sample",)
"""Files whose tracks follow something else."""
LEAST_GAP, LEAST_SCALE, MOST_TURN = 0.022, 42, (22, 25)
"""Smallest opening (canonical), outer-eye distance (pixels), largest yaw and pitch (degrees) of a usable picture."""
MOST = {"grid_s1": 3, "talking": 110, "expressions": 110, "stills": 6}
"""Pictures of one file at the most."""
MOST_FILES = {"grid_s1": 50}


def person_of(name: str) -> str:
    """FOLDER__STEM -> whose picture it is, as far as names tell."""
    folder, stem = name.split("__", 1)
    if folder == "grid_s1":
        return "grid_s1"
    if match := re.search(r"liveportrait_+([ds]\d+)$", stem.lower()):
        return "liveportrait_" + match[1]
    return re.sub(r"\d+$", "", stem) if "Family" in stem else stem


def is_taught(name: str) -> bool:
    stem = name.split("__", 1)[1]
    return not stem.startswith(TEST_ONLY) and not person_of(name).startswith(HELD_OUT) and not stem.startswith(HELD_OUT)


def choose(features: np.ndarray, count: int) -> list[int]:
    """Up to `count` rows of (n, d) that are far from each other: the first is the one furthest from the mean."""
    if not len(features):
        return []
    chosen = [int(np.argmax(((features - features.mean(0)) ** 2).sum(1)))]
    far = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(features)) and far.max() > 0.3:
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, ((features - features[chosen[-1]]) ** 2).sum(1))
    return chosen


@dataclass(frozen=True)
class Mouth:
    """One open mouth, light and all."""

    picture: np.ndarray
    """RGB uint8 (h, w, 3): the network's window over the frame."""
    lips: np.ndarray
    """complex (20,), canonical."""
    seam: float
    colours: Colours
    scale: float
    """Outer-eye distance in pixels of the frame: how fine the picture can be."""
    sharpness: float
    turn: np.ndarray
    """yaw and pitch, degrees."""


def cut(image: np.ndarray, a: complex, b: complex, lips: np.ndarray, seam: float, turn: np.ndarray, jaw: np.ndarray) -> Mouth:
    """From an RGB frame; a, b map canonical points to its pixels; `turn` its yaw and pitch, `jaw` (17,) complex pixels."""
    opening = opening_of(lips)
    x, y = window_of(opening, seam).points()
    z = a * (x + 1j * y[:, None]) + b
    step = abs(z[0, 1] - z[0, 0])
    pad = int(abs(a)) + 8
    x0, y0 = max(0, int(z.real.min()) - pad), max(0, int(z.imag.min()) - pad)
    near = np.ascontiguousarray(image[y0:int(z.imag.max()) + pad, x0:int(z.real.max()) + pad])
    colours = colours_of(near.astype(np.float32), a * lips + b - (x0 + 1j * y0), jaw - (x0 + 1j * y0))
    if step > 1.2:
        near = cv2.GaussianBlur(near, (0, 0), 0.45 * step)
    picture = cv2.remap(near, (z.real - x0).astype(np.float32), (z.imag - y0).astype(np.float32), cv2.INTER_CUBIC,
                        borderMode=cv2.BORDER_REPLICATE)
    inside = (y[:, None] > np.interp(x, opening.x, opening.top)) & (y[:, None] < np.interp(x, opening.x, opening.bottom))
    inside &= (x > opening.x[0]) & (x < opening.x[-1])
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))[inside].mean() / light_of(colours.skin) if inside.any() else 0.0
    return Mouth(picture, lips, seam, colours, abs(a), float(detail), turn)


def open_mouths(file: Path, landmarks: np.ndarray, times: np.ndarray, most: int, still: bool) -> Iterator[Mouth]:
    """The open mouths of a tracked file, spread over its shapes."""
    rows = np.flatnonzero(np.isfinite(landmarks).all((1, 2)))
    if not len(rows):
        return
    parts = [[row] for row in rows] if still else [rows]
    plan: dict[int, list[tuple]] = {}
    for part in parts:
        marks = landmarks[part].astype(np.float64)
        mouth = study_person(marks, times[part], np.arange(len(part)))
        points = to_complex(marks)
        a, b = fit_similarity(mouth.stable, points[:, np.r_[27:32, 33, 35:48]])
        lips = (points[:, LIPS] - b[:, None]) / a[:, None]
        gap = inner_gap(lips)[:, 2] - mouth.closed_gap
        pose = estimate_pose(marks)
        seam = (mouth.base[:, 14].imag + mouth.base[:, 18].imag) / 2
        usable = (gap > LEAST_GAP) & (np.abs(a) > LEAST_SCALE) & (np.abs(pose[:, 0]) < MOST_TURN[0]) & (np.abs(pose[:, 1]) < MOST_TURN[1])
        where = np.flatnonzero(usable)
        width = lips[where, 16].real - lips[where, 12].real
        features = np.stack([gap[where] / 0.015, width / 0.03, (lips[where, 14].imag - seam[where]) / 0.01, pose[where, 0] / 6,
                             pose[where, 1] / 6, times[part][where] / 1.5], 1)
        for i in where[choose(features, most)]:
            found = complex(a[i]), complex(b[i]), lips[i], float(seam[i]), pose[i, :2], points[i, JAW]
            plan.setdefault(0 if still else int(part[i]), []).append(found)
    if still:
        image = cv2.imread(str(file))[:, :, ::-1]
        yield from (cut(image, *p) for p in plan.get(0, [])[:most])
        return
    video, index = cv2.VideoCapture(str(file)), 0
    while plan and index <= max(plan):
        ok, image = video.read()
        if not ok:
            break
        for p in plan.get(index, []):
            yield cut(image[:, :, ::-1], *p)
        index += 1


def prepare(media: Path, tracks: Path, data: Path, limit: int | None = None) -> int:
    """Write `data` (one .npz) with the open mouths of all tracked files; returns their number."""
    mouths: list[Mouth] = []
    names: list[str] = []
    used = dict.fromkeys(FOLDERS, 0)
    for track in sorted(tracks.glob("*__*.npz"), key=lambda f: f.stem[::-1]):         # grid_s1: all kinds of sentences first
        folder, stem = track.stem.split("__", 1)
        if folder not in FOLDERS or used[folder] >= min(MOST_FILES.get(folder, 10**6), limit or 10**6):
            continue
        file = next((f for f in (media / folder).glob(f"{glob_escape(stem)}.*")), None)
        if file is None or stem in NO_MOUTHS:
            continue
        used[folder] += 1
        stored = np.load(track)
        found = list(open_mouths(file, stored["landmarks"], stored["times"], MOST[folder], folder == "stills"))
        mouths += found
        names += [track.stem] * len(found)
        log.info("%s: %d open mouths", track.stem, len(found))
    data.parent.mkdir(parents=True, exist_ok=True)
    with data.open("wb") as out:
        np.savez_compressed(out, pictures=np.array([m.picture for m in mouths], np.uint8).reshape(-1, SIZE[1], SIZE[0], 3),
                            lips=np.array([m.lips for m in mouths], complex).reshape(-1, 20), names=np.array(names, str),
                            seams=np.array([m.seam for m in mouths]), scales=np.array([m.scale for m in mouths]),
                            colours=np.array([(m.colours.lips, m.colours.skin) for m in mouths], np.float32).reshape(-1, 2, 3),
                            sharpness=np.array([m.sharpness for m in mouths]), turns=np.array([m.turn for m in mouths]).reshape(-1, 2))
    return len(mouths)


@dataclass(frozen=True)
class Samples:
    """The mouths of one side of the split, each as it is and mirrored (row n + i is row i mirrored)."""

    planes: np.ndarray
    """float16 (2n, MAPS, h, w)."""
    numbers: np.ndarray
    """float32 (2n, CONDITIONS), brightness and hues as they were."""
    targets: np.ndarray
    """uint8 (2n, 3, h, w)."""
    colours: np.ndarray
    """float32 (2n, 2, 3), mean RGB of the lips and of the skin."""
    people: np.ndarray
    """Index (2n,) into `who`; people in the mirror are people of their own."""
    who: list[str]
    turns: np.ndarray
    """float32 (2n, 2): yaw and pitch, degrees."""
    weights: np.ndarray
    """float64 (2n,), how often a mouth is to be drawn; sums to 1."""
    fine: np.ndarray
    """bool (2n,): taken from a large, sharp picture."""
    openings: list[Opening]
    seams: np.ndarray

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """planes, numbers, pictures over the brightness of the skin (all float32); with `rng` under another light."""
        pictures, colours = self.targets[rows].astype(np.float32), self.colours[rows]
        if rng is not None:
            # Everything between grey and gaudy, brighter and darker, warmer and cooler.
            gain = np.exp(rng.normal(0, 0.15, (len(rows), 1)) + rng.normal(0, 0.08, (len(rows), 3))).astype(np.float32)
            vivid = np.clip(rng.uniform(-0.15, 2.0, len(rows)), 0, 1.15).astype(np.float32)
            vivid = np.where(rng.random(len(rows)) < 0.4, np.minimum(vivid, 1.15), 1).astype(np.float32)
            mean = pictures.mean(1, keepdims=True)
            pictures = np.maximum(mean + vivid[:, None, None, None] * (pictures - mean), 0) * gain[..., None, None]
            mean = colours.mean(2, keepdims=True)
            colours = np.maximum(mean + vivid[:, None, None] * (colours - mean), 4) * gain[:, None]
        numbers = self.numbers[rows].copy()
        numbers[:, SHAPES:] = [tones(Colours(*c)) for c in colours]
        if rng is not None:
            numbers += rng.normal(0, 0.1, numbers.shape)
        light = np.array([light_of(skin) for _, skin in colours], np.float32)
        return self.planes[rows].astype(np.float32), numbers, pictures / light[:, None, None, None]


FINE_SCALE, FINE_DETAIL = 95, 0.03
MIRRORED = "~"
MIRROR_LIPS = np.array([6, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 16, 15, 14, 13, 12, 19, 18, 17])


def load_samples(data: Path, taught: bool) -> Samples:
    stored = np.load(data)
    names = [str(n) for n in stored["names"]]
    keep = np.array([i for i, n in enumerate(names) if is_taught(n) == taught], int)
    who = sorted({person_of(names[i]) for i in keep})
    people = np.array([who.index(person_of(names[i])) for i in keep], int)
    lips, seams, colours, pictures = (stored[k][keep] for k in ("lips", "seams", "colours", "pictures"))
    lips = np.concatenate([lips, -lips[:, MIRROR_LIPS].conj()])
    seams, colours, people = np.tile(seams, 2), np.tile(colours, (2, 1, 1)), np.concatenate([people, people + len(who)])
    turns = np.concatenate([stored["turns"][keep], stored["turns"][keep] * [-1, 1]]).astype(np.float32)
    pictures = np.concatenate([pictures, pictures[:, :, ::-1]]).transpose(0, 3, 1, 2)
    openings = [opening_of(row) for row in lips]
    planes = np.empty((len(lips), MAPS, SIZE[1], SIZE[0]), np.float16)
    numbers = np.empty((len(lips), CONDITIONS), np.float32)
    for i, opening in enumerate(openings):
        planes[i], numbers[i] = describe(opening, float(seams[i]), Colours(*colours[i]), window_of(opening, float(seams[i])))
    # People count for more the more they show, but no one for everything; wide mouths are rare and matter.
    count = np.bincount(people, minlength=2 * len(who))
    gap = np.array([o.gap for o in openings])
    fine = (np.tile(stored["scales"][keep], 2) > FINE_SCALE) & (np.tile(stored["sharpness"][keep], 2) > FINE_DETAIL)
    weights = count[people] ** -0.5 * (0.5 + gap / 0.1) * np.where(fine, 2.5, 1.0)
    who = who + [name + MIRRORED for name in who]
    return Samples(planes, numbers, np.ascontiguousarray(pictures), colours, people, who, turns, weights / max(weights.sum(), 1e-9), fine,
                   openings, seams)


def glob_escape(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)
