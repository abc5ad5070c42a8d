"""The network beside the warp alone and the truth, on people who were never taught."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch

from ...generators.lipsyncnet import LipSyncNet, drawn
from ...generators.lipsyncnet.canvas import SIDE, lip_maps
from ...inference import inference
from .pack import Packed, unpack
from .reader import OPEN, Reader

SHUT = 1.0
"""Pixels that lips are apart at most that count as shut."""
SHIFT = 0.5
"""Pixels by which a picture is moved to see whether what is drawn moves with it."""


def measures(pictures: np.ndarray, truth: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """`pictures` and `truth` RGB (n, h, w, 3) 0..255, `maps` as the network's. In levels: mean error of the inside of open mouths, of lips
    and inside, of shut lips, of the rest. Structural similarity of the inside and of the lips (median over pictures). The detail of
    inside and lips over the truth's (median). The contrast of the inside, from its darkest to its brightest tenth, over the truth's
    (median): fog in dark holes costs less error than teeth in the wrong place, and looks worse."""
    error = np.abs(pictures.astype(np.float32) - truth).mean(-1)
    inside, lips = maps[:, 0] > 0.5, maps[:, 1] > 0.5
    high = inside.sum(1).max(1) * SIDE / maps.shape[-1]
    found = {"inside": _mean(error, inside & (high > OPEN)[:, None, None]), "lips": _mean(error, lips),
             "shut": _mean(error, lips & (high <= SHUT)[:, None, None]), "rest": _mean(error, ~lips)}
    alike = [similarity(a, b) for a, b in zip(pictures, truth)]
    for name, where in (("inside", inside), ("lips", lips)):
        rows = [i for i, w in enumerate(where) if w.sum() > 40]
        found[f"ssim_{name}"] = float(np.median([alike[i][where[i]].mean() for i in rows])) if rows else float("nan")
        ratios = [_detail(pictures[i], where[i]) / max(_detail(truth[i], where[i]), 1e-3) for i in rows]
        found[f"sharp_{name}"] = float(np.median(ratios)) if rows else float("nan")
        if name == "inside":
            spans = [_contrast(pictures[i], where[i]) / max(_contrast(truth[i], where[i]), 1.0) for i in rows]
            found["contrast"] = float(np.median(spans)) if rows else float("nan")
    return found


def _contrast(picture: np.ndarray, where: np.ndarray) -> float:
    low, high = np.percentile(picture.mean(-1)[where], (10, 90))
    return float(high - low)


def _mean(error: np.ndarray, where: np.ndarray) -> float:
    return float(error[where].mean()) if where.any() else float("nan")


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of two RGB pictures 0..255, (h, w): Wang et al. 2004, Gaussian window of 1.5 pixels, of their grey."""
    x, y = (cv2.cvtColor(np.clip(p, 0, 255).astype(np.float32), cv2.COLOR_RGB2GRAY) for p in (a, b))

    def blur(p: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(p, (11, 11), 1.5)

    mx, my = blur(x), blur(y)
    vx, vy, both = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))


def _detail(picture: np.ndarray, where: np.ndarray) -> float:
    grey = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[where].mean())


def draw(network: LipSyncNet, packed: Packed, shift: float = 0.0) -> np.ndarray:
    """What the network makes of all pairs: float32 (n, size, size, 3), 0..255. `shift`: pixels that the warp is moved to the right before,
    and what is drawn back."""
    config = network.config
    if shift:
        packed = dataclasses.replace(packed, warped=moved(packed.warped, shift), lips=packed.lips + shift * SIDE / packed.warped.shape[2])
    reader, made = Reader(packed, torch.device("cpu"), config.size, config.references), []
    with inference():
        for first in range(0, len(reader), 16):
            b = reader.batch(np.arange(first, min(first + 16, len(reader))))
            made.append(drawn(network, b.warped, b.maps, b.references, b.reference_maps).clamp(-1, 1).permute(0, 2, 3, 1).numpy())
    found = (np.concatenate(made) + 1) * 127.5
    return moved(found, -shift * config.size / packed.warped.shape[2]) if shift else found


def moved(pictures: np.ndarray, shift: float) -> np.ndarray:
    """Pictures (n, h, w, c) moved to the right by `shift` pixels."""
    matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    return np.stack([cv2.warpAffine(p, matrix, p.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for p in pictures])


def evaluate(pack: Path, network: LipSyncNet, sheet: Path | None = None, split: str = "held_out") -> dict[str, dict[str, float]]:
    """{'warp': ..., 'network': ...}, `measures` of both and `wobble`, by how many levels the mouth changes where its picture is moved by
    half a pixel and back (the more detail, the more; `wobble_truth`: the truth itself); `sheet`: a PNG of warp, network and truth, side by
    side. Raises `LipSyncError` where `pack` holds no pairs."""
    packed = unpack(pack, split)
    size = network.config.size
    maps = lip_maps(packed.lips, size)
    warped, truth = (np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_CUBIC) for p in pictures]) if pictures.shape[1] != size
                     else pictures for pictures in (packed.warped, packed.truth))
    made, again = draw(network, packed), draw(network, packed, SHIFT)
    # What resampling and eight bits alone change: the network is shown rounded pixels, too.
    still, true_still = (moved(moved(pictures, SHIFT).astype(np.float32), -SHIFT) for pictures in (warped, truth))
    lips = maps[:, 1] > 0.5
    found = {"warp": measures(warped, truth, maps), "network": measures(made, truth, maps)}
    found["warp"]["wobble"] = _mean(np.abs(still - warped).mean(-1), lips)
    found["network"]["wobble"] = _mean(np.abs(again - made).mean(-1), lips)
    for part in found.values():
        part["wobble_truth"] = _mean(np.abs(true_still - truth).mean(-1), lips)
    if sheet is not None:
        rng = np.random.default_rng(3)
        opened = np.flatnonzero((maps[:, 0] > 0.5).sum(1).max(1) > OPEN * size / SIDE)
        rows = np.sort(rng.choice(opened, min(28, len(opened)), replace=False))
        tiles = [np.hstack([warped[i], np.clip(np.rint(made[i]), 0, 255).astype(np.uint8), truth[i]]) for i in rows]
        columns = 4
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        lines = [np.hstack(tiles[k:k + columns]) for k in range(0, len(tiles), columns)]
        cv2.imwrite(str(sheet), np.vstack(lines)[:, :, ::-1])
    return found
