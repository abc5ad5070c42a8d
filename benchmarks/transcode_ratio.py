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
from cpu_shares import shares, timed

from lipsync_core import DubOptions, Encoding, Hooks, dub
from lipsync_core.media import VideoSource, VideoWriter
from lipsync_core.types import AudioOriginal


def transcode(source: Path, audio: Path, target: Path, encoding: Encoding) -> None:
    video = VideoSource(source)
    with VideoWriter(target, video.info, encoding, audio=AudioOriginal(path=audio)) as writer:
        for item in video.frames():
            writer.write(item.frame, item.pts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--clip", type=Path, help="a clip of your own instead of the made one")
    parser.add_argument("--preset", default="", help="the encoder's (default: its default, medium)")
    parser.add_argument("--rounds", type=int, default=3, help="a transcode and a dub each")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    width, height = (int(v) for v in chosen.size.split("x"))
    encoding = Encoding(preset=chosen.preset)
    options = DubOptions(encoding=encoding)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        clip = chosen.clip or make_clip(work / "clip.mp4", width, height, chosen.seconds)
        audio = make_speech(work / "speech.wav", VideoSource(clip).info.duration + 1)
        stages: dict[str, float] = {}
        rows = []
        for _ in range(chosen.rounds):
            _, plain, plain_cpu = timed(lambda: transcode(clip, audio, work / "plain.mp4", encoding))
            marks: dict[str, list[float]] = {}
            hooks = Hooks(progress=lambda stage, done, total, marks=marks: marks.setdefault(stage, []).append(time.perf_counter()))
            report, whole, whole_cpu = timed(lambda hooks=hooks: dub(clip, audio, work / "dubbed.mp4", options, hooks=hooks))
            stages = {stage: times[-1] - times[0] for stage, times in marks.items()}
            rows.append((plain, whole, plain_cpu, whole_cpu))
            sys.stdout.write(f"transcode {plain:6.2f} s   dub {whole:6.2f} s   ratio {whole / plain:.2f}   "
                             f"{report.dubbed} of {report.frames} frames dubbed   "
                             + "  ".join(f"{k} {v:.2f} s" for k, v in stages.items()) + "\n")
        parts = shares(clip, audio, work, encoding)
    plain, whole, plain_cpu, whole_cpu = (sum(values) for values in zip(*rows))
    best = min(row[1] for row in rows) / min(row[0] for row in rows)
    result = {"clip": str(chosen.clip or f"{chosen.size}, {chosen.seconds:g} s, made"), "rounds": rows, "ratio": whole / plain,
              "ratio_of_best": best, "cpu_ratio": whole_cpu / plain_cpu, "stages": stages, "cpu_seconds": parts}
    total = sum(parts.values())
    said = ", ".join(f"{name} {spent:.1f} ({100 * spent / total:.0f} %)" for name, spent in parts.items())
    alone = parts["encode"] + parts["decode, twice"] / 2
    sys.stdout.write(f"CPU seconds, each kind alone: {said}: {total / alone:.2f} times those of the transcode\n")
    sys.stdout.write(f"ratio of all rounds: {whole / plain:.2f} (CPU seconds {whole_cpu / plain_cpu:.2f}); of the best times: {best:.2f}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
