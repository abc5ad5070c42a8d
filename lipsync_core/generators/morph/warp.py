"""Smooth backward warps from moved points: one for what lies above the lip line, one for what lies below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from .canonical import to_real
from .geometry import CORNERS, INSET, LOWER, UPPER, FrameMouth
from .opening import BULGE, smoothstep

FIXED = np.array([1, 2, 14, 15, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 40, 41, 42, 45, 46, 47])
"""Landmarks that a mouth never moves: upper jaw line, nose, eyes."""


NECK = 0.32
"""Over how much neck below the chin its movement dies out, canonical units: 1.5 times the slope of `smoothstep` times the
largest drop (`MOST_DROP`) must stay below this, or the neck would fold."""
EDGE = 4.0
"""Over how many times what a chin rises at the picture's lower edge the movement dies out, where the lips leave that room: the last
rows are stretched by a third at most."""


STILL = 0.02
"""Pixels by which nobody sees that something moved: where contrast is highest, a level or two."""


def thin_plates(points: np.ndarray, own: Sequence[np.ndarray], values: Sequence[np.ndarray], queries: np.ndarray) -> list[np.ndarray]:
    """Thin-plate splines, each through its `values` (k, d) at those of the `points` (n, 2) whose indices (k,) are its `own`, evaluated at
    `queries` (m, 2): each (m, d) float32. What two splines have in common is worked out once.

    Coordinates should be of order 1. A whisper of smoothing keeps two nearly equal points from tearing the spline.
    """
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = np.subtract.outer(a[:, 0], b[:, 0]) ** 2 + np.subtract.outer(a[:, 1], b[:, 1]) ** 2
        return square * np.log(square + 1e-9)

    between, queries = kernel(points, points), queries.astype(np.float32)
    reach = kernel(queries, points.astype(np.float32))
    splines = []
    for index, wanted in zip(own, values):
        k = len(index)
        system = np.zeros((k + 3, k + 3))
        system[:k, :k] = between[np.ix_(index, index)] + 1e-4 * np.eye(k)
        system[:k, k] = system[k, :k] = 1
        system[:k, k + 1:] = points[index]
        system[k + 1:, :k] = points[index].T
        right = np.zeros((k + 3, wanted.shape[1]))
        right[:k] = wanted
        found = np.linalg.solve(system, right).astype(np.float32)
        weights = np.zeros((len(points), wanted.shape[1]), np.float32)
        weights[index] = found[:k]
        splines.append(reach @ weights + found[k] + queries @ found[k + 1:])
    return splines


@dataclass(frozen=True)
class Grid:
    """Nodes that lie an odd number of pixels apart, from the crop's first column and up from its last row: what is known at them is brought
    to all pixels by a plain resize, and the picture's lower edge is told exactly."""

    size: tuple[int, int]
    """Width, height of the crop."""
    step: int

    @cached_property
    def columns(self) -> np.ndarray:
        """x of the nodes, pixels; the last is at the crop's last column or beyond."""
        return np.arange(-(-(self.size[0] - 1) // self.step) + 1) * self.step

    @cached_property
    def rows(self) -> np.ndarray:
        """y of the nodes, pixels; the first is at the crop's first row or above."""
        return self.size[1] - 1 - np.arange(-(-(self.size[1] - 1) // self.step) + 1)[::-1] * self.step

    @cached_property
    def nodes(self) -> np.ndarray:
        """x, y of the nodes: float32 (gh, gw, 2)."""
        return np.dstack(np.meshgrid(self.columns, self.rows)).astype(np.float32)

    def sources(self, field: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """Where the pixels of `box` (x0, y0, x1, y1) are taken from: p + d(p) for `field` d (gh, gw, 2), float32 (h, w, 2)."""
        x0, y0, x1, y1 = box
        # Only the nodes about the box; what they say of places goes on linearly between them, as their shifts do.
        i0, j0 = x0 // self.step, (y0 - int(self.rows[0])) // self.step
        near = np.s_[j0:(y1 - 2 - int(self.rows[0])) // self.step + 2, i0:(x1 - 2) // self.step + 2]
        nodes = field[near] + self.nodes[near]
        fine = cv2.resize(nodes, (nodes.shape[1] * self.step, nodes.shape[0] * self.step), interpolation=cv2.INTER_LINEAR)
        # A resize lays the nodes in the middle of their cells.
        left, top = self.step // 2 + x0 - int(self.columns[i0]), self.step // 2 + y0 - int(self.rows[j0])
        return fine[top:top + y1 - y0, left:left + x1 - x0]


@dataclass(frozen=True)
class Fields:
    """Backward displacements at the nodes of a grid: a target pixel p shows the source's p + d(p). Pixels of the crop."""

    grid: Grid
    upper: np.ndarray
    """float32 (gh, gw, 2)."""
    lower: np.ndarray
    blended: np.ndarray
    """Upper above the lip line, lower below, mixed beside the mouth where the two agree."""

    def moving(self) -> tuple[int, int, int, int]:
        """Box (x0, y0, x1, y1) around what `blended` moves by `STILL` or more; it may be empty."""
        far = (np.abs(self.blended) >= STILL).any(2)
        if not far.any():
            return 0, 0, 0, 0
        bounds = []
        for nodes, length, axis in ((self.grid.columns, self.grid.size[0], 0), (self.grid.rows, self.grid.size[1], 1)):
            there = nodes[far.any(axis)]
            bounds.append((max(0, there[0] - self.grid.step), min(length, there[-1] + self.grid.step + 1)))
        (x0, x1), (y0, y1) = bounds
        return int(x0), int(y0), int(x1), int(y1)

    def held(self, region: np.ndarray) -> Fields:
        """The same, moving nothing at the rim of `region` (h, w), 0..1, so that what is pasted there is what was there."""
        rows, columns = np.maximum(self.grid.rows, 0), np.minimum(self.grid.columns, self.grid.size[0] - 1)
        keep = smoothstep(region[np.ix_(rows, columns)], 0.0, 0.85)[..., None]
        return replace(self, upper=self.upper * keep, lower=self.lower * keep, blended=self.blended * keep)


def _controls(mouth: FrameMouth, landmarks: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Target points (n,) complex; for the upper field and the lower one the indices of those that shape it, and their source points."""
    target = mouth.target_lips
    # The corners of an open mouth are dark, and its opening bulges between a corner and the next point: each sheet takes both from
    # the lip above or below, so that they shut as well and no corner is seen twice.
    closing = max(0.5, 1 - mouth.target_gap / max(mouth.source_gap, 1e-3))
    rim = 0.8 * INSET * min(1.0, mouth.source_gap / 0.04) * closing
    jaw_s, jaw_t = mouth.source_jaw, mouth.target_jaw
    fixed = landmarks[FIXED, 0] + 1j * landmarks[FIXED, 1]
    middle = np.array([8, 9, 10])                                      # lower outer lip: right, middle, left
    chin = np.array([10, 8, 6])
    lips = mouth.source_lips
    pairs = [(lips[middle], target[middle], jaw_s[chin], jaw_t[chin], 0.5),
             (lips[[0, 6]], target[[0, 6]], jaw_s[[4, 12]], jaw_t[[4, 12]], 0.55)]
    between_s = [s0 + t * (s1 - s0) for s0, _, s1, _, t in pairs]
    # Skin between lip and jaw goes half with each, but a lip corner drags less cheek than its own movement.
    between_t = [s0 + t * (s1 - s0) + (0.45 * (t0 - s0) + 0.5 * (t1 - s1)) for s0, t0, s1, t1, t in pairs]
    centre = (fixed[FIXED == 33][0] + jaw_s[8]) / 2
    # Two rings around the jaw hold the neck and the background, and keep the spline from swinging beyond them.
    still = np.concatenate([centre + (jaw_s[3:14] - centre) * reach for reach in (1.5, 1.9)] + [fixed])
    common_s, common_t = (np.concatenate([jaw[3:14], *between, still]) for jaw, between in ((jaw_s, between_s), (jaw_t, between_t)))

    bulges, chosen, sources = [], [], []
    for side, own, beside in ((-1, UPPER, [13, 15]), (1, LOWER, [19, 17])):
        source = lips.copy()
        source[[12, 16]] += mouth.a * rim * np.array([-1 + 1j * side, 1 + 1j * side])
        down = 1j * side * mouth.a
        bulge_s = (source[[12, 16]] + source[beside]) / 2 + down * (BULGE[side] * mouth.source_gap + 0.5 * rim)
        bulges.append((target[[12, 16]] + target[beside]) / 2 + down * BULGE[side] * mouth.target_gap)
        mine = np.concatenate([CORNERS, own])
        # All points: the lips', two bulges of each field, and what both have in common.
        chosen.append(np.concatenate([mine, [21 + side, 22 + side], 24 + np.arange(len(common_t))]))
        sources.append(np.concatenate([source[mine], bulge_s, common_s]))
    return np.concatenate([target, *bulges, common_t]), chosen, sources


def _above_neck(y: np.ndarray, mouth: FrameMouth) -> np.ndarray:
    """How much of the movement is left at canonical heights: chin movement dies out over the neck, without folding it."""
    chin = mouth.to_canonical(mouth.target_jaw)[8]
    reach = np.clip((y - chin.imag) / NECK, 0, 1)
    return 1 - reach * reach * (3 - 2 * reach)


def _stay_above(shift: np.ndarray, below: np.ndarray, room: float) -> np.ndarray:
    """`shift` (gh, gw, 2), so that nothing is asked for from under the picture: where a chin rises at its lower edge, what is above the
    edge is stretched instead. `below` (gh, 1): rows to that edge; `room`: those below the lips, which must move as they are told."""
    reach = np.clip(EDGE * shift[-1, :, 1], 1e-6, max(room, 1e-6))
    held = shift * np.clip(below / reach, 0, 1)[..., None]
    held[..., 1] = np.minimum(held[..., 1], below)
    return held


def solve(mouth: FrameMouth, landmarks: np.ndarray, size: tuple[int, int]) -> Fields:
    """The two fields of a frame for a crop of `size` (w, h); `landmarks` (68, 2) in crop coordinates."""
    width, height = size
    nodes = Grid(size, max(3, 2 * round((mouth.scale / 22 - 1) / 2) + 1))
    gh, gw = nodes.nodes.shape[:2]
    grid = nodes.nodes.reshape(-1, 2).astype(np.float64)
    origin = np.array([width / 2, height / 2])
    unit = mouth.scale
    below, room = (height - 1 - nodes.rows)[:, None], height - 1 - float(mouth.target_lips.imag.max())
    target, own, sources = _controls(mouth, landmarks)
    shifts = thin_plates((to_real(target) - origin) / unit, own, [to_real(source - target[index]) for index, source in zip(own, sources)],
                         (grid - origin) / unit)
    canonical = mouth.to_canonical(grid[:, 0] + 1j * grid[:, 1])
    keep = _above_neck(canonical.imag, mouth)[:, None]
    upper, lower = (_stay_above((shift * keep).reshape(gh, gw, 2), below, room).astype(np.float32) for shift in shifts)
    weight = above_lips(mouth, canonical.real, canonical.imag).reshape(gh, gw, 1).astype(np.float32)
    return Fields(nodes, upper, lower, weight * upper + (1 - weight) * lower)


def above_lips(mouth: FrameMouth, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 above the lip line, 0 below, for canonical points; the step is a pixel wide between the corners of the mouth
    and widens beside them, where both fields say nearly the same."""
    lips = mouth.to_canonical(mouth.target_lips)
    top, bottom = lips[[12, 13, 14, 15, 16]], lips[[12, 19, 18, 17, 16]]
    at, line = top.real, (top.imag + bottom.imag) / 2
    order = np.argsort(at)
    distance = np.interp(x, at[order], line[order]).astype(x.dtype) - y
    beside = np.maximum(np.maximum(at.min().astype(x.dtype) - x, x - at.max().astype(x.dtype)), 0)
    return np.clip(0.5 + distance / (2 * (0.7 / mouth.scale + 0.8 * beside)), 0, 1)
