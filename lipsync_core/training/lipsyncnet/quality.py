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
from ...generators.morph.articulation import Articulation
from ...generators.morph.geometry import STABLE, canonical_stable, fit_similarity, to_complex
from ...types import FaceTrack, Pixels
from ..articulation.real import measure

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


# -- what a frame looks like at the first pass -----------------------------------------------------------------------------------

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


# -- sound against picture -------------------------------------------------------------------------------------------------------

GRID_RATE = 50.0
"""Hz, of all curves: the articulation networks' own."""
REACH = 1.0
"""Seconds, either way, within which an offset is looked for."""
LAGS = np.arange(-round(REACH * GRID_RATE), round(REACH * GRID_RATE) + 1) / GRID_RATE
GUARD = 0.2
"""Seconds about the best lag that belong to its peak: a syllable."""
STILLNESS = 0.015
"""Outer-eye distances added to an opening's spread (talking: 0.03 to 0.09), so that the noise of a mouth at rest relates to nothing."""
STILL = 0.01
"""Range (5 % to 95 %) of an opening, outer-eye distances, under which a mouth does not move."""
RELATED, CERTAIN, CERTAIN_SECONDS = 0.35, 0.12, 1.0
"""An offset is sure if the best correlation reaches the first, and stands above every other by the second, or by the third over the
seconds it was measured on where that is more. On seven clips of ../shared/media against their own and against foreign sound: of pieces
of 3 s 0.6 of the right ones are sure (all of them at the right lag) and 0.05 of the wrong ones, of 5 s 0.8 and 0.07, from 8 s on 0.9
and none."""
AT_LEAST = 0.1
"""Correlation of a segment with its sound at the clip's offset: whoever listens while somebody unseen speaks stays below."""
CHOSEN, AHEAD = 0.3, 0.2
"""Of two faces the one speaks whose correlation reaches the first and is ahead of the other's by the second."""


@dataclass(frozen=True)
class Relation:
    """How a mouth's opening goes with the sound, for every lag."""

    curve: np.ndarray
    """float (len(LAGS),): correlation, damped for mouths that hardly move."""
    seconds: float
    """Of picture that it was measured on."""

    @property
    def peak(self) -> float:
        return float(self.curve.max())

    @property
    def offset(self) -> float:
        """Seconds by which the sound comes late (< 0: early), between the lags' 20 ms."""
        best = int(self.curve.argmax())
        shift = 0.0
        if 0 < best < len(LAGS) - 1:
            left, middle, right = self.curve[best - 1:best + 2]
            bend = left - 2 * middle + right
            shift = 0.5 * (left - right) / bend if bend < -1e-9 else 0.0
        return float(LAGS[best]) + float(shift) / GRID_RATE

    @property
    def confidence(self) -> float:
        """By how much the best correlation stands above all that are over `GUARD` away; 0: another lag is as good."""
        away = np.abs(LAGS - LAGS[int(self.curve.argmax())]) > GUARD
        return max(0.0, self.peak - float(self.curve[away].max()))

    @property
    def sure(self) -> bool:
        """Whether `offset` can be relied on. A peak at the rim of what was searched is none."""
        inside = abs(self.offset) < REACH - 1.5 / GRID_RATE
        return inside and self.peak >= RELATED and self.confidence >= max(CERTAIN, CERTAIN_SECONDS / max(self.seconds, 1e-6))

    def near(self, offset: float, reach: float = 0.06) -> float:
        """The best correlation within `reach` seconds of an offset."""
        return float(self.curve[np.abs(LAGS - offset) <= reach + 1e-9].max())


def pooled(relations: Sequence[Relation]) -> Relation:
    """Several relations of one recording as one: the mean, weighted by seconds."""
    seconds = sum(relation.seconds for relation in relations)
    if not seconds:
        return Relation(np.zeros(len(LAGS)), 0.0)
    return Relation(sum(relation.seconds * relation.curve for relation in relations) / seconds, seconds)


@dataclass(frozen=True)
class SoundShape:
    """What the sound asks of a mouth, on a grid of `GRID_RATE` from the clip's first frame on."""

    opening: np.ndarray
    """float32 (m,), 0..1.15."""
    speaking: np.ndarray
    """float32 (m,), 0..1."""


def sound_shape(articulation: Articulation, samples: np.ndarray, sound_start: float, seconds: float) -> SoundShape:
    """Of samples float32 (k,) at 16 kHz that are heard from `sound_start` seconds after the first frame on."""
    grid = np.arange(int(np.ceil(seconds * GRID_RATE)) + 1) / GRID_RATE
    shape = articulation(samples, grid - sound_start)
    heard = (grid >= sound_start) & (grid <= sound_start + len(samples) / 16_000)
    return SoundShape(shape.opening * shape.activity * heard, shape.activity * heard)


@dataclass(frozen=True)
class MouthCurve:
    """A track's opening on the same grid."""

    first: int
    """Place on the grid of the first value."""
    opening: np.ndarray
    """float32 (k,), outer-eye distances in a frame without pose."""
    seen: np.ndarray
    """bool (k,)."""

    def part(self, begin: float, end: float) -> MouthCurve:
        """What lies between two times, seconds."""
        low = int(np.clip(np.ceil(begin * GRID_RATE - 1e-6) - self.first, 0, len(self.opening)))
        high = int(np.clip(np.floor(end * GRID_RATE + 1e-6) + 1 - self.first, low, len(self.opening)))
        return MouthCurve(self.first + low, self.opening[low:high], self.seen[low:high])

    @property
    def range(self) -> float:
        """5 % to 95 % of what was seen."""
        values = self.opening[self.seen]
        return float(np.diff(np.quantile(values, [0.05, 0.95]))[0]) if len(values) else 0.0


def mouth_curve(track: FaceTrack, usable: np.ndarray) -> MouthCurve:
    """A track's opening; `usable` bool (n,): rows that count."""
    first, last = int(np.ceil(track.times[0] * GRID_RATE)), int(np.floor(track.times[-1] * GRID_RATE))
    grid = np.arange(first, max(last, first) + 1) / GRID_RATE
    gap = measure(track.landmarks)["gap"]
    at = track.times[usable]
    seen = np.zeros(len(grid), bool)
    if len(at):
        place = np.clip(np.searchsorted(at, grid), 0, len(at) - 1)
        seen = np.minimum(np.abs(at[place] - grid), np.abs(at[np.maximum(place - 1, 0)] - grid)) < 0.06
    return MouthCurve(first, np.interp(grid, track.times, gap).astype(np.float32), seen)


def relate(mouth: MouthCurve, sound: SoundShape) -> Relation:
    """Correlation at every lag of `LAGS`, positive where the sound comes late (`training.articulation.real.best_lag`'s sign)."""
    seen = np.flatnonzero(mouth.seen)
    if len(seen) < 25:
        return Relation(np.zeros(len(LAGS)), 0.0)
    ours = mouth.opening[seen].astype(np.float64)
    ours -= ours.mean()
    spread = np.sqrt((ours**2).mean() + STILLNESS**2)
    reach = len(LAGS) // 2
    low = mouth.first - reach
    padded = np.pad(sound.opening, (max(0, -low), max(0, mouth.first + len(mouth.opening) + reach - len(sound.opening))))
    origin = mouth.first + max(0, -low)
    curve = np.zeros(len(LAGS))
    for i, lag in enumerate(range(-reach, reach + 1)):
        theirs = padded[origin + lag + seen].astype(np.float64)
        theirs -= theirs.mean()
        size = spread * np.sqrt((theirs**2).mean())
        curve[i] = (ours * theirs).mean() / size if size > 1e-9 else 0.0
    return Relation(curve, len(seen) / GRID_RATE)


def who_speaks(relations: Sequence[Relation], offset: float | None) -> int | None:
    """Which of several faces in one picture goes with the sound; None: unclear. `offset`: the clip's own, where it is known."""
    scores = [relation.near(offset) if offset is not None else relation.near(0.0, 0.3) for relation in relations]
    order = np.argsort(scores)[::-1]
    if scores[order[0]] < CHOSEN or (len(order) > 1 and scores[order[0]] - scores[order[1]] < AHEAD):
        return None
    return int(order[0])


# -- who is who ------------------------------------------------------------------------------------------------------------------

_SHAPE_SPREAD = np.array([0.0095, 0.02, 0.024, 0.0057, 0.023, 0.027, 0.044, 0.006, 0.057, 0.069, 0.083, 0.014, 0.148, 0.031])
_LUMA_SPREAD, _CHROMA_SPREAD = 0.066, 0.057
"""How much the measures of one person differ between two recordings (the larger of halves of clips, and clips of GRID's speaker 1), and
0.15 of how much people differ added in squares."""
NEAR = 1.3
"""Distance of two looks under which they may be one person. On ../shared/media: two halves of a clip 0.3 (median) to 1.4; two clips of
GRID's speaker 1 (500 clips) 1.1, 90 % under 2.1, in odd colours up to 5.3; two people 3.1, 95 % over 1.9, two before the same wall 1.1.
So one person often counts as several, and now and then two as one."""


def look_of(track: FaceTrack, cells: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Float32 (50,): what a person looks like, for `looks_apart`; `rows` bool (n,) count.

    Logarithms of 14 distances of the face in its most frontal half, and the colours of 12 cells above the mouth (`Glance.cells`). Rough:
    it knows a face by its proportions, hair and light, not as a network taught on identities does. Lists of people are better.
    """
    yaw = np.abs(track.pose[:, 0])
    frontal = rows & (yaw <= np.quantile(yaw[rows], 0.5) + 1e-6)
    landmarks = track.landmarks[frontal]
    points = to_complex(landmarks)
    a, b = fit_similarity(canonical_stable(landmarks), points[:, STABLE])
    points = (points - b[:, None]) / a[:, None]
    p = np.median(points.real, 0) + 1j * np.median(points.imag, 0)
    eyes = (p[36:42].mean() + p[42:48].mean()) / 2
    shape = [abs(p[0] - p[16]), abs(p[3] - p[13]), abs(p[5] - p[11]), abs(p[36] - p[39]) + abs(p[42] - p[45]), abs(p[27] - p[33]),
             abs(p[31] - p[35]), abs(p[48] - p[54]), abs(p[39] - p[42]), abs((p[17:22].mean() + p[22:27].mean()) / 2 - eyes),
             abs(p[33] - p[51]), abs(p[37] - p[41]) + abs(p[44] - p[46]), abs(p[21] - p[22]), abs(p[51] - p[62]), abs(p[8] - p[27])]
    colour = np.log(np.median(cells[rows].astype(np.float32), axis=0) + 12)
    luma = colour[:, 1]
    chroma = np.concatenate([colour[:, 0] - luma, colour[:, 2] - luma])
    return np.concatenate([np.log(np.maximum(shape, 1e-3)) / _SHAPE_SPREAD, (luma - luma.mean()) / _LUMA_SPREAD,
                           chroma / _CHROMA_SPREAD]).astype(np.float32)


def looks_apart(looks: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances (n,) of looks (n, 50) from one (50,)."""
    return np.sqrt(np.square(looks - other).mean(-1))


def group_looks(looks: np.ndarray) -> list[int]:
    """For each of looks (n, 50) the number of its group: the nearest group's, if its mean is nearer than `NEAR`, else a new one's.
    Depends on the order, which `prepare` keeps fixed."""
    means = np.zeros((len(looks), looks.shape[1] if looks.ndim == 2 else 0), np.float32)
    counts: list[int] = []
    groups = []
    for look in looks:
        apart = looks_apart(means[:len(counts)], look)
        best = int(apart.argmin()) if len(counts) else -1
        if best < 0 or apart[best] > NEAR:
            best = len(counts)
            counts.append(0)
        counts[best] += 1
        means[best] += (look - means[best]) / counts[best]
        groups.append(best)
    return groups
