"""The built-in face models: our own weights, shipped with the package."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from ..inference import WEIGHTS, inference, load_network
from ..types import Pixels
from .backend import Detection
from .crops import LANDMARK_SIZE, landmark_matrix
from .networks import DetectorNet, LandmarkNet, folded

LOOKS = (416, 960)
"""Longer side of the picture that the detector is shown, pixels; the second look is taken where the first finds nobody."""
OVERLAP = 0.4
"""Two boxes that overlap more (intersection over union) are one face."""


class BuiltinBackend:
    """See `FaceBackend`."""

    name = "builtin"

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._detector = load_network(folded(DetectorNet()), WEIGHTS / "face_detector.safetensors", device)
        self._landmarks = load_network(folded(LandmarkNet()), WEIGHTS / "face_landmarks.safetensors", device)
        self.networks = nn.ModuleList([self._detector, self._landmarks])
        """Both, for a host that moves them; `device` must say where they are."""

    def begin(self, frame: int) -> None:
        pass

    def detect(self, pictures: Sequence[Pixels], min_score: float = 0.5) -> list[list[Detection]]:
        return [self._detect(picture, min_score) for picture in pictures]

    def _detect(self, picture: Pixels, min_score: float) -> list[Detection]:
        for look in LOOKS:
            if look != LOOKS[0] and max(picture.width, picture.height) <= LOOKS[0]:
                break
            if found := self._look(picture.thumbnail(look), picture, min_score):
                return found
        return []

    def _look(self, image: np.ndarray, picture: Pixels, min_score: float) -> list[Detection]:
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        with inference():
            out = self._detector(self._tensor(padded[None]))[0]
            score = out[0].sigmoid()
            peak = nn.functional.max_pool2d(score[None, None], 3, 1, 1)[0, 0]
            ys, xs = torch.nonzero((score >= min_score) & (score >= peak), as_tuple=True)
            values = torch.cat([score[ys, xs][None], out[1:, ys, xs], xs[None].float(), ys[None].float()]).cpu().numpy()
        scores, dx, dy, lw, lh, cx, cy = values
        stride = DetectorNet.STRIDE
        x, y = (cx + 0.5 + dx) * stride, (cy + 0.5 + dy) * stride
        w, h = np.exp(lw) * stride, np.exp(lh) * stride
        scale = np.array([picture.width / width, picture.height / height] * 2, np.float32)
        boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * scale - 0.5
        kept: list[Detection] = []
        for i in np.argsort(-scores):
            if all(overlap(boxes[i], other.box) < OVERLAP for other in kept):
                kept.append(Detection(boxes[i].astype(np.float32), float(scores[i])))
        return kept

    def landmarks(self, pictures: Sequence[Pixels], shapes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        if not len(pictures):
            return np.zeros((0, 68, 2), np.float32), np.zeros(0, np.float32)
        matrices = [landmark_matrix(shape) for shape in shapes]
        crops = np.stack([p.warp(m, (LANDMARK_SIZE, LANDMARK_SIZE)) for p, m in zip(pictures, matrices)])
        with inference():
            points, logits = self._landmarks(self._tensor(crops))
            points, confidence = points.cpu().numpy() * (LANDMARK_SIZE - 1), logits.sigmoid().cpu().numpy()[:, 0]
        back = np.stack([cv2.invertAffineTransform(m) for m in matrices])
        return (np.einsum("nij,npj->npi", back[:, :, :2], points) + back[:, None, :, 2]).astype(np.float32), confidence

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float().div_(255)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0
