"""Does memory grow with the clip? Peak of `dub` on a short clip and on one ten times as long, each in a process of its own.

    python benchmarks/memory.py            720p, 6 s against 60 s
    python benchmarks/memory.py --4k       3840x2160, 60 s (many minutes)
    python benchmarks/memory.py --bounce   720p, a sixth of the picture extended by bounce (forward, hold) against a clip that is as long
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from clips import make_clip, make_speech

CHILD = """
import resource, sys
from pathlib import Path
from lipsync_core import DubOptions, Encoding, dub
report = dub(sys.argv[1], sys.argv[2], sys.argv[3], DubOptions(encoding=Encoding(preset=sys.argv[4]), extend_video=sys.argv[5]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(report.frames, report.dubbed, peak * (1 if sys.platform == "darwin" else 1024))
"""


def peak(clip: Path, audio: Path, target: Path, preset: str, extend: str = "off") -> tuple[int, int, int]:
    """Frames, dubbed frames, peak resident bytes."""
    run = subprocess.run([sys.executable, "-c", CHILD, str(clip), str(audio), str(target), preset, extend], capture_output=True, text=True,
                         check=True, cwd=Path(__file__).resolve().parent.parent)
    frames, dubbed, size = (int(v) for v in run.stdout.split())
    return frames, dubbed, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--4k", action="store_true", dest="large")
    parser.add_argument("--bounce", action="store_true")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--preset", default="", help="the encoder's (default: its default, medium)")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.bounce:
        extended(10 * chosen.seconds, chosen.preset)
        return
    cases = [(3840, 2160, 60.0)] if chosen.large else [(1280, 720, chosen.seconds), (1280, 720, 10 * chosen.seconds)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for width, height, seconds in cases:
            clip = make_clip(work / f"{height}_{seconds:g}.mp4", width, height, seconds)
            audio = make_speech(work / "speech.wav", seconds)
            frames, dubbed, size = peak(clip, audio, work / "out.mp4", chosen.preset)
            rows.append({"size": f"{width}x{height}", "seconds": seconds, "frames": frames, "dubbed": dubbed, "peak_bytes": size})
            sys.stdout.write(f"{width}x{height} {seconds:5.0f} s  {frames} frames, {dubbed} dubbed  peak {size / 2**20:.0f} MiB\n")
    if len(rows) == 2:
        sys.stdout.write(f"ten times as long: {rows[1]['peak_bytes'] / rows[0]['peak_bytes']:.3f} times the memory\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def extended(seconds: float, preset: str) -> None:
    """The same length, of a clip that is as long and of a sixth of it."""
    with tempfile.TemporaryDirectory() as folder:
        work, plain = Path(folder), 0
        audio = make_speech(work / "speech.wav", seconds)
        long = make_clip(work / "long.mp4", 1280, 720, seconds)
        short = make_clip(work / "short.mp4", 1280, 720, seconds / 6)
        for clip, how in ((long, "off"), (short, "bounce"), (short, "forward"), (short, "hold")):
            frames, dubbed, size = peak(clip, audio, work / "out.mp4", preset, how)
            plain = plain or size
            sys.stdout.write(f"{how:8} {frames} frames, {dubbed} dubbed  peak {size / 2**20:.0f} MiB, {size / plain:.3f} of the plain\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
