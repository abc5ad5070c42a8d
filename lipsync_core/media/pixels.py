"""Pieces of a frame as RGB, and changes back into its own samples; nothing else of the frame is touched.

Changes come as differences: what is added to the samples is the colour matrix applied to (new RGB - old RGB). So whatever a
picture holds that RGB can't (colours out of gamut, the last bits of a 10-bit sample, chroma detail lost in resampling) stays,
and a difference of 0 leaves a sample bit for bit as it was.
"""

from __future__ import annotations

import av
import cv2
import numpy as np

from ..array_pixels import thumbnail_matrix, warp_array
from .layouts import Layout, layout_of, nearest_layout

# Kr, Kb of the matrices by H.273 code point (tables of ITU-T H.273, MatrixCoefficients).
_COEFFICIENTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
                 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}


def own_frame(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame with the same content that may be written to: decoders keep the pictures they gave out as references."""
    if layout_of(frame.format.name) is None:
        parts = [c.bits for c in frame.format.components]
        target = nearest_layout(frame.format.name, any(c.is_alpha for c in frame.format.components), max(parts, default=8),
                                frame.format.is_rgb or frame.format.has_palette)
        return _tagged(frame.reformat(format=target), frame)
    if hasattr(frame, "make_writable"):
        frame.make_writable()
        return frame
    return copied(frame)


def copied(frame: av.VideoFrame) -> av.VideoFrame:
    """Another frame with the same content; what `own_frame` makes of the one leaves the other as it is."""
    if layout_of(frame.format.name) is None:
        return frame                                                  # never written to: `own_frame` converts it
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for source, target in zip(frame.planes, copy.planes):
        rows = min(source.height, target.height)
        width = min(source.line_size, target.line_size)
        a = np.frombuffer(source, np.uint8).reshape(-1, source.line_size)[:rows]
        np.frombuffer(target, np.uint8).reshape(-1, target.line_size)[:rows, :width] = a[:, :width]
    return _tagged(copy, frame)


def _tagged(copy: av.VideoFrame, frame: av.VideoFrame) -> av.VideoFrame:
    copy.pts, copy.time_base = frame.pts, frame.time_base
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    for tag in ("color_primaries", "color_trc"):
        if hasattr(copy, tag):
            setattr(copy, tag, getattr(frame, tag))
    return copy


class FrameView:
    """A decoded frame behind the `Pixels` protocol, in display orientation, with `add` to change it.

    `frame` must be of a format with a layout (see `own_frame`); `rotation` as in `VideoInfo`. The colour matrix is the one of
    the frame's tags; untagged pictures are taken as BT.709 from 720 lines up and BT.601 below, which is what players do.
    """

    def __init__(self, frame: av.VideoFrame, rotation: int = 0) -> None:
        layout = layout_of(frame.format.name)
        if layout is None:
            frame = own_frame(frame)
            layout = layout_of(frame.format.name)
        self.frame, self.layout = frame, layout
        self.turns = rotation // 90 % 4
        self.coded = (frame.width, frame.height)
        self.width, self.height = self.coded[::-1] if self.turns % 2 else self.coded
        self._to_rgb, self._offset = _rgb_matrix(frame, layout)

    # -- samples ---------------------------------------------------------------------------------------------------------

    def samples(self, index: int) -> np.ndarray:
        """Component `index` as a writable view (rows, columns) of uint8 or uint16."""
        part = self.layout.components[index]
        plane = self.frame.planes[part.plane]
        size = np.dtype(self.layout.dtype).itemsize
        rows = np.frombuffer(plane, self.layout.dtype).reshape(-1, plane.line_size // size)
        width, height = self.coded
        if index and self.layout.kind == "yuv":
            width, height = -(-width // self.layout.sx), -(-height // self.layout.sy)
        return rows[:height, part.offset:part.offset + (width - 1) * part.step + 1:part.step]

    def _to_coded(self) -> np.ndarray:
        """Affine (2, 3), display -> stored coordinates."""
        w, h = self.coded
        return np.array([[[1, 0, 0], [0, 1, 0]], [[0, -1, w - 1], [1, 0, 0]], [[-1, 0, w - 1], [0, -1, h - 1]],
                         [[0, 1, 0], [-1, 0, h - 1]]], np.float64)[self.turns]

    def _grid(self, index: int) -> tuple[int, int, float, float]:
        """sx, sy and where sample 0 of component `index` lies: chroma sits left-aligned (MPEG-2 siting) and mid-height."""
        if index == 0 or self.layout.kind != "yuv":
            return 1, 1, 0.0, 0.0
        return self.layout.sx, self.layout.sy, 0.0, (self.layout.sy - 1) / 2

    def _component(self, index: int, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Component `index` warped by `matrix` (2, 3), stored picture -> crop."""
        sx, sy, ox, oy = self._grid(index)
        grid = np.array([[sx, 0, ox], [0, sy, oy], [0, 0, 1]])
        samples = self.samples(index)
        if not samples.flags.c_contiguous and self.layout.components[index].step > 1:
            samples = np.ascontiguousarray(samples)
        return warp_array(samples, matrix @ grid, size)

    # -- Pixels ----------------------------------------------------------------------------------------------------------

    def thumbnail(self, max_side: int) -> np.ndarray:
        return self.warp(*thumbnail_matrix(self.width, self.height, max_side))

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        display = np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])
        stored = (display @ np.linalg.inv(np.vstack([self._to_coded(), [0, 0, 1]])))[:2]
        parts = [self._component(i, stored, size) for i in range(len(self.layout.components))]
        rgb = self._rgb([part.astype(np.float32) for part in parts])
        return cv2.convertScaleAbs(np.maximum(rgb, 0))

    def region(self, box: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = self._stored_box(box)
        parts = []
        for i in range(len(self.layout.components)):
            sx, sy, *_ = self._grid(i)
            parts.append(self.samples(i)[y0:y1, x0:x1].astype(np.float32) if sx == sy == 1 else self._upsampled(i, (x0, y0, x1, y1)))
        rgb = self._rgb(parts)
        return np.ascontiguousarray(np.rot90(rgb, self.turns)) if self.turns else rgb

    def add(self, box: tuple[int, int, int, int], difference: np.ndarray) -> None:
        """Add `difference` (y1-y0, x1-x0, 3), RGB float32 in units of 0..255, to the samples under `box` (display)."""
        x0, y0, x1, y1 = self._stored_box(box)
        if self.turns:
            difference = np.rot90(difference, -self.turns)
        scale = self.layout.peak / 255
        if self.layout.kind == "rgb":
            for i in range(3):
                self._change(i, (y0, y1, x0, x1), difference[..., i] * np.float32(scale))
            return
        inverse = np.linalg.inv(self._to_rgb).astype(np.float32)
        if self.layout.kind == "gray":
            weights = np.array([0.299, 0.587, 0.114], np.float32) * np.float32(scale)
            self._change(0, (y0, y1, x0, x1), difference @ weights)
            return
        luma, *chroma = cv2.split(cv2.transform(np.ascontiguousarray(difference), inverse))
        self._change(0, (y0, y1, x0, x1), luma)
        cy0, cx0 = y0 // self.layout.sy, x0 // self.layout.sx
        for i, plane in enumerate(chroma, 1):
            part = self._subsampled(plane, (x0, y0, x1, y1))
            self._change(i, (cy0, cy0 + part.shape[0], cx0, cx0 + part.shape[1]), part)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    def _upsampled(self, index: int, box: tuple[int, int, int, int]) -> np.ndarray:
        """Component `index`, which has fewer samples than the picture, for the pixels of `box` (stored): float32 (h, w)."""
        x0, y0, x1, y1 = box
        sx, sy, _, oy = self._grid(index)
        samples = self.samples(index)
        if sx != 2 or sy > 2:
            cx0, cy0 = max(0, x0 // sx - 1), max(0, y0 // sy - 1)
            part = samples[cy0:-(-y1 // sy) + 1, cx0:-(-x1 // sx) + 1].astype(np.float32)
            to_crop = np.array([[sx, 0, cx0 * sx - x0], [0, sy, cy0 * sy + oy - y0]], np.float64)
            return cv2.warpAffine(part, to_crop, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # The same for the usual layouts, at a third of the cost: between two rows, then between a sample and the next.
        top, left = max(0, y0 // sy - 1), x0 // 2
        part = samples[top:-(-y1 // sy) + 1, left:(x1 - 1) // 2 + 2].astype(np.float32)
        if sy == 2:
            part = cv2.resize(part, (part.shape[1], 2 * len(part)), interpolation=cv2.INTER_LINEAR)
        part = part[y0 - sy * top:y1 - sy * top]
        if left + part.shape[1] < (x1 - 1) // 2 + 2:                   # there is no next
            part = np.hstack([part, part[:, -1:]])
        here, beyond = part[:, :-1], part[:, 1:]
        wide = cv2.merge([here, cv2.addWeighted(here, 0.5, beyond, 0.5, 0)]).reshape(y1 - y0, -1)
        return wide[:, x0 - 2 * left:x1 - 2 * left]

    def _subsampled(self, plane: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """`plane`, float32 (h, w) for the pixels of `box` (stored), on the grid of the chroma samples."""
        sx, sy = self.layout.sx, self.layout.sy
        if sx == sy == 1:
            return plane
        x0, y0, x1, y1 = box
        around = ((y0 % sy, -y1 % sy), (x0 % sx, -x1 % sx))
        if any(map(any, around)):
            plane = np.pad(plane, around)
        if sx != 2:
            return plane.reshape(plane.shape[0] // sy, sy, plane.shape[1] // sx, sx).mean((1, 3))
        # A left-aligned chroma sample stands for the pixels about its own column: weights 1 2 1.
        rows = plane if sy == 1 else sum(plane[i::sy] for i in range(sy)) * np.float32(1 / sy)
        part = np.float32(0.5) * rows[:, ::2] + np.float32(0.25) * rows[:, 1::2]
        part[:, 1:] += np.float32(0.25) * rows[:, 1:-1:2]
        return part

    def _change(self, index: int, where: tuple[int, int, int, int], difference: np.ndarray) -> None:
        y0, y1, x0, x1 = where
        target = self.samples(index)[y0:y1, x0:x1]
        step = np.rint(difference[:target.shape[0], :target.shape[1]])
        if target.dtype == np.uint8:                                   # OpenCV's sums saturate
            np.copyto(target, cv2.add(np.ascontiguousarray(target), step.astype(np.int16), dtype=cv2.CV_8U))
            return
        step, shift = step.astype(np.int32), self.layout.shift
        value = (target.astype(np.int32) >> shift) + step
        changed = (np.clip(value, 0, self.layout.peak) << shift).astype(target.dtype)
        np.copyto(target, changed, where=step != 0)

    def _rgb(self, parts: list[np.ndarray]) -> np.ndarray:
        """float32 0..255 (not clipped) from components at one resolution."""
        if self.layout.shift:
            parts = [part / np.float32(1 << self.layout.shift) for part in parts]
        if self.layout.kind == "yuv":
            return cv2.transform(cv2.merge(parts), np.hstack([self._to_rgb, self._offset[:, None]]).astype(np.float32))
        scale = np.float32(255 / self.layout.peak)
        if self.layout.kind == "gray":
            return cv2.merge([parts[0] * scale] * 3)
        return cv2.merge([part * scale for part in parts])

    def _stored_box(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        x0, y0, x1, y1 = box
        corners = np.array([[x0, y0, 1], [x1 - 1, y1 - 1, 1]]) @ self._to_coded().T
        low, high = corners.min(0).astype(int), corners.max(0).astype(int) + 1
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _rgb_matrix(frame: av.VideoFrame, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Samples (Y, U, V) -> RGB 0..255: matrix (3, 3) and offset (3,)."""
    if layout.kind != "yuv":
        return np.eye(3), np.zeros(3)
    default = 1 if max(frame.width, frame.height) >= 1280 or min(frame.width, frame.height) >= 720 else 6
    kr, kb = _COEFFICIENTS.get(int(frame.colorspace), _COEFFICIENTS[default])
    kg = 1 - kr - kb
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    unit = 1 << (layout.depth - 8)
    if full:
        black, y_span, c_span = 0.0, float(layout.peak), float(layout.peak)
    else:
        black, y_span, c_span = 16.0 * unit, 219.0 * unit, 224.0 * unit
    matrix = np.array([[1, 0, 2 * (1 - kr)], [1, -2 * (1 - kb) * kb / kg, -2 * (1 - kr) * kr / kg], [1, 2 * (1 - kb), 0]])
    matrix = 255 * matrix / [y_span, c_span, c_span]
    return matrix, -matrix @ [black, 128.0 * unit, 128.0 * unit]
