"""Which way a head turns, from its landmarks."""

from __future__ import annotations

import numpy as np

_TEMPLATE = np.array([
    [-777, -46, 455], [-785, 314, 569], [-775, 481, 548], [-701, 830, 401], [-629, 960, 269], [-547, 1050, 134],
    [-353, 1188, -66], [-145, 1269, -220], [0, 1280, -242], [145, 1269, -220], [353, 1188, -66], [547, 1050, 134],
    [629, 960, 269], [701, 830, 401], [775, 481, 548], [785, 314, 569], [777, -46, 455], [-643, -159, 32], [-573, -235, -51],
    [-464, -280, -121], [-323, -283, -188], [-163, -268, -225], [163, -268, -225], [323, -283, -188], [464, -280, -121],
    [573, -235, -51], [643, -159, 32], [0, -83, -242], [0, 65, -372], [0, 201, -519], [0, 293, -561], [-156, 428, -337],
    [-94, 463, -365], [0, 466, -385], [94, 463, -365], [156, 428, -337], [-500, 0, 0], [-430, -53, -68], [-315, -63, -87],
    [-194, 10, -63], [-298, 20, -87], [-410, 25, -67], [194, 10, -63], [315, -63, -87], [430, -53, -68], [500, 0, 0],
    [410, 25, -67], [298, 20, -87], [-317, 728, -163], [-185, 637, -342], [-95, 612, -384], [0, 626, -395], [95, 612, -384],
    [185, 637, -342], [317, 728, -163], [180, 844, -314], [97, 869, -355], [0, 877, -364], [-97, 869, -355],
    [-180, 844, -314], [-289, 727, -183], [-80, 693, -332], [0, 696, -343], [80, 693, -332], [289, 727, -183],
    [80, 770, -321], [0, 774, -332], [-80, 770, -321]], np.float64) / 1000
"""A mean face, 68 points in x right, y down, z away from the camera, unit = distance of the outer eye corners, origin between
them: Procrustes mean of the landmark teacher's (MediaPipe FaceMesh) points on the stills and clips of the training data. The
brow-to-chin line stands upright in it, which is what pitch 0 means here."""

ROWS = 4096
"""Rows that are worked on at a time."""
_WEIGHT = np.ones(68)
_WEIGHT[0:17] = 0.15
_WEIGHT[17:27] = 0.3
_WEIGHT[48:68] = 0.1
"""Mouth, brows and the sliding outline of the jaw say little about the head."""


def estimate_pose(landmarks: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees, float32 (n, 3), of landmarks (n, 68, 2) under weak perspective.

    Yaw > 0: the face turns to the picture's right; pitch > 0: it looks up; roll > 0: its eye line turns clockwise.
    """
    if len(landmarks) > ROWS:                                         # hours need no more memory than minutes
        return np.concatenate([estimate_pose(landmarks[i:i + ROWS]) for i in range(0, len(landmarks), ROWS)])
    points = np.asarray(landmarks, np.float64)
    weight = _WEIGHT / _WEIGHT.sum()
    model = _TEMPLATE - weight @ _TEMPLATE
    image = points - np.einsum("k,nkd->nd", weight, points)[:, None]
    # Weighted least squares of the 2 x 3 projection, then the nearest scaled rotation rows.
    gram = np.linalg.inv((model * weight[:, None]).T @ model)
    projection = np.einsum("nkd,k,kj,ji->ndi", image, weight, model, gram)
    u, _, vt = np.linalg.svd(projection, full_matrices=False)
    rows = u @ vt
    r1, r2 = rows[:, 0], rows[:, 1]
    r3 = np.cross(r1, r2)
    # Roll first: turn the picture so that the face's x axis projects level.
    roll = np.arctan2(r2[:, 0], r1[:, 0])
    yaw = np.arctan2(-r3[:, 0], np.hypot(r1[:, 0], r2[:, 0]))
    pitch = -np.arctan2(r3[:, 1], r3[:, 2])
    # The face's nose points to -z; a nose that moves to the picture's right is a turn to the right.
    return np.degrees(np.stack([-yaw, pitch, roll], 1)).astype(np.float32)


def mean_face(pose: np.ndarray) -> np.ndarray:
    """The mean face as a camera sees it under the yaw and pitch of `pose` (n, 3), upright: x right, y down, float64 (n, 68, 2).

    Inverse of `estimate_pose`: the unit is the outer-eye distance seen from the front, the origin between the eyes.
    """
    yaw, pitch = np.radians(np.asarray(pose, np.float64)[:, :2]).T[..., None]
    x, y, z = _TEMPLATE.T
    depth = z * np.cos(yaw) + x * np.sin(yaw)
    return np.stack([x * np.cos(yaw) - z * np.sin(yaw), y * np.cos(pitch) + depth * np.sin(pitch)], -1)
