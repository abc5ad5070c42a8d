"""What finding and following a face costs on one core, 1080p: milliseconds a frame.

    python benchmarks/faces.py [--size 1920x1080]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import torch
from clips import make_clip

from lipsync_core.faces import Tracker, create_backend
from lipsync_core.media import FrameView, VideoSource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--backend", default="builtin")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    width, height = (int(v) for v in chosen.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source = VideoSource(make_clip(Path(folder) / "clip.mp4", width, height, chosen.seconds))
        views = [FrameView(item.frame) for item in source.frames()]
    backend, rows = create_backend(chosen.backend), {}

    def measure(name: str, work, rounds: int = 30) -> None:
        work()
        begin = time.perf_counter()
        for _ in range(rounds):
            work()
        rows[name] = 1000 * (time.perf_counter() - begin) / rounds

    box = backend.detect([views[0]])[0][0].box
    measure("detector, one picture", lambda: backend.detect([views[1]]))
    measure("landmarks, one face", lambda: backend.landmarks([views[1]], [box]))
    tracker = Tracker(backend)
    begin = time.perf_counter()
    for i, view in enumerate(views):
        tracker.feed(i, i / 25, view)
    rows["tracking, all of it, a frame"] = 1000 * (time.perf_counter() - begin) / len(views)
    begin = time.perf_counter()
    tracks = tracker.finish()
    rows["smoothing, pose, activation, a frame"] = 1000 * (time.perf_counter() - begin) / len(views)
    sys.stdout.write("\n".join(f"{name:40s} {value:7.2f} ms" for name, value in rows.items())
                     + f"\n{len(tracks)} track(s), {len(views)} frames of {chosen.size}, one thread\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
