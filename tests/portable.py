"""The suite as it would run on other processors: slower instructions for torch, oneDNN, numpy and OpenCV, other numbers of threads.

    python tests/portable.py [--only NAME] … [--list] [what pytest takes: files, -k, -m …]

Results may differ in their last digits from one processor to the next; verdicts may not. Without arguments for pytest the fast part runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAST = ["-m", "not slow", "tests/unit", "tests/media"]


def numpy_features() -> str:
    """What this numpy may use beyond its baseline here, newest first."""
    code = ("import numpy as np; from numpy._core._multiarray_umath import __cpu_dispatch__ as d, __cpu_features__ as f\n"
            "print(*[name for name in d if f.get(name)])")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def settings() -> dict[str, dict[str, str]]:
    """Names -> environment variables."""
    plain = {"torch-default": {"ATEN_CPU_CAPABILITY": "default"}, "torch-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
             "onednn-sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"}, "numpy-baseline": {"NPY_DISABLE_CPU_FEATURES": numpy_features()},
             "opencv-baseline": {"OPENCV_CPU_DISABLE": "AVX2,AVX512_SKX"}}
    threads = {f"threads-{n}": {"OMP_NUM_THREADS": str(n)} for n in (1, 2, 4)}
    old = {key: value for part in plain.values() for key, value in part.items()} | plain["torch-default"] | threads["threads-1"]
    return plain | threads | {"old-processor": old, "busy": {}}


def spin() -> None:
    while True:
        sum(range(10_000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*settings()], metavar="NAME", help="may be repeated")
    parser.add_argument("--list", action="store_true")
    chosen, words = parser.parse_known_args()
    rows, failed = [], False
    for name, variables in settings().items():
        if chosen.list:
            sys.stdout.write(f"{name:16s} {variables or 'another process on every core'}\n")
        if chosen.list or (chosen.only and name not in chosen.only):
            continue
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 2)] if name == "busy" else []
        for other in others:
            other.start()
        begin = time.monotonic()
        run = subprocess.run([sys.executable, "-m", "pytest", "-q", *(words or FAST)], cwd=ROOT, env=os.environ | variables,
                             capture_output=True, text=True)
        for other in others:
            other.kill()
        lines = run.stdout.strip().splitlines() or run.stderr.strip().splitlines() or ["no output"]
        rows.append(f"{name:16s} {'passed' if not run.returncode else 'FAILED'}   {lines[-1]}   ({time.monotonic() - begin:.0f} s)")
        if run.returncode:
            failed = True
            sys.stdout.write(run.stdout[-6000:] + run.stderr[-2000:])
        sys.stdout.write(rows[-1] + "\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
