"""MediaPipe FaceMesh as a teacher of landmarks and a judge of them.

Runs in an environment with MediaPipe 0.10.21 (requirements-label.txt), so it imports nothing of this package that needs torch.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..mesh import MESH_TO_68

MIRROR = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
          41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
"""Numbers of the 68 points in a mirrored face."""


class Teacher:
    """FaceMesh asked four times about a face: plain and mirrored, on the picture and on an enlarged crop; agreeing answers are
    averaged, which takes about a third off its noise."""

    def __init__(self, yunet: Path) -> None:
        import mediapipe

        mesh = mediapipe.solutions.face_mesh.FaceMesh
        self._one = mesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.5)
        self._many = mesh(static_image_mode=True, refine_landmarks=True, max_num_faces=6, min_detection_confidence=0.5)
        self._yunet = cv2.FaceDetectorYN.create(str(yunet), "", (640, 640), 0.6, 0.3, 500)

    def _mesh(self, mesh, image: np.ndarray) -> list[np.ndarray]:
        height, width = image.shape[:2]
        found = mesh.process(image).multi_face_landmarks or []
        # MediaPipe's 0 is the picture's edge; ours is the first pixel's centre.
        return [np.array([[p.x * width - 0.5, p.y * height - 0.5] for p in face.landmark], np.float32)[MESH_TO_68]
                for face in found]

    def faces(self, image: np.ndarray, several: bool) -> list[np.ndarray]:
        """Landmarks (68, 2) of the faces of an RGB picture; faces on which the answers disagree are left out."""
        result = []
        for points in self._mesh(self._many if several else self._one, image):
            low, high = points.min(0), points.max(0)
            scale = 640 / (2.2 * float((high - low).max()))
            shift = 320 - scale * (low + high) / 2
            crop = cv2.warpAffine(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (640, 640),
                                  flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
            plain, turned = self._mesh(self._one, crop), self._mesh(self._one, np.ascontiguousarray(crop[:, ::-1]))
            if not plain:
                continue
            answer = plain[0]
            unit = float(np.linalg.norm(answer[36] - answer[45])) + 1e-6
            if turned:
                other = turned[0][MIRROR]
                other[:, 0] = 639 - other[:, 0]
                if np.linalg.norm(answer - other, axis=1).mean() < 0.06 * unit:
                    answer = (answer + other) / 2
            answer = (answer - shift) / scale
            if np.linalg.norm(answer - points, axis=1).mean() < 0.15 * np.linalg.norm(points[36] - points[45]):
                result.append(answer.astype(np.float32))
        return result

    def others(self, image: np.ndarray, boxes: list[np.ndarray]) -> bool:
        """Add YuNet's sure faces that `boxes` lack; False where it found one it isn't sure of. `image` at most 640 pixels."""
        canvas = np.zeros((640, 640, 3), np.uint8)
        canvas[:image.shape[0], :image.shape[1]] = image[:, :, ::-1]
        found = self._yunet.detect(canvas)[1]
        for x, y, w, h, *_, score in found if found is not None else []:
            middle = np.array([x + w / 2, y + h / 2])
            if any((middle > box[:2]).all() and (middle < box[2:]).all() for box in boxes):
                continue
            if score < 0.85:
                return False
            boxes.append(np.array([x, y + 0.22 * h, x + w, y + h], np.float32))     # YuNet's box begins at the hair line
        return True
