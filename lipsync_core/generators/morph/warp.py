"""Smooth backward warps from moved points: one for what lies above the lip line, one for what lies below."""

from __future__ import annotations

from dataclasses import dataclass

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


def thin_plate(points: np.ndarray, values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Thin-plate spline through `values` (k, d) at `points` (k, 2), evaluated at `queries` (m, 2): (m, d) float32.

    Coordinates should be of order 1. A whisper of smoothing keeps two nearly equal points from tearing the spline.
    """
    k = len(points)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = np.subtract.outer(a[:, 0], b[:, 0]) ** 2 + np.subtract.outer(a[:, 1], b[:, 1]) ** 2
        return square * np.log(square + 1e-9)

    system = np.zeros((k + 3, k + 3))
    system[:k, :k] = kernel(points, points) + 1e-4 * np.eye(k)
    system[:k, k] = system[k, :k] = 1
    system[:k, k + 1:] = points
    system[k + 1:, :k] = points.T
    right = np.zeros((k + 3, values.shape[1]))
    right[:k] = values
    weights = np.linalg.solve(system, right).astype(np.float32)
    queries = queries.astype(np.float32)
    return kernel(queries, points.astype(np.float32)) @ weights[:k] + weights[k] + queries @ weights[k + 1:]


@dataclass(frozen=True)
class Fields:
    """Backward displacements on a coarse grid: a target pixel p shows the source's p + d(p). Pixels of the crop."""

    upper: np.ndarray
    """float32 (gh, gw, 2)."""
    lower: np.ndarray
    blended: np.ndarray
    """Upper above the lip line, lower below, mixed beside the mouth where the two agree."""

    def moves(self, field: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
        """`field` for every pixel of `box` (x0, y0, x1, y1) of a crop of `size` (w, h): displacements (h, w, 2) float32."""
        x0, y0, x1, y1 = box
        gh, gw = field.shape[:2]
        # Grid nodes sit on the crop's outermost pixel centres.
        sx, sy = (gw - 1) / max(size[0] - 1, 1), (gh - 1) / max(size[1] - 1, 1)
        matrix = np.array([[sx, 0, x0 * sx], [0, sy, y0 * sy]])
        return cv2.warpAffine(field, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                              borderMode=cv2.BORDER_REPLICATE)

    def moving(self, field: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Box (x0, y0, x1, y1) around what `field` moves by `STILL` or more, in a crop of `size` (w, h); it may be empty."""
        bounds = []
        for axis, length in ((0, size[0]), (1, size[1])):
            nodes = np.flatnonzero((np.abs(field) >= STILL).any((axis, 2)))
            step = (length - 1) / (field.shape[1 - axis] - 1)
            low, high = (nodes[0] - 1, nodes[-1] + 1) if len(nodes) else (0, 0)
            bounds.append((max(0, int(low * step)), min(length, int(np.ceil(high * step)) + 1) if len(nodes) else 0))
        (x0, x1), (y0, y1) = bounds
        return x0, y0, x1, y1


def held(fields: Fields, region: np.ndarray) -> Fields:
    """`fields` that move nothing at the rim of `region` (h, w), 0..1, so that what is pasted there is what was there."""
    gh, gw = fields.upper.shape[:2]
    rows, columns = (np.rint(np.linspace(0, length - 1, count)).astype(int) for length, count in zip(region.shape, (gh, gw)))
    keep = smoothstep(region[np.ix_(rows, columns)], 0.0, 0.85)[..., None]
    return Fields(fields.upper * keep, fields.lower * keep, fields.blended * keep)


def _controls(mouth: FrameMouth, landmarks: np.ndarray, lips: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Target and source positions (k,) complex of the points that shape one field; `lips` are the lip indices it may use, `side`
    is -1 for the upper one, 1 for the lower."""
    source, target = mouth.source_lips.copy(), mouth.target_lips
    # The corners of an open mouth are dark, and its opening bulges between a corner and the next point: each sheet takes both from
    # the lip above or below, so that they shut as well and no corner is seen twice.
    closing = max(0.5, 1 - mouth.target_gap / max(mouth.source_gap, 1e-3))
    rim = 0.8 * INSET * min(1.0, mouth.source_gap / 0.04) * closing
    source[[12, 16]] += mouth.a * rim * np.array([-1 + 1j * side, 1 + 1j * side])
    beside = np.array([13, 15]) if side < 0 else np.array([19, 17])
    down = 1j * side * mouth.a
    bulge_s = (source[[12, 16]] + source[beside]) / 2 + down * (BULGE[side] * mouth.source_gap + 0.5 * rim)
    bulge_t = (target[[12, 16]] + target[beside]) / 2 + down * BULGE[side] * mouth.target_gap
    jaw_s, jaw_t = mouth.source_jaw, mouth.target_jaw
    fixed = landmarks[FIXED, 0] + 1j * landmarks[FIXED, 1]
    middle = np.array([8, 9, 10])                                      # lower outer lip: right, middle, left
    chin = np.array([10, 8, 6])
    pairs = [(source[middle], target[middle], jaw_s[chin], jaw_t[chin], 0.5),
             (source[[0, 6]], target[[0, 6]], jaw_s[[4, 12]], jaw_t[[4, 12]], 0.55)]
    between_s = [s0 + t * (s1 - s0) for s0, _, s1, _, t in pairs]
    # Skin between lip and jaw goes half with each, but a lip corner drags less cheek than its own movement.
    between_t = [s0 + t * (s1 - s0) + (0.45 * (t0 - s0) + 0.5 * (t1 - s1)) for s0, t0, s1, t1, t in pairs]
    centre = (fixed[FIXED == 33][0] + jaw_s[8]) / 2
    # Two rings around the jaw hold the neck and the background, and keep the spline from swinging beyond them.
    still = np.concatenate([centre + (jaw_s[3:14] - centre) * reach for reach in (1.5, 1.9)] + [fixed])
    s = np.concatenate([source[lips], bulge_s, jaw_s[3:14], *between_s, still])
    t = np.concatenate([target[lips], bulge_t, jaw_t[3:14], *between_t, still])
    return t, s


def _hold(shift: np.ndarray, grid: np.ndarray, mouth: FrameMouth) -> np.ndarray:
    """`shift` (m, 2) brought to 0 below and beside the jaw, without folding: chin movement dies out over the neck."""
    canonical = mouth.to_canonical(grid[:, 0] + 1j * grid[:, 1])
    chin = mouth.to_canonical(mouth.target_jaw)[8]
    reach = np.clip((canonical.imag - chin.imag) / NECK, 0, 1)
    keep = 1 - reach * reach * (3 - 2 * reach)
    return shift * keep[:, None]


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
    step = max(3.0, mouth.scale / 22)
    gw, gh = int(np.ceil(width / step)) + 1, int(np.ceil(height / step)) + 1
    xs, ys = np.linspace(0, width - 1, gw), np.linspace(0, height - 1, gh)
    grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    origin = np.array([width / 2, height / 2])
    unit = mouth.scale
    fields = []
    below, room = (height - 1 - ys)[:, None], height - 1 - float(mouth.target_lips.imag.max())
    for lips, side in ((UPPER, -1), (LOWER, 1)):
        target, source = _controls(mouth, landmarks, np.concatenate([CORNERS, lips]), side)
        shift = thin_plate((to_real(target) - origin) / unit, to_real(source - target), (grid - origin) / unit)
        fields.append(_stay_above(_hold(shift, grid, mouth).reshape(gh, gw, 2), below, room).astype(np.float32))
    upper, lower = fields
    canonical = mouth.to_canonical(grid[:, 0] + 1j * grid[:, 1])
    weight = above_lips(mouth, canonical.real, canonical.imag).reshape(gh, gw, 1).astype(np.float32)
    return Fields(upper, lower, weight * upper + (1 - weight) * lower)


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
