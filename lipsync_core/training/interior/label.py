"""Faces of stills: the teacher's landmarks, in the form in which the tracks of clips are kept.

Runs in the environment of requirements-label.txt, from the repository's root, and adds to the tracks that
`lipsync_core.training.articulation.label` makes of clips:

    labels/bin/python -m lipsync_core.training.interior.label MEDIA_FOLDER TRACK_FOLDER --yunet yunet_n_640_640.onnx
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from ...evaluation.mediapipe_teacher import Teacher
from ..faces.label import PICTURES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("tracks", type=Path, help="here: stills__NAME.npz with landmarks (faces, 68, 2) and times, all 0")
    parser.add_argument("--yunet", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.tracks.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(chosen.yunet)
    for file in sorted(f for f in (chosen.media / "stills").iterdir() if f.suffix.lower() in PICTURES):
        image = np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1])
        faces = teacher.faces(image, several=True)
        if faces:
            np.savez_compressed(chosen.tracks / f"stills__{file.stem}.npz", times=np.zeros(len(faces)),
                                landmarks=np.array(faces, np.float32))
        sys.stdout.write(f"{file.name}: {len(faces)} faces\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
