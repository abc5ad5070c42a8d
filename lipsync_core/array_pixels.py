"""`ArrayPixels`: an RGB array behind the `Pixels` protocol (pictures, ComfyUI batches, tests)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np


def each_channel(weight: np.ndarray, count: int = 3) -> np.ndarray:
    """`weight` (h, w) once for every channel of a picture: (h, w, count). NumPy takes six times as long to spread a weight over so short an
    axis while it multiplies."""
    return cv2.merge([weight] * count)


def cubic(planes: Sequence[np.ndarray], where: np.ndarray) -> np.ndarray:
    """The picture (h, w, k) whose pixels show what k `planes` have at `where` (h, w, 2; x, y), bicubic; edges repeat. OpenCV takes half as
    long for three planes as for a picture of three channels."""
    return cv2.merge([cv2.remap(plane, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for plane in planes])


def shrink_factor(matrix: np.ndarray) -> int:
    """Whole factor by which a picture can be area-averaged before `matrix` (2, 3) samples it bilinearly without aliasing."""
    scale = float(np.sqrt(abs(np.linalg.det(np.asarray(matrix, np.float64)[:, :2]))))
    return max(1, int(1.0 / max(scale, 1e-6)))


def _cells(low: float, high: float, limit: int, cell: int, margin: int) -> tuple[int, int]:
    """A span of 0..limit around low..high and `margin`, in whole cells where there is room: to average them costs a fifth of parts."""
    low = min(max(math.floor(low) - margin, 0), limit - 1)
    high = min(max(math.ceil(high) + margin, low + 1), limit)
    count = min(-(-(high - low) // cell), max(1, limit // cell))
    low = max(0, min(low, limit - count * cell))
    return low, min(low + count * cell, limit)


def warp_array(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`matrix` (2, 3) applied to `image` (h, w[, c]) of any depth OpenCV knows; size is (w, h); edges repeat; filtered."""
    matrix = np.asarray(matrix, np.float64)
    factor = shrink_factor(matrix)
    height, width = image.shape[:2]
    if factor > 1:
        # Only the part that the crop can see is shrunk: a 4K picture costs what its face costs.
        inverse = cv2.invertAffineTransform(matrix)
        corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [size[0], size[1], 1]], np.float64) @ inverse.T
        # An average of 16 samples is as good as one of hundreds: of a large picture every stepth pixel is read.
        step = max(1, factor // 4)
        (x0, x1), (y0, y1) = (_cells(low, high, limit, factor // step * step, factor)
                              for low, high, limit in zip(corners.min(0), corners.max(0), (width, height)))
        part = image[y0:y1:step, x0:x1:step]
        rows, columns = part.shape[:2]
        small = (max(1, columns // (factor // step)), max(1, rows // (factor // step)))
        sx, sy = small[0] / columns, small[1] / rows
        image = cv2.resize(np.ascontiguousarray(part), small, interpolation=cv2.INTER_AREA)
        # small = ((picture - corner) / step + 0.5) * s - 0.5; fold its inverse into the matrix.
        undo = np.array([[step / sx, 0, (0.5 / sx - 0.5) * step + x0], [0, step / sy, (0.5 / sy - 0.5) * step + y0], [0, 0, 1]])
        matrix = (np.vstack([matrix, [0, 0, 1]]) @ undo)[:2]
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def thumbnail_matrix(width: int, height: int, max_side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Affine (2, 3) and size (w, h) of a picture shrunk so that its longer side is at most `max_side` (never enlarged)."""
    scale = min(1.0, max_side / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sx, sy = size[0] / width, size[1] / height
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]]), size


class ArrayPixels:
    """`Pixels` over an RGB array (h, w, 3), uint8 or float32 0..255, read as `media.FrameView` reads a frame of the same samples, so that
    both give the same pixels on every processor: what is shrunk or warped comes from 8 bits, plane by plane (OpenCV's kernels for one and
    three channels may round differently), `region` from everything there is."""

    def __init__(self, image: np.ndarray) -> None:
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a picture must be (height, width, 3), not {image.shape}")
        self.image = image
        self.height, self.width = image.shape[:2]
        self._planes: list[np.ndarray] | None = None

    def thumbnail(self, max_side: int) -> np.ndarray:
        return self.warp(*thumbnail_matrix(self.width, self.height, max_side))

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if self._planes is None:
            eight = self.image if self.image.dtype == np.uint8 else np.clip(np.rint(self.image), 0, 255).astype(np.uint8)
            self._planes = list(cv2.split(eight))
        return cv2.merge([warp_array(plane, matrix, size) for plane in self._planes])

    def region(self, box: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = box
        return self.image[y0:y1, x0:x1].astype(np.float32)


class WindowPixels:
    """`Pixels` over the part of a picture that was kept: an RGB array whose first pixel lies at `corner` (x, y) of a picture of `size`
    (w, h). Beyond the part its edge repeats."""

    def __init__(self, image: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> None:
        self._inner, self._corner = ArrayPixels(image), corner
        self.width, self.height = size

    def thumbnail(self, max_side: int) -> np.ndarray:
        return self.warp(*thumbnail_matrix(self.width, self.height, max_side))

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        matrix = np.asarray(matrix, np.float64)
        return self._inner.warp(np.hstack([matrix[:, :2], matrix[:, 2:] + matrix[:, :2] @ np.array([self._corner]).T]), size)

    def region(self, box: tuple[int, int, int, int]) -> np.ndarray:
        (x, y), (x0, y0, x1, y1) = self._corner, box
        return self._inner.region((x0 - x, y0 - y, x1 - x, y1 - y))
