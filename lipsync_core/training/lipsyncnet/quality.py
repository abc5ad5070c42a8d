"""What a clip must be like to teach a mouth: which frames, whose face, in time with which sound.

Every limit is a named number here (`Limits`), an argument of `prepare`, and a reason in its report (`REASONS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...faces.activation import ARRIVAL, COVERED
from ...faces.align import steady_matrix
from ...faces.geometry import eye_distance
from ...types import FaceTrack, Pixels

REASONS = {
    "unreadable": "can't be read",
    "error": "failed for a reason that is not the clip's (see report.json)",
    "crashed": "ended the process that worked on it",
    "slow": "too few frames a second",
    "no sound": "no sound track",
    "no face": "nobody in the picture",
    "uncertain": "landmarks not certain",
    "small": "face too small",
    "outside": "face partly outside the picture",
    "covered": "mouth covered",
    "turned": "turned too far",
    "short": "too short between what was dropped, shots and ends",
    "no speech": "nobody speaks",
    "still": "the mouth does not move while somebody speaks",
    "another speaks": "two faces, the other one speaks",
    "two faces": "two faces, unclear who speaks",
    "no relation": "sound and mouth have nothing to do with each other",
    "not speaking": "this mouth does not go with the sound",
    "not measured": "too short to tell whether sound and mouth are in time (--unsure drop)",
    "blurred": "not sharp enough",
    "like a test person": "looks like somebody of the test split",
}
"""Every reason for dropping something, in the order of the report's table."""


@dataclass(frozen=True)
class Limits:
    """What a stretch must be like. Defaults: see the numbers beside them."""

    face: float = 40.0
    """Outer-eye distance, pixels of the source, at least: a crop of 288 px shows 131, so this is enlarged 3.3 times. GRID has 60."""
    yaw: float = 35.0
    pitch: float = 28.0
    """Degrees: a little more than what is dubbed with full effect (`faces.activation`: 32 and 25), so that training surrounds it."""
    score: float = 0.5
    """Confidence of the landmarks."""
    covered: float = COVERED[0]
    """See `faces.occlusion.covered`."""
    speech: float = 0.2
    """Share of a stretch in which somebody must speak. GRID's sentences, with silence before and after, have 0.3 to 0.7."""
    sharpness: float = 0.11
    """See `sharpness`."""
    fps: float = 14.0
    """Frames a second."""
    shortest: float = 2.0
    longest: float = 5.0
    """Seconds of a segment."""
    tell: float = 8.0
    """Seconds after which a clip whose mouth and sound show no relation is dropped. Below, in-sync clips look unrelated too often."""


# -- what a frame looks like at the first pass ---------------------------------------------------------------------------------

GLANCE = 48
"""Side of the crop that is looked at, pixels."""
_UPPER = (slice(2, 25), slice(8, 40))
"""Its part above the nose's tip, without background: what speech does not move."""
_ROWS, _COLUMNS = ((0, 8), (8, 17), (17, 26)), ((4, 14), (14, 24), (24, 34), (34, 44))
"""Cells whose colours are kept: hair and forehead, eyes, cheeks."""
JUMP, STANDS_OUT = 0.4, 3.0
"""Two frames between which a face becomes another: their upper halves differ by more than the first (mean absolute difference, each
with mean 0 and spread 1), and by more than the second times what the frames around do. On the clips of ../shared/media one frame to
the next reaches 0.31 (one nod 0.44), two people differ by 0.8 (95 %: over 0.48)."""


@dataclass(frozen=True)
class Glance:
    """One face of one frame."""

    centre: np.ndarray
    """(2,), mean of the landmarks, picture pixels."""
    jump: float
    """Difference to the same face a frame before; 0 where it was not there."""
    cells: np.ndarray
    """uint8 (12, 3): mean colours of the upper face."""


class Glances:
    """Fed with what `Tracker.feed` returned for every frame; keeps about 0.3 KB a face and frame."""

    def __init__(self) -> None:
        self._seen: dict[int, list[Glance]] = {}
        self._before: list[tuple[np.ndarray, float, np.ndarray]] = []

    def add(self, frame: int, picture: Pixels, faces: Sequence[tuple[np.ndarray, float]]) -> None:
        now, found = [], []
        for shape, _ in faces:
            crop = picture.warp(steady_matrix(shape, GLANCE), (GLANCE, GLANCE))
            centre, size = shape.mean(0), float(eye_distance(shape))
            face = _upper_face(crop)
            near = [(float(np.linalg.norm(centre - other)), before) for other, _, before in self._before]
            away, before = min(near, key=lambda item: item[0], default=(np.inf, face))
            jump = float(np.abs(face - before).mean()) if away < size else 0.0
            cells = np.stack([crop[a:b, c:d].mean((0, 1)) for a, b in _ROWS for c, d in _COLUMNS])
            found.append(Glance(centre, jump, np.rint(cells).astype(np.uint8)))
            now.append((centre, size, face))
        self._seen[frame], self._before = found, now

    def of(self, track: FaceTrack) -> tuple[np.ndarray, np.ndarray]:
        """Jumps float32 (n,) and cells uint8 (n, 12, 3) of a track's rows."""
        jumps, cells = np.zeros(len(track), np.float32), np.zeros((len(track), len(_ROWS) * len(_COLUMNS), 3), np.uint8)
        for row, (frame, centre) in enumerate(zip(track.frames.tolist(), track.landmarks.mean(1))):
            if faces := self._seen.get(frame):
                mine = min(faces, key=lambda face: float(np.linalg.norm(face.centre - centre)))
                jumps[row], cells[row] = mine.jump, mine.cells
        return jumps, cells


def _upper_face(crop: np.ndarray) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[_UPPER].astype(np.float32), (0, 0), 1.0)
    gray -= gray.mean()
    return gray / max(float(gray.std()), 6.0)


def face_changes(jumps: np.ndarray) -> list[int]:
    """Rows (of jumps (n,)) at which another face is in the same place: a cut that tracking followed across."""
    found = []
    for row in np.flatnonzero(jumps > JUMP).tolist():
        around = np.concatenate([jumps[max(0, row - 10):row], jumps[row + 1:row + 11]])
        if not len(around) or jumps[row] > STANDS_OUT * float(np.median(around)):
            found.append(row)
    return found


OUTSIDE = 0.06
"""Outer-eye distances by which landmarks may lie outside the picture: a chin that touches the rim."""
STEADY = 0.2
"""Seconds to both sides over whose median pose, size and place are judged, so that a limit touched once cuts nothing."""


def judge_rows(track: FaceTrack, picture: tuple[int, int], limits: Limits) -> np.ndarray:
    """For each row of a track the reason why it can't be used, '' where it can: str (n,). `picture`: width and height."""
    verdict = np.full(len(track), "", "<U16")
    if not len(track):
        return verdict
    step = max(float(np.median(np.diff(track.times))), 1e-3) if len(track) > 1 else 1.0
    eyes = eye_distance(track.landmarks)
    beyond = np.maximum(-track.landmarks, track.landmarks - (np.array(picture, np.float32) - 1)).max((1, 2)) / np.maximum(eyes, 1e-6)
    yaw, pitch, beyond, eyes = (np.median(_windows(values, round(STEADY / step)), axis=1)
                                for values in (np.abs(track.pose[:, 0]), np.abs(track.pose[:, 1]), beyond, eyes))
    hidden = np.zeros(len(track), bool)
    if track.covered is not None:
        hidden = _windows(track.covered > limits.covered, round(ARRIVAL / step)).any(1)
    for reason, rows in (("turned", (yaw > limits.yaw) | (pitch > limits.pitch)), ("covered", hidden), ("outside", beyond > OUTSIDE),
                         ("small", eyes < limits.face), ("uncertain", track.scores < limits.score)):
        verdict[rows] = reason
    return verdict


def _windows(values: np.ndarray, reach: int) -> np.ndarray:
    """(n, 2 reach + 1): every value (n,) with its neighbours; beyond the ends the last one repeats."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)


def stretches(track: FaceTrack, borders: Sequence[int], verdict: np.ndarray) -> list[tuple[int, int, str]]:
    """Rows [begin, end) of a track in one piece with one verdict, and it. `borders`: frames that begin a shot, or another face; frames
    without this face part stretches too."""
    shots = np.searchsorted(np.asarray(sorted(borders)), track.frames, side="right")
    apart = (np.diff(track.frames) > 1) | (np.diff(shots) > 0) | (verdict[1:] != verdict[:-1])
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(track)]
    return [(a, b, str(verdict[a])) for a, b in zip(edges[:-1], edges[1:])]


def divide(times: np.ndarray, step: float, limits: Limits) -> list[tuple[int, int]]:
    """Rows [begin, end) of segments of like length, `shortest` to `longest` seconds, that a stretch with `times` (n,) is cut into."""
    seconds = float(times[-1] - times[0]) + step
    if seconds < limits.shortest - 1e-6:
        return []
    parts = int(np.ceil(seconds / limits.longest - 1e-6))
    edges = np.searchsorted(times, times[0] + seconds * np.arange(parts + 1) / parts - 1e-6)
    edges[-1] = len(times)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))


DETAIL, CONTRAST = 0.02, 0.1
"""Outer-eye distances: widths of the blurs that leave no fine detail, and none of what tells features of a face apart."""


def sharpness(crop: np.ndarray) -> float:
    """Fine detail of a steady crop RGB uint8 (S, S, 3) as a share of its contrast, eyes to mouth; 0..1, much the same at any S.

    Measured on faces of ../shared/media: 0.26 to 0.33 with 120 px and more between the outer eye corners, 0.21 with 60 (GRID), 0.13 to 0.19
    with 40, 0.10 to 0.12 with 20; blurred by 0.02 of that distance 0.08 to 0.11, by 0.04 0.05 to 0.07. Fooled by noise and blocks, which
    read as detail.
    """
    side = len(crop)
    unit = side / 2.2
    rows, columns = (slice(round(low * side), round(high * side)) for low, high in ((0.18, 0.85), (0.22, 0.78)))
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[rows, columns].astype(np.float32)
    fine = gray - cv2.GaussianBlur(gray, (0, 0), DETAIL * unit)
    # Once more: what is left of a soft edge after one blur is still an edge.
    fine -= cv2.GaussianBlur(fine, (0, 0), DETAIL * unit)
    contrast = gray - cv2.GaussianBlur(gray, (0, 0), CONTRAST * unit)
    return float(np.sqrt((fine**2).mean()) / max(float(np.sqrt((contrast**2).mean())), 1.0))


