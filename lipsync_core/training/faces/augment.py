"""Augmentation of labelled face crops: what cameras, codecs and people do to a picture."""

from __future__ import annotations

import cv2
import numpy as np

MIRROR = np.array([*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
                   45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
                   64, 63, 62, 61, 60, 67, 66, 65])
"""Row i of a mirrored face's landmarks is row MIRROR[i] of the face's (iBUG 68)."""


def mirror(points: np.ndarray, width: int) -> np.ndarray:
    """Landmarks (68, 2) of a picture of `width` pixels, mirrored left to right, left and right swapped."""
    flipped = points[MIRROR].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


def geometry(rng: np.random.Generator, base: np.ndarray, size: int, rotation: float, scale: float, shift: float) -> np.ndarray:
    """`base` (2, 3) picture -> crop followed by a random similarity with some change of aspect, about the crop's middle.

    Deviations: `rotation` degrees, `scale` (log), `shift` (share of the crop).
    """
    angle = np.deg2rad(rng.normal(0, rotation))
    s = np.exp(rng.normal(0, scale))
    aspect = np.exp(rng.normal(0, 0.05))
    c = (size - 1) / 2
    linear = s * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([aspect, 1 / aspect])
    moved = np.hstack([linear, (np.array([c, c]) - linear @ [c, c] + rng.normal(0, shift * size, 2))[:, None]])
    return moved[:, :2] @ base + np.hstack([np.zeros((2, 2)), moved[:, 2:]])


def degrade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light, colour, blur, low resolution, noise, JPEG on an RGB uint8 crop (h, w, 3); the same shape and type."""
    h, w = image.shape[:2]
    x = image
    if rng.random() < 0.25:
        small = max(12, int(w * rng.uniform(0.2, 0.7)))
        x = cv2.resize(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.15:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 2.0))
    elif rng.random() < 0.08:
        k = int(rng.integers(3, 8))
        line = np.zeros((k, k), np.float32)
        cv2.line(line, (0, int(rng.integers(0, k))), (k - 1, int(rng.integers(0, k))), 1.0)
        x = cv2.filter2D(x, -1, line / max(float(line.sum()), 1))
    y = x.astype(np.float32)
    y = (y - 127) * np.exp(rng.normal(0, 0.25)) + 127 + rng.normal(0, 22)
    y *= np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    if rng.random() < 0.25:
        # Light from one side.
        angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        ramp = np.cos(angle) * np.linspace(-1, 1, w)[None, :] + np.sin(angle) * np.linspace(-1, 1, h)[:, None]
        y *= (1 + gain * ramp[..., None]).astype(np.float32)
    if rng.random() < 0.12:
        y[:] = y.mean(-1, keepdims=True)
    if rng.random() < 0.3:
        y = 255 * (np.clip(y, 0, 255) / 255) ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.3:
        y += rng.standard_normal((h, w, 1 if rng.random() < 0.5 else 3), np.float32) * rng.uniform(1, 14)
    out = np.clip(y, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 70))])[1], 1)
    return out


def occlude(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw something before the face, in place: a patch of the picture itself, a plain shape or a bar."""
    h, w = image.shape[:2]
    centre = (int(rng.uniform(0.1, 0.9) * w), int(rng.uniform(0.2, 1.0) * h))
    axes = (int(rng.uniform(0.06, 0.22) * w), int(rng.uniform(0.06, 0.22) * h))
    colour = rng.integers(0, 256, 3).tolist() if rng.random() < 0.5 else image[int(rng.integers(h)), int(rng.integers(w))].tolist()
    if rng.random() < 0.6:
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    else:
        end = (centre[0] + int(rng.normal(0, w)), centre[1] + int(abs(rng.normal(0, h))))
        cv2.line(image, centre, end, colour, int(rng.uniform(0.03, 0.14) * w), cv2.LINE_AA)
