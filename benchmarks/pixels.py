"""What reaching into a frame costs, for 1080p and 4K pictures: milliseconds, one thread.

    python benchmarks/pixels.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from clips import portrait

from lipsync_core.media import FrameView, own_frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for width, height in ((1920, 1080), (3840, 2160)):
        for pix_fmt in ("yuv420p", "yuv420p10le", "yuv444p", "rgb24"):
            image = cv2.resize(portrait(), (width, height))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            view, box = FrameView(frame), (800, 300, 1200, 700)
            change = np.random.default_rng(0).normal(0, 3, (400, 400, 3)).astype(np.float32)
            crop = np.array([[0.32, 0, -256], [0, 0.32, -96]])
            row = {"picture": f"{width}x{height} {pix_fmt}"}
            jobs = {"thumbnail 416": partial(view.thumbnail, 416), "warp to 128": partial(view.warp, crop, (128, 128)),
                    "read 400x400": partial(view.region, box), "add 400x400": partial(view.add, box, change),
                    "own frame": partial(own_frame, frame)}
            for name, work in jobs.items():
                work()
                begin = time.perf_counter()
                for _ in range(20):
                    work()
                row[name] = round(1000 * (time.perf_counter() - begin) / 20, 2)
            rows.append(row)
            sys.stdout.write("  ".join(f"{k} {v}" for k, v in row.items()) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
