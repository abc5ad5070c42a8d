"""Who a face is, as 128 numbers: dlib's face recognition network (Davis King, CC0), as a network of our own.

A residual network of 29 convolutions. Two faces whose numbers are less than about 0.6 apart are taken for one person. Weights:
`weights/face_embedding.safetensors`, see its card.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference import WEIGHTS, inference, load_network

SIDE = 150
"""Of the faces that the network is shown, pixels."""
PADDING = 0.25
"""Of a face's size, beside it on each side: as the network was taught."""
MEAN = (122.782, 117.001, 104.298)
"""RGB that is taken off, before division by 256."""
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Channels, blocks, and whether the first block halves the picture."""
_X = """0.000213256 0.0752622 0.18113 0.29077 0.393397 0.586856 0.689483 0.799124 0.904991 0.98004 0.490127 0.490127 0.490127 0.490127
0.36688 0.426036 0.490127 0.554217 0.613373 0.121737 0.187122 0.265825 0.334606 0.260918 0.182743 0.645647 0.714428 0.793132 0.858516
0.79751 0.719335 0.254149 0.340985 0.428858 0.490127 0.551395 0.639268 0.726104 0.642159 0.556721 0.490127 0.423532 0.338094 0.290379
0.428096 0.490127 0.552157 0.689874 0.553364 0.490127 0.42689"""
_Y = """0.106454 0.038915 0.0187482 0.0344891 0.0773906 0.0773906 0.0344891 0.0187482 0.038915 0.106454 0.203352 0.307009 0.409805 0.515625
0.587326 0.609345 0.628106 0.609345 0.587326 0.216423 0.178758 0.179852 0.231733 0.245099 0.244077 0.231733 0.179852 0.178758 0.216423
0.244077 0.245099 0.780233 0.745405 0.727388 0.742578 0.727388 0.745405 0.780233 0.864805 0.902192 0.909281 0.902192 0.864805 0.784792
0.778746 0.785343 0.778746 0.784792 0.824182 0.831803 0.824182"""
_SHAPE = np.stack([np.array(text.split(), float) for text in (_X, _Y)], 1)
"""(51, 2): where points 17 to 67 of the mean face lie, 0..1 (dlib, image_transforms/interpolation.h)."""
_USED = np.array([i for i in range(17, 68) if i > 26 and not 55 <= i <= 59])
"""Points by which a face is laid: brows and the lower lip's rim move too much."""


class Block(nn.Module):
    """Two convolutions beside what came in; halving pads what is smaller with zeros, rows, columns and channels alike."""

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2 if halve else 1, 0 if halve else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if not self.halve:
            return F.relu(x + y)
        x = F.avg_pool2d(x, 2)
        shape = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:])]
        return F.relu(sum(F.pad(z, (0, shape[2] - z.shape[3], 0, shape[1] - z.shape[2], 0, shape[0] - z.shape[1])) for z in (x, y)))


class FaceEmbedding(nn.Module):
    """RGB (B, 3, SIDE, SIDE), 0..255 -> (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, 2)
        channels, blocks = 32, []
        for outputs, count, halve in STAGES:
            for i in range(count):
                blocks.append(Block(channels, outputs, halve and i == 0))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(channels, 128, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first((faces - self.mean) / 256)), 3, 2)
        return self.last(self.blocks(x).mean((2, 3)))


@lru_cache(maxsize=1)
def bundled() -> FaceEmbedding:
    """The network with its weights, loaded when it is first needed."""
    return load_network(FaceEmbedding(), WEIGHTS / "face_embedding.safetensors")


def chip_matrix(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (68, 2) -> affine (2, 3), picture -> the face as the network wants it: turned, scaled and moved, nothing else."""
    target = (_SHAPE[_USED - 17] + PADDING) / (1 + 2 * PADDING) * SIDE
    source = np.asarray(landmarks, np.float64)[_USED]
    a, b = source - source.mean(0), target - target.mean(0)
    p, q = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    turn = (p.conj() * q).sum() / max(float((abs(p) ** 2).sum()), 1e-9)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([linear, (target.mean(0) - linear @ source.mean(0))[:, None]])


def chip(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A picture, RGB (h, w, 3) 0..255, and the landmarks (68, 2) of a face in it -> uint8 (SIDE, SIDE, 3)."""
    matrix = chip_matrix(landmarks)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    pixels = np.asarray(pixels, np.float32)
    if scale < 0.5:                                                   # shrinking is filtered, not aliased
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale)
    warped = cv2.warpAffine(pixels, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.clip(np.rint(warped), 0, 255).astype(np.uint8)


def describe(chips: Sequence[np.ndarray]) -> np.ndarray:
    """Faces as `chip` gives them -> float32 (n, 128)."""
    if not len(chips):
        return np.zeros((0, 128), np.float32)
    with inference():
        faces = torch.from_numpy(np.stack(chips).astype(np.float32)).permute(0, 3, 1, 2)
        return torch.cat([bundled()(part) for part in faces.split(8)]).numpy()
