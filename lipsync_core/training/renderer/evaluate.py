"""The renderer beside the warp alone and the truth, on people who were never taught."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from ...inference import inference
from .fit import Reader
from .network import Renderer, lip_maps
from .pack import Packed, unpack

OPEN = 3.0
"""Pixels that lips must be apart for their inside to be measured."""


def measures(pictures: np.ndarray, truth: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """`pictures` and `truth` RGB (n, h, w, 3) 0..255: mean error of the inside of open mouths, of lips and inside, of the rest, in levels,
    and the detail of inside and lips over the truth's (median over pictures)."""
    error = np.abs(pictures.astype(np.float32) - truth).mean(-1)
    inside, lips = maps[:, 0] > 0.5, maps[:, 1] > 0.5
    opened = inside.sum(1).max(1) > OPEN
    found = {"inside": float(error[opened][inside[opened]].mean()), "lips": float(error[lips].mean()), "rest": float(error[~lips].mean())}
    for name, where in (("sharp_inside", inside), ("sharp_lips", lips)):
        ratios = [_detail(a, w) / max(_detail(b, w), 1e-3) for a, b, w in zip(pictures, truth, where) if w.sum() > 40]
        found[name] = float(np.median(ratios))
    return found


def _detail(picture: np.ndarray, where: np.ndarray) -> float:
    grey = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[where].mean())


def draw(network: Renderer, packed: Packed) -> np.ndarray:
    """What the network makes of all pairs: float32 (n, h, w, 3), 0..255."""
    reader, made = Reader(packed, torch.device("cpu")), []
    with inference():
        for first in range(0, len(packed.lips), 16):
            b = reader.batch(np.arange(first, min(first + 16, len(packed.lips))))
            made.append(network(b.warped, b.maps, b.references, b.reference_maps).clamp(-1, 1).permute(0, 2, 3, 1).numpy())
    return (np.concatenate(made) + 1) * 127.5


def evaluate(pack: Path, network: Renderer, sheet: Path | None = None, split: str = "held_out") -> dict[str, dict[str, float]]:
    """{'warp': ..., 'network': ...}; `sheet`: a PNG of source warp, network and truth, side by side."""
    packed = unpack(pack, split)
    made, maps = draw(network, packed), lip_maps(packed.lips)
    if sheet is not None:
        rng = np.random.default_rng(3)
        opened = np.flatnonzero((maps[:, 0] > 0.5).sum(1).max(1) > OPEN)
        rows = np.sort(rng.choice(opened, min(28, len(opened)), replace=False))
        tiles = [np.hstack([packed.warped[i], np.clip(np.rint(made[i]), 0, 255).astype(np.uint8), packed.truth[i]]) for i in rows]
        columns = 4
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        lines = [np.hstack(tiles[k:k + columns]) for k in range(0, len(tiles), columns)]
        cv2.imwrite(str(sheet), np.vstack(lines)[:, :, ::-1])
    return {"warp": measures(packed.warped, packed.truth, maps), "network": measures(made, packed.truth, maps)}
