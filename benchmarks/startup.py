"""How soon a short job is done: the whole command over `python -c "import torch"` of the same interpreter, best of several.

    python benchmarks/startup.py [--rounds 5] [--profile]

A ratio of two commands in one run says the same on every machine; torch is most of a short job. `--profile` prints at which second
what was done, and what of it importing torch was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clips import make_clip, make_speech

ROOT = Path(__file__).resolve().parent.parent
FRAMES, SIZE = 29, 512
QUICK = (["--help"], ["dub", "--no-such-option"], ["dub", "no-such-file.mp4", "no.wav", "-o", "no.mp4"], ["models"])
"""What answers without torch."""
PROFILE = """
import sys, time
begin = time.perf_counter()
def say(what): print(f"{time.perf_counter() - begin:6.2f} s   {what}")
import numpy, cv2, av, soundfile, soxr
say("numpy, OpenCV, PyAV, soundfile, soxr imported")
import torch
say("torch imported")
from lipsync_core import Hooks, dub
import lipsync_core.dubbing
say("lipsync_core imported")
said = set()
def progress(stage, done, total):
    if (stage, done == total) not in said:
        said.add((stage, done == total))
        say(f"{stage}: frame {done} of {total}")
dub(sys.argv[1], sys.argv[2], sys.argv[3], hooks=Hooks(progress=progress))
say("last frames encoded, sound muxed, file closed and renamed")
"""


def seconds(command: list[str], until_first_line: bool = False) -> float:
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        first = 0.0
        for line in process.stderr:
            if not first and line.startswith("analyse"):
                first = time.perf_counter() - begin
    return first if until_first_line else time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print one run step by step as well")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    python = [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        clip, speech = make_clip(work / "clip.mp4", SIZE, SIZE, FRAMES / 25), make_speech(work / "speech.wav", FRAMES / 25)
        dub = [*python, "-m", "lipsync_core", "dub", str(clip), str(speech), "-o", str(work / "out.mp4"), "--force"]
        times: dict[str, list[float]] = {"import torch": [], "first line": [], "whole job": []}
        for _ in range(chosen.rounds):
            times["import torch"].append(seconds([*python, "-c", "import torch"]))
            times["first line"].append(seconds(dub, until_first_line=True))
            times["whole job"].append(seconds(dub))
        best = {name: min(values) for name, values in times.items()}
        for name, value in best.items():
            sys.stdout.write(f"{name:14s} {value:5.2f} s   {value / best['import torch']:.2f} times import torch\n")
        for words in QUICK:
            quick = min(seconds([*python, "-m", "lipsync_core", *words]) for _ in range(3))
            sys.stdout.write(f"{' '.join(words)[:40]:40s} {quick:5.2f} s\n")
        if chosen.profile:
            sys.stdout.flush()
            subprocess.run([*python, "-c", PROFILE, str(clip), str(speech), str(work / "profile.mp4")], cwd=ROOT, check=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(times, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
