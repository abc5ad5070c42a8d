"""What dubbing does to the pixels: sharpness, seam, colour, flicker, and what lies outside.

The source is the yardstick everywhere: the same window, the same mask and the same filter on both frames, and a ratio. Windows are
native pixels, so that nothing is blurred by looking; only flicker needs crops that hold the head still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..compositing import lower_face_box, lower_face_mask
from ..faces.align import similarity, transform
from ..media import FrameView
from ..types import FaceTrack
from .curves import CANONICAL, LIPS, STEADY

GROW = 0.06
"""Room about the region, outer-eye distances, so that what lies just outside the rim is seen too."""
FEATHER = 0.22
"""Width of the mask's slope (`lower_face_mask`'s own default), outer-eye distances."""
SEAM_UNIT = 128
"""Outer-eye distance in pixels to which larger faces are shrunk before a seam is looked for: seams of small generators are
enlarged with their pictures."""
BAND = 2.0
"""Width in pixels of the strips parallel to the rim in which the seam is looked for: a hard edge fills one of them."""
BANDS = 2 + round(FEATHER * SEAM_UNIT / BAND)
"""Strips, counted from just outside the outline; narrow faces fill fewer."""
SECTORS = 8
"""Pieces of the rim, so that a strong edge behind one of them (collar, hair) hides no seam in the others."""
FLOOR = 0.5
"""Grey levels a pixel, added to both gradients of a ratio: below it nothing is visible, and a flat or black background has none."""
DETAIL_FLOOR = 0.05
"""The same for fine detail, grey levels."""
STILL_SHARE = 0.25
"""Flicker is read on this share of the pairs of frames, those whose mouths move least."""
STILL_PAIRS = 6
"""Fewer pairs than this give no number."""
STILL_LIMIT = 0.02
"""Outer-eye distances a frame: what moves more is not still, however little there is to choose from."""
CROP = 192
"""Side of the canonical crop, pixels, at most."""


@dataclass
class FrameNumbers:
    """What is kept of one frame; NaN where it could not be measured."""

    sharpness: float = math.nan
    sharpness_mouth: float = math.nan
    sharpness_beside: float = math.nan
    seam: np.ndarray = field(default_factory=lambda: np.full(BANDS, np.nan))
    colour: float = math.nan
    still: tuple[float, float] = (math.nan, math.nan)
    """Mean absolute difference to the frame before, dub and source."""
    changed: bool = False
    """Any sample within the region differs from the source's."""


def luma(rgb: np.ndarray) -> np.ndarray:
    """BT.601 luma, float32 0..255, of RGB (h, w, 3)."""
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _gradient(image: np.ndarray) -> np.ndarray:
    """Magnitude of the luma's slope, grey levels a pixel."""
    dx, dy = (cv2.Sobel(image, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return np.hypot(dx, dy)


def lip_region(points: list[np.ndarray], size: tuple[int, int], grow: float) -> np.ndarray:
    """bool (h, w): the mouths of landmarks (68, 2) each, filled, widened by `grow` pixels."""
    canvas = np.zeros(size[::-1], np.uint8)
    for shape in points:
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.rint(shape[LIPS]).astype(np.int32)), 1)
    return cv2.distanceTransform(1 - canvas, cv2.DIST_L2, 5) <= grow


def lip_ring(shape: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (h, w): the lips of landmarks (68, 2), without what lies between them."""
    outer, inner = np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(outer, [np.rint(shape[48:60]).astype(np.int32)], 1)
    cv2.fillPoly(inner, [np.rint(shape[60:68]).astype(np.int32)], 1)
    return (outer > 0) & (inner == 0)


def sharpness(dub: np.ndarray, source: np.ndarray, where: tuple[np.ndarray, np.ndarray], unit: float) -> float:
    """Fine detail of the dub's luma over the source's, where `where` (h, w), one for each, are True; mean absolute difference to a
    blurred copy (sigma 1 % of the outer-eye distance `unit`, at least 1 pixel). A ratio of amplitudes.

    1 is as sharp as the source, 0.9 to 1.1 is good. Fooled by lossy encoding of the dub, which reads as blur (compare lossless
    ones), and by noise, ringing and blocking, which read as sharpness. The skin's number leaves
    out lips and inner mouth, because their content changes rightly (an open mouth has teeth). The lips' number takes each clip's own
    lips without what is between them; it is looser, because lips that are stretched or pressed have other edges. The third number
    is of the cheeks above the region, where dubbing changes nothing: what encoding alone did to skin.
    """
    if min(int(part.sum()) for part in where) < 30:
        return math.nan
    sigma = max(1.0, 0.01 * unit)
    fine = [float(np.abs(image - cv2.GaussianBlur(image, (0, 0), sigma))[part].mean()) for image, part in zip((dub, source), where)]
    return (fine[0] + DETAIL_FLOOR) / (fine[1] + DETAIL_FLOOR)


def _medians(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The median of the values (n,) of each cell of the rim, (BANDS * SECTORS,); NaN for cells with fewer than 5."""
    order = np.lexsort((values, cell))
    begins = np.searchsorted(cell[order], np.arange(BANDS * SECTORS + 1))
    counts = np.diff(begins)
    middle = np.minimum(begins[:-1] + counts // 2, max(len(values) - 1, 0))
    return np.where(counts >= 5, values[order][middle] if len(values) else np.nan, np.nan)


def seam(dub: np.ndarray, source: np.ndarray, mask: np.ndarray, unit: float) -> np.ndarray:
    """Luma gradient of the dub over the source's own in `BANDS` narrow strips along the rim of `mask`, (BANDS,), NaN where there is
    none: medians over each of eight pieces of a strip, averaged. The clip's number is the worst strip's median over time.

    1 is invisible: the skin's own gradient and no more; up to 1.1 is good, 2 is an edge. Below 1 the rim is smoother than the
    skin was. Fooled by a jaw line or a beard that moves within the strip, by a step so soft that it is a tint (see `colour_shift`),
    and by lossy encoding, which lowers all of it.
    """
    if unit > SEAM_UNIT:
        size = tuple(max(2, round(n * SEAM_UNIT / unit)) for n in mask.shape[::-1])
        dub, source, mask = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (dub, source, mask))
        unit = SEAM_UNIT
    inside = (mask > 1e-3).astype(np.uint8)
    away = cv2.distanceTransform(np.pad(inside, 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    away = away - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    ys, xs = np.nonzero((away > -BAND) & (away < FEATHER * unit + BAND))
    band = np.minimum(((away[ys, xs] + BAND) / BAND).astype(int), BANDS - 1)
    middle = np.argwhere(inside).mean(0) if inside.any() else np.zeros(2)
    sector = ((np.arctan2(ys - middle[0], xs - middle[1]) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    cell = band * SECTORS + sector
    new, old = (_medians(_gradient(image)[ys, xs], cell) for image in (dub, source))
    ratios = ((new + FLOOR) / (old + FLOOR)).reshape(BANDS, SECTORS)
    known = np.isfinite(ratios)
    counts, sums = known.sum(1), np.where(known, ratios, 0).sum(1)
    return np.where(counts >= SECTORS // 2, sums / np.maximum(counts, 1), np.nan)


def colour_shift(dub: np.ndarray, source: np.ndarray, mask: np.ndarray, unit: float) -> float:
    """Mean absolute difference, 0..255, of the dub's and the source's low-passed RGB (h, w, 3) just inside the rim of `mask`.

    0 is perfect, up to 2 can't be seen (a just noticeable difference is about 2.3 CIELAB units: Mahy, Van Eycken, Oosterlinck
    1994). Fooled by a jaw that moves before another background: then it is the picture that changed, not its tint.
    """
    rim = (mask > 0.02) & (mask < 0.5)
    if rim.sum() < 50:
        return math.nan
    difference = cv2.GaussianBlur(dub - source, (0, 0), max(1.0, 0.04 * unit))
    return float(np.abs(difference[rim]).mean())


class Outside:
    """Adds up, over the clip, how equal the two pictures are outside the region, in the files' own samples."""

    def __init__(self) -> None:
        self.samples = self.equal = 0
        self.absolute = self.square = 0.0

    def add(self, dub: FrameView, source: FrameView, shapes: list[np.ndarray]) -> bool:
        """One frame, `shapes` the landmarks of everybody who is dubbed in it; returns whether anything within differs."""
        region = np.zeros((source.height, source.width), np.uint8)
        for shape in shapes:
            box = lower_face_box(shape, (source.width, source.height), grow=GROW)
            if box is not None:
                x0, y0, x1, y1 = box
                mask = lower_face_mask(shape - [x0, y0], (x1 - x0, y1 - y0))
                # A chroma sample stands for its neighbours too.
                region[y0:y1, x0:x1] |= cv2.dilate((mask > 0).astype(np.uint8), np.ones((9, 9), np.uint8))
        changed = False
        if dub.layout == source.layout:
            stored = np.rot90(region, -source.turns) if source.turns else region
            pairs = [(dub.samples(i), source.samples(i)) for i in range(len(source.layout.components))]
            scale = 255 / source.layout.peak / (1 << source.layout.shift)
        else:
            box = (0, 0, source.width, source.height)
            stored, scale = region, 1.0
            pairs = [(a, b) for a, b in zip(*(np.moveaxis(np.rint(view.region(box)), -1, 0) for view in (dub, source)))]
        for a, b in pairs:
            sy, sx = (-(-n // m) for n, m in zip(stored.shape, b.shape))
            own = stored
            if sx > 1 or sy > 1:
                padded = np.pad(stored, ((0, b.shape[0] * sy - stored.shape[0]), (0, b.shape[1] * sx - stored.shape[1])), mode="edge")
                own = padded.reshape(b.shape[0], sy, b.shape[1], sx).max((1, 3))
            difference = cv2.absdiff(np.ascontiguousarray(a), np.ascontiguousarray(b))
            within = own > 0
            total = int(within.size - within.sum())
            hit = np.flatnonzero(difference)                          # a lossless dub has few
            out = difference.ravel()[hit][~within.ravel()[hit]].astype(np.float64) * scale
            changed |= len(out) < len(hit)
            self.samples += total
            self.equal += total - len(out)
            self.absolute += float(out.sum())
            self.square += float((out * out).sum())
        return changed

    def numbers(self) -> dict[str, float | None]:
        """Outside the region, over all frames and samples: share that is exactly equal (%), mean absolute difference (of 255), PSNR.

        A lossless dub has 100 %, 0, and no PSNR (null: nothing differs); an H.264 dub at CRF 18 about 42 to 46 dB. Fooled by two files
        whose frames don't belong together: then everything differs (see --source-start).
        """
        if not self.samples:
            return {"outside_equal": None, "outside_difference": None, "outside_psnr": None}
        mean = self.square / self.samples
        return {"outside_equal": 100 * self.equal / self.samples, "outside_difference": self.absolute / self.samples,
                "outside_psnr": 10 * math.log10(255**2 / mean) if mean > 0 else None}


def _cheeks(dub: FrameView, source: FrameView, shape: np.ndarray) -> float:
    """`sharpness` of the skin between the eyes and the region of landmarks (68, 2)."""
    unit = float(np.linalg.norm(shape[45] - shape[36]))
    down = shape[8] - shape[27]
    lids = shape[[36, 41, 40, 39, 42, 47, 46, 45]] + 0.08 * unit * down / max(float(np.linalg.norm(down)), 1e-6)
    outline = np.concatenate([shape[[0]], lids[:4], shape[[28]], lids[4:], shape[[16, 14, 29, 2]]])
    limit = (source.width, source.height)
    x0, y0 = (int(np.clip(np.floor(v), 0, n - 1)) for v, n in zip(outline.min(0), limit))
    x1, y1 = (int(np.clip(np.ceil(v) + 1, 1, n)) for v, n in zip(outline.max(0), limit))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return math.nan
    where = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(where, [np.rint(outline - [x0, y0]).astype(np.int32)], 1)
    region = lower_face_mask(shape - [x0, y0], (x1 - x0, y1 - y0)) > 0
    skin = (where > 0) & (cv2.dilate(region.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    return sharpness(luma(dub.region((x0, y0, x1, y1))), luma(source.region((x0, y0, x1, y1))), (skin, skin), unit)


class PixelMeter:
    """Fed the frames of both clips in step; keeps the last canonical crop and a few numbers a frame."""

    def __init__(self) -> None:
        self.frames: list[FrameNumbers] = []
        self.outside = Outside()
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._track: FaceTrack | None = None
        self._side = 0

    def feed(self, dub: FrameView, source: FrameView, rows: list[tuple[FaceTrack, int]],
             mouths: tuple[np.ndarray, np.ndarray] | None) -> None:
        """A frame: `rows` the people dubbed in it, with rows of their tracks, the measured one first (may be empty); `mouths` the
        landmarks (68, 2) measured in dub and source, or None."""
        shapes = [track.landmarks[row] for track, row in rows]
        numbers = FrameNumbers(changed=self.outside.add(dub, source, shapes))
        self.frames.append(numbers)
        if not rows or rows[0][0].activation[rows[0][1]] < 0.5:
            self._last = None                                         # a faded frame says nothing of the generator
            return
        track, shape = rows[0][0], np.asarray(shapes[0], np.float64)
        self._window(numbers, dub, source, shape, mouths)
        numbers.sharpness_beside = _cheeks(dub, source, shape)
        self._still(numbers, dub, source, shape, track)

    def _window(self, numbers: FrameNumbers, dub: FrameView, source: FrameView, shape: np.ndarray,
                mouths: tuple[np.ndarray, np.ndarray] | None) -> None:
        box = lower_face_box(shape, (source.width, source.height), grow=GROW)
        if box is None:
            return
        size, origin = (box[2] - box[0], box[3] - box[1]), np.array(box[:2])
        unit = float(np.linalg.norm(shape[45] - shape[36]))
        mask = lower_face_mask(shape - origin, size)
        new, old = dub.region(box), source.region(box)
        new_luma, old_luma = luma(new), luma(old)
        lips = [points - origin for points in (mouths if mouths is not None else (shape, shape))]
        skin = (mask > 0.9) & ~lip_region(lips, size, 0.10 * unit)
        numbers.sharpness = sharpness(new_luma, old_luma, (skin, skin), unit)
        numbers.sharpness_mouth = sharpness(new_luma, old_luma, (lip_ring(lips[0], size), lip_ring(lips[1], size)), unit)
        numbers.seam = seam(new_luma, old_luma, mask, unit)
        numbers.colour = colour_shift(new, old, mask, unit)

    def _still(self, numbers: FrameNumbers, dub: FrameView, source: FrameView, shape: np.ndarray, track: FaceTrack) -> None:
        unit = float(np.linalg.norm(shape[45] - shape[36]))
        if track is not self._track:
            self._track, self._last = track, None
            self._side = int(np.clip(2.0 * unit, 48, CROP))
        # The lower face of a mean face: two outer-eye distances wide, from the eyes down.
        scale = self._side / 2.0
        target = (CANONICAL[STEADY] - [0, 0.75]) * scale + self._side / 2
        matrix = similarity(shape[STEADY], target)
        mask = lower_face_mask(transform(matrix, shape), (self._side, self._side)) > 0.5
        new, old = (luma(view.warp(matrix, (self._side, self._side))) for view in (dub, source))
        if self._last is not None:
            both = mask & self._last[2]
            if both.any():
                numbers.still = (float(np.abs(new - self._last[0])[both].mean()), float(np.abs(old - self._last[1])[both].mean()))
        self._last = (new, old, mask)


def flicker(still: np.ndarray, motion: np.ndarray) -> tuple[float | None, int]:
    """Mean absolute difference from frame to frame within the region, the head held still, dub over source, and the number of pairs.

    `still` (n, 2) as in `FrameNumbers`; `motion` (n, 2) how far the lips moved since the frame before, dub and source, in outer-eye
    distances. Read on the quarter of the pairs in which the mouth that moves more moves least, so that it is not speech that is
    measured. 1 is as steady as the source, up to 1.15 is good. Fooled by clips in which one of the two never rests (few pairs, and
    those not still), by landmark jitter of the source, which both share, and by a frozen source (a picture), whose own flicker is nearly 0.
    """
    worst = motion.max(1)
    usable = np.isfinite(still).all(1) & np.isfinite(worst) & (worst < STILL_LIMIT)
    count = max(STILL_PAIRS, math.ceil(STILL_SHARE * int(np.isfinite(still).all(1).sum())))
    if usable.sum() < STILL_PAIRS:
        return None, int(usable.sum())
    chosen = np.flatnonzero(usable)[np.argsort(worst[usable], kind="stable")][:count]
    new, old = still[chosen].mean(0)
    return float((new + DETAIL_FLOOR) / (old + DETAIL_FLOOR)), len(chosen)


def lip_motion(lips: np.ndarray) -> np.ndarray:
    """(n,), how far the lips (n, 20, 2) moved since the row before, mean over landmarks; NaN for the first."""
    step = np.linalg.norm(np.diff(lips, axis=0), axis=-1).mean(-1)
    return np.concatenate([[np.nan], step])[:len(lips)]
