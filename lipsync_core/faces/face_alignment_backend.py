"""The `face-alignment` package (S3FD detector, 2DFAN-4 landmarks) as a backend: slower, stronger on hard footage.

The package downloads its weights (90 MB and 96 MB) on first use into torch's hub folder.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
import torch

from ..errors import FaceError
from ..types import Pixels
from .backend import Detection

LOOK = 640
"""Longer side of the picture that the detector is shown, pixels."""
CROP = 384
"""Side of the crop, about twice the face, that the landmark network's own 256-pixel crop is cut from."""
FILES = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")
SOURCE = "https://www.adrianbulat.com/downloads/python-fan/"


class FaceAlignmentBackend:
    """See `FaceBackend`. Raises `FaceError` where the package or its weights can't be had."""

    name = "face-alignment"

    def __init__(self, device: str = "cpu") -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise FaceError("The face backend 'face-alignment' needs that package: pip install face-alignment, or use the "
                            "built-in one.") from error
        kinds = face_alignment.LandmarksType
        options = {"device": device, "flip_input": False, "face_detector": "sfd"}
        if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters:
            options["compile"] = False                                # minutes on first use, and a C++ compiler
        try:
            self._model = face_alignment.FaceAlignment(getattr(kinds, "TWO_D", None) or kinds._2D, **options)
        except (URLError, ConnectionError, TimeoutError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise FaceError(f"The weights of 'face-alignment' can't be downloaded ({getattr(error, 'reason', error)}): put "
                            f"{' and '.join(FILES)} from {SOURCE} into {folder}, or use the built-in backend.") from error
        except (RuntimeError, OSError, EOFError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise FaceError(f"The weights of 'face-alignment' in {folder} can't be loaded ({str(error).splitlines()[0]}): delete "
                            f"{' and '.join(FILES)} there so that they are downloaded again.") from error

    def begin(self, frame: int) -> None:
        pass

    def detect(self, pictures: Sequence[Pixels], min_score: float = 0.5) -> list[list[Detection]]:
        result = []
        for picture in pictures:
            image = picture.thumbnail(LOOK)
            scale = picture.width / image.shape[1]
            faces = []
            for x0, y0, x1, y1, score in (np.asarray(box, np.float32)[:5] for box in
                                          self._model.face_detector.detect_from_image(image.copy())):
                # S3FD's boxes reach up to the hair line; ours begin at the brows.
                box = np.array([x0, y0 + 0.25 * (y1 - y0), x1, y1], np.float32) * scale
                if score >= min_score:
                    faces.append(Detection(box, float(min(score, 1.0))))
            result.append(sorted(faces, key=lambda face: -face.score))
        return result

    def landmarks(self, pictures: Sequence[Pixels], shapes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        points, confidences = np.zeros((len(pictures), 68, 2), np.float32), np.zeros(len(pictures), np.float32)
        for i, (picture, shape) in enumerate(zip(pictures, shapes)):
            shape = np.asarray(shape, np.float64)
            x0, y0, x1, y1 = shape if shape.shape == (4,) else np.concatenate([shape.min(0), shape.max(0)])
            y0 -= (y1 - y0) / 3                                       # the box the landmark network was taught with
            scale = CROP / (2 * max(x1 - x0, y1 - y0, 1.0))
            matrix = np.array([[scale, 0, CROP / 2 - scale * (x0 + x1) / 2], [0, scale, CROP / 2 - scale * (y0 + y1) / 2]])
            box = (np.array([[x0, y0], [x1, y1]]) @ matrix[:, :2].T + matrix[:, 2]).reshape(4)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, scores, _ = self._model.get_landmarks_from_image(picture.warp(matrix, (CROP, CROP)), [box],
                                                                        return_landmark_score=True)
            back = cv2.invertAffineTransform(matrix)
            points[i] = np.asarray(found[0], np.float64)[:, :2] @ back[:, :2].T + back[:, 2]
            # Heat-map peaks: about 0.6 to 0.9 on a clear face, under 0.2 on anything else.
            confidences[i] = np.clip((float(np.mean(scores[0])) - 0.1) / 0.4, 0, 1)
        return points, confidences
