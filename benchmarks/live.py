"""The live dubber: frames a second, latency beyond the look-ahead, memory over a long stream.

    python benchmarks/live.py [--size 1280x720] [--seconds 20] [--lookahead 1.0]        speed and latency
    python benchmarks/live.py --memory [--minutes 30]                                   a small clip again and again

How good the pictures are beside a dub from file to file: `benchmarks/quality.py MEDIA --generators morph live`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from clips import make_clip, make_speech

from lipsync_core import DubOptions
from lipsync_core.audio import load_speech
from lipsync_core.live import LiveDubber
from lipsync_core.media import VideoSource, VideoWriter, own_frame
from lipsync_core.media.pixels import copied
from lipsync_core.threads import Prefetch
from lipsync_core.types import SPEECH_RATE, AudioOriginal

HOW = ("no threads", "a thread of its own")
SETTLED = 60.0
"""Seconds of a long stream after which its memory is looked at first."""


def dub_live(video: Path, audio: Path, output: Path, options: DubOptions, lookahead: float = 1.0) -> int:
    """A file as if it came live, into a file: frames that were dubbed. As in `dub` the shorter of sound and picture decides."""
    source = VideoSource(video, start=options.start, duration=options.duration)
    speech, dubbed = load_speech(audio), 0
    with LiveDubber(replace(options, start=0.0, duration=None), lookahead=lookahead, rotation=source.info.rotation) as live, \
            VideoWriter(output, source.info, options.encoding, audio=AudioOriginal(path=audio)) as writer:

        def write(frames: Iterator) -> int:
            count = 0
            for out in frames:
                writer.write(out.frame, round(out.time / source.info.time_base))
                count += out.dubbed
            return count

        sent = 0
        for item in source.frames():
            if item.time >= speech.duration:
                break
            until = round((item.time + 1 / source.frame_rate) * SPEECH_RATE)
            live.push_audio(speech.samples[sent:until])
            live.push_frame(item.frame, item.time)
            sent = until
            dubbed += write(live.pull())
        live.push_audio(speech.samples[sent:])
        dubbed += write(live.flush())
    return dubbed


def speed(clip: Path, audio: Path, lookahead: float, threaded: bool) -> None:
    """As fast as it goes: decoded beside it, nothing encoded."""
    source, speech = VideoSource(clip), load_speech(audio).samples
    begin, frames, sent = time.perf_counter(), 0, 0
    with LiveDubber(lookahead=lookahead, threaded=threaded) as live, Prefetch(source.frames(), 4) as decoded:
        for item in decoded:
            until = round((item.time + 1 / source.frame_rate) * SPEECH_RATE)
            live.push_audio(speech[sent:until])
            live.push_frame(item.frame, item.time)
            sent = until
            frames += sum(1 for _ in live.pull())
        frames += sum(1 for _ in live.flush())
    spent = time.perf_counter() - begin
    sys.stdout.write(f"{source.size[0]}x{source.size[1]}, {HOW[threaded]}: {frames / spent:.1f} frames a second ({frames} frames, decoding "
                     "included)\n")


def latency(clip: Path, audio: Path, lookahead: float, threaded: bool) -> None:
    """At the clip's own pace: how much later than the look-ahead a frame comes out."""
    source, speech = VideoSource(clip), load_speech(audio).samples
    decoded = [replace(item, frame=copied(own_frame(item.frame))) for item in source.frames()]
    begin, sent = time.perf_counter(), 0
    late: list[float] = []
    with LiveDubber(lookahead=lookahead, threaded=threaded) as live:
        for item in decoded:
            while time.perf_counter() - begin < item.time:
                late += [time.perf_counter() - begin - float(out.time) - lookahead for out in live.pull()]
                time.sleep(0.002)
            until = round((item.time + 1 / source.frame_rate) * SPEECH_RATE)
            live.push_audio(speech[sent:until])
            live.push_frame(item.frame, item.time)
            sent = until
            late += [time.perf_counter() - begin - float(out.time) - lookahead for out in live.pull()]
    usual, late_ones = (1000 * float(np.percentile(late, share)) for share in (50, 99))
    sys.stdout.write(f"look-ahead {lookahead:g} s, {HOW[threaded]}: of {len(late)} frames the median comes {usual:.0f} ms after it is due, "
                     f"99 % within {late_ones:.0f} ms\n")


def memory(clip: Path, audio: Path, minutes: float) -> None:
    """The clip again and again, as one stream."""
    source, speech = VideoSource(clip), load_speech(audio).samples
    frames = [replace(item, frame=own_frame(item.frame)) for item in source.frames()]
    rate, count, sizes, begun = source.frame_rate, 0, deque(), time.perf_counter()
    samples = np.resize(speech, round(len(frames) / rate * SPEECH_RATE))
    with LiveDubber() as live:
        while count / rate < 60 * minutes:
            live.push_audio(samples)
            for item in frames:
                live.push_frame(copied(item.frame), Fraction(count, 1) / rate)
                count += 1
                for _ in live.pull():
                    pass
            if not sizes or count / rate - sizes[-1][0] >= 60 * minutes / 10:
                sizes.append((float(count / rate), resident()))
                sys.stdout.write(f"{sizes[-1][0] / 60:5.1f} min of stream: {sizes[-1][1] / 2**20:.0f} MiB, "
                                 f"{count / (time.perf_counter() - begun):.0f} frames a second\n")
                sys.stdout.flush()
    settled = next(size for second, size in sizes if second >= min(SETTLED, sizes[-1][0]))
    sys.stdout.write(f"the end over the beginning: {sizes[-1][1] / settled:.3f}\n")


def resident() -> int:
    """Bytes of memory that the process holds now (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--lookahead", type=float, default=1.0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--minutes", type=float, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.memory:
            memory(make_clip(Path(folder) / "clip.mp4", 320, 240, 20), make_speech(Path(folder) / "speech.wav", 20), chosen.minutes)
            return
        width, height = (int(v) for v in chosen.size.split("x"))
        clip = make_clip(Path(folder) / "clip.mp4", width, height, chosen.seconds)
        audio = make_speech(Path(folder) / "speech.wav", chosen.seconds + 1)
        for threaded in (False, True):
            speed(clip, audio, chosen.lookahead, threaded)
            latency(clip, audio, chosen.lookahead, threaded)


if __name__ == "__main__":
    main()
