"""What dubbing costs beside plain transcoding: wall time of `dub` over decode-and-encode with the same encoder settings.

    python benchmarks/transcode_ratio.py [--seconds 10] [--size 1920x1080] [--clip FILE] [--preset medium]

and where the CPU seconds go, each kind of work measured by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from clips import make_clip, make_speech
from cpu_shares import shares

from lipsync_core import DubOptions, Encoding, Hooks, dub
from lipsync_core.media import VideoSource, VideoWriter
from lipsync_core.types import AudioOriginal


def transcode(source: Path, audio: Path, target: Path, encoding: Encoding) -> float:
    begin = time.perf_counter()
    video = VideoSource(source)
    with VideoWriter(target, video.info, encoding, audio=AudioOriginal(path=audio)) as writer:
        for item in video.frames():
            writer.write(item.frame, item.pts)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--clip", type=Path, help="a clip of your own instead of the made one")
    parser.add_argument("--preset", default="", help="the encoder's (default: its default, medium)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    width, height = (int(v) for v in chosen.size.split("x"))
    encoding = Encoding(preset=chosen.preset)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        clip = chosen.clip or make_clip(work / "clip.mp4", width, height, chosen.seconds)
        audio = make_speech(work / "speech.wav", VideoSource(clip).info.duration + 1)
        stages: dict[str, float] = {}
        rows = []
        for _ in range(chosen.rounds):
            plain = transcode(clip, audio, work / "plain.mp4", encoding)
            marks: dict[str, list[float]] = {}
            hooks = Hooks(progress=lambda stage, done, total, marks=marks: marks.setdefault(stage, []).append(time.perf_counter()))
            begin = time.perf_counter()
            report = dub(clip, audio, work / "dubbed.mp4", DubOptions(encoding=encoding), hooks=hooks)
            whole = time.perf_counter() - begin
            stages = {stage: times[-1] - times[0] for stage, times in marks.items()}
            rows.append((plain, whole))
            sys.stdout.write(f"transcode {plain:6.2f} s   dub {whole:6.2f} s   ratio {whole / plain:.2f}   "
                             f"{report.dubbed} of {report.frames} frames dubbed   "
                             + "  ".join(f"{k} {v:.2f} s" for k, v in stages.items()) + "\n")
        parts = shares(clip, audio, work, encoding)
    best = min(whole for _, whole in rows) / min(plain for plain, _ in rows)
    result = {"clip": str(chosen.clip or f"{chosen.size}, {chosen.seconds:g} s, made"), "rounds": rows, "ratio": best, "stages": stages,
              "cpu_seconds": parts}
    total = sum(parts.values())
    said = ", ".join(f"{name} {spent:.1f} ({100 * spent / total:.0f} %)" for name, spent in parts.items())
    plain = parts["encode"] + parts["decode, twice"] / 2
    sys.stdout.write(f"CPU seconds: {said}: {total / plain:.2f} times those of the transcode\n")
    sys.stdout.write(f"ratio of the best times: {best:.2f}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
