"""Mouths of real clips over time: the teacher's landmarks of every frame.

Runs in the environment of requirements-label.txt, from the repository's root:

    labels/bin/python -m lipsync_core.training.articulation.label MEDIA_FOLDER TRACK_FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from ...evaluation.mediapipe_landmarks import SingleFace, track

FOLDERS = ("talking", "expressions", "grid_s1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--part", default="0/1", help="the Kth of N parts of the files, K/N, for several processes")
    chosen = parser.parse_args()
    chosen.tracks.mkdir(parents=True, exist_ok=True)
    part, parts = (int(v) for v in chosen.part.split("/"))
    teacher = SingleFace()
    files = [f for folder in FOLDERS for f in sorted((chosen.media / folder).iterdir())]
    for file in files[part::parts]:
        target = chosen.tracks / f"{file.parent.name}__{file.stem}.npz"
        if target.exists():
            continue
        times, shapes = track(teacher, file)
        found = np.isfinite(shapes[:, 0, 0]).mean() if len(shapes) else 0.0
        if len(shapes):
            np.savez_compressed(target, times=times, landmarks=shapes)
        sys.stdout.write(f"{file.name}: {len(shapes)} frames, {100 * found:.0f} % with a face\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
