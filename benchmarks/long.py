"""Hours of video: does it go through, with memory as for a minute, and are picture and sound together at the end?

    python benchmarks/long.py [--hours 3]     a face at 320x240, 24000/1001 frames a second

Every minute the picture's corner flashes for one frame and the sound clicks. In the result each flash is looked for in the decoded picture,
each click in the decoded sound; their distance is printed. Memory is of a process of its own, for a minute and for all of it: its peak, and
the part of the peak that no file holds (Linux).
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
from clips import SPEECH, portrait

from lipsync_core.media import Encoding, VideoInfo, VideoWriter

RATE, SOUND = Fraction(24000, 1001), 44_100
WIDTH, HEIGHT, MINUTE = 320, 240, 1440
"""Frames of a round of the picture: about a minute."""
CLICK = 0.5 * np.sin(2 * np.pi * 6000 * np.arange(SOUND // 100) / SOUND).astype(np.float32)
CHILD = """
import sys, threading, time, re
from lipsync_core import DubOptions, Encoding, dub
peak = [0, 0]
def watch():
    while True:
        with open("/proc/self/status") as file:
            found = dict(re.findall(r"(VmRSS|RssAnon):\\s+(\\d+)", file.read()))
        peak[0], peak[1] = max(peak[0], int(found["VmRSS"])), max(peak[1], int(found["RssAnon"]))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
report = dub(sys.argv[1], sys.argv[2], sys.argv[3], DubOptions(encoding=Encoding(preset="ultrafast")))
print(report.frames, report.dubbed, peak[0], peak[1])
"""


def make_round(file: Path) -> None:
    """A minute of a face; a corner flashes in its first frame."""
    info = VideoInfo(WIDTH, HEIGHT, "yuv420p", RATE, 1 / RATE, 0, Fraction(1), 1, 1, 1, 1, 0, 60, "")
    picture = portrait()
    with VideoWriter(file, info, Encoding(crf=23, preset="ultrafast")) as writer:
        for i in range(MINUTE):
            turn = 2 * math.pi * i / MINUTE
            zoom, x, y = HEIGHT / 290 * (1 + 0.04 * math.sin(7 * turn)), 222 + 6 * math.sin(8 * turn), 150 + 4 * math.sin(11 * turn)
            matrix = np.array([[zoom, 0, WIDTH / 2 - zoom * x], [0, zoom, HEIGHT / 2 - zoom * y]])
            image = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
            image[:32, :32] = 255 if i == 0 else 0
            writer.write(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", dst_colorspace=1), i)


def repeated(one: Path, target: Path, rounds: int) -> None:
    """The same packets again and again."""
    with av.open(str(target), "w") as output:
        stream = None
        for number in range(rounds):
            with av.open(str(one)) as source:
                picture = source.streams.video[0]
                stream = stream or output.add_stream_from_template(picture)
                shift = round(number * MINUTE / RATE / picture.time_base)
                for packet in source.demux(picture):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        output.mux(packet)


def make_sound(file: Path, rounds: int) -> None:
    """Speech, and a click with each flash."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    speech = np.interp(np.arange(int(len(speech) * SOUND / rate)) * rate / SOUND, np.arange(len(speech)), 0.5 * speech).astype(np.float32)
    with soundfile.SoundFile(file, "w", SOUND, 1, "PCM_16") as out:
        ends = [round(number * MINUTE / RATE * SOUND) for number in range(rounds + 1)]
        for begin, end in zip(ends, ends[1:]):
            block = np.resize(speech, end - begin)
            block[:len(CLICK)] = CLICK
            out.write(block)


def flashes(file: Path) -> Iterator[float]:
    """Seconds of the frames with a white corner."""
    with av.open(str(file)) as source:
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in source.decode(stream):
            plane = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
            if plane[4:28, 4:28].mean() > 128:
                yield float(frame.pts * frame.time_base)


def clicks(file: Path, near: list[float]) -> Iterator[float]:
    """Seconds of the loudest 6 kHz within half a second of each of `near`."""
    with av.open(str(file)) as source:
        stream, held, begin, wanted = source.streams.audio[0], np.zeros(0, np.float32), None, list(near)
        for frame in source.decode(stream):
            begin = float(frame.pts * frame.time_base) if begin is None else begin
            held = np.concatenate([held, frame.to_ndarray().reshape(1, -1)[0].astype(np.float32)])
            while wanted and begin + len(held) / SOUND > wanted[0] + 1:
                first = max(0, round((wanted[0] - 0.5 - begin) * SOUND))
                part = held[first:first + SOUND]
                strength = np.abs(np.convolve(part, np.exp(2j * np.pi * 6000 * np.arange(len(CLICK)) / SOUND), mode="valid"))
                yield begin + (first + int(strength.argmax())) / SOUND
                del wanted[0]
            keep = len(held) - 3 * SOUND
            if keep > 0:
                held, begin = held[keep:], begin + keep / SOUND


def measured(work: Path, rounds: int) -> tuple[Path, int]:
    clip, sound, result = work / f"{rounds}.mp4", work / f"{rounds}.wav", work / f"{rounds}_out.mp4"
    repeated(work / "round.mp4", clip, rounds)
    make_sound(sound, rounds)
    begun = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", CHILD, str(clip), str(sound), str(result)], stdout=subprocess.PIPE, text=True, check=True,
                         cwd=Path(__file__).resolve().parent.parent)
    spent = time.perf_counter() - begun
    frames, dubbed, peak, own = (int(word) for word in run.stdout.split())
    sys.stdout.write(f"{rounds * MINUTE / float(RATE) / 60:.1f} min: {frames} frames, {dubbed} dubbed, {spent:.0f} s; peak "
                     f"{peak / 1024:.0f} MiB, {own / 1024:.0f} of it its own\n")
    sys.stdout.flush()
    return result, own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_round(work / "round.mp4")
        _, short = measured(work, 1)
        rounds = math.ceil(chosen.hours * 3600 * RATE / MINUTE)
        result, long = measured(work, rounds)
        seen = list(flashes(result))
        heard = list(clicks(result, seen[:-1]))
        apart = [1000 * (b - a) for a, b in zip(seen, heard)]
        sys.stdout.write(f"{long / short:.2f} times the memory; {len(seen)} flashes of {rounds}; sound after picture: first "
                         f"{apart[0]:+.1f} ms, last {apart[-1]:+.1f} ms, at most {max(map(abs, apart)):.1f} ms (a frame is "
                         f"{1000 / float(RATE):.1f} ms)\n")


if __name__ == "__main__":
    main()
