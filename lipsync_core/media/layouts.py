"""How the pixel formats that video files use lay out their samples."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Component:
    """One kind of sample: its plane, and its place in a pixel of that plane (`offset` of `step` samples)."""

    plane: int
    offset: int = 0
    step: int = 1


@dataclass(frozen=True)
class Layout:
    """`components` are Y, U, V or R, G, B or gray; `sx`, `sy` how many pixels share a U and V sample; a value's bits stand
    `shift` bits up in its sample."""

    kind: str
    components: tuple[Component, ...]
    sx: int = 1
    sy: int = 1
    depth: int = 8
    shift: int = 0

    @property
    def dtype(self) -> type:
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def peak(self) -> int:
        return (1 << self.depth) - 1


_SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2), "411": (4, 1), "410": (4, 4)}
_PACKED = {"rgb24": (0, 1, 2, 3), "bgr24": (2, 1, 0, 3), "rgba": (0, 1, 2, 4), "bgra": (2, 1, 0, 4), "argb": (1, 2, 3, 4),
           "abgr": (3, 2, 1, 4), "rgb0": (0, 1, 2, 4), "bgr0": (2, 1, 0, 4), "0rgb": (1, 2, 3, 4), "0bgr": (3, 2, 1, 4)}
_SEMI = {"nv12": (2, 2, False, 8, 0), "nv21": (2, 2, True, 8, 0), "nv16": (2, 1, False, 8, 0), "nv24": (1, 1, False, 8, 0),
         "p010le": (2, 2, False, 10, 6), "p012le": (2, 2, False, 12, 4), "p016le": (2, 2, False, 16, 0),
         "p210le": (2, 1, False, 10, 6), "nv20le": (2, 1, False, 10, 0)}


def layout_of(pix_fmt: str) -> Layout | None:
    """The layout of a pixel format by FFmpeg's name, or None if its samples can't be reached one by one."""
    if match := re.fullmatch(r"yuv(?:j|a)?(\d{3})p(\d+le)?", pix_fmt):
        sx, sy = _SUBSAMPLING[match[1]]
        return Layout("yuv", (Component(0), Component(1), Component(2)), sx, sy, _bits(match[2]))
    if match := re.fullmatch(r"gbra?p(\d+le)?", pix_fmt):
        return Layout("rgb", (Component(2), Component(0), Component(1)), depth=_bits(match[1]))
    if match := re.fullmatch(r"gray(\d+le)?", pix_fmt):
        return Layout("gray", (Component(0),), depth=_bits(match[1]))
    if pix_fmt in _PACKED:
        r, g, b, step = _PACKED[pix_fmt]
        return Layout("rgb", (Component(0, r, step), Component(0, g, step), Component(0, b, step)))
    if pix_fmt in ("rgb48le", "rgba64le", "bgr48le", "bgra64le"):
        step = 4 if "64" in pix_fmt else 3
        r, b = (0, 2) if pix_fmt.startswith("rgb") else (2, 0)
        return Layout("rgb", (Component(0, r, step), Component(0, 1, step), Component(0, b, step)), depth=16)
    if pix_fmt in _SEMI:
        sx, sy, swapped, depth, shift = _SEMI[pix_fmt]
        u, v = Component(1, 0, 2), Component(1, 1, 2)
        return Layout("yuv", (Component(0), *((v, u) if swapped else (u, v))), sx, sy, depth, shift)
    return None


def _bits(suffix: str | None) -> int:
    return int(suffix[:-2]) if suffix else 8


def nearest_layout(pix_fmt: str, has_alpha: bool, bits: int, is_rgb: bool) -> str:
    """The format to convert to for a `pix_fmt` without a layout of its own, losing neither depth nor chroma."""
    if pix_fmt.endswith("be") and layout_of(pix_fmt[:-2] + "le"):
        return pix_fmt[:-2] + "le"
    if pix_fmt in ("yuyv422", "uyvy422", "yvyu422"):
        return "yuv422p"
    if is_rgb:
        return ("rgba" if has_alpha else "rgb24") if bits <= 8 else ("rgba64le" if has_alpha else "rgb48le")
    return ("yuva444p" if has_alpha else "yuv444p") if bits <= 8 else ("yuva444p16le" if has_alpha else "yuv444p16le")
