"""Dub a camera (or a file) with a microphone (or a file) while it runs, in a window or into a file.

    python examples/live.py clip.mp4 speech.wav                                                        a window; q or Esc ends
    python examples/live.py clip.mp4 speech.wav -o dubbed.mp4                                          a file
    python examples/live.py /dev/video0 default --video-format v4l2 --audio-format pulse               Linux
    python examples/live.py "video=Integrated Camera" "audio=Microphone" --video-format dshow --audio-format dshow      Windows
    python examples/live.py 0:none none:0 --video-format avfoundation --audio-format avfoundation      macOS

The picture is shown a look-ahead (0.8 to 1 s) after it is seen. What is said is not played: record it beside, or use -o.
"""

from __future__ import annotations

import argparse
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

from lipsync_core.live import LiveDubber, LiveFrame

DEVICES = {"video": {"framerate": "30", "video_size": "1280x720"}, "audio": {}}


def opened(name: str, form: str | None, kind: str) -> av.container.InputContainer:
    return av.open(name, format=form, options=DEVICES[kind]) if form else av.open(name)


def sounds(name: str, form: str | None, into: queue.Queue, ended: threading.Event) -> None:
    """Blocks of (samples, rate), float32 (n,); None at the end. Runs in a thread: a microphone does not wait."""
    try:
        with opened(name, form, "audio") as container:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000)
            for frame in container.decode(audio=0):
                frame.pts = None
                for piece in resampler.resample(frame):
                    while not ended.is_set():
                        try:
                            into.put(piece.to_ndarray()[0], timeout=0.2)
                            break
                        except queue.Full:
                            continue
                if ended.is_set():
                    return
    finally:
        into.put(None)


class File:
    """Picture and sound in an MP4."""

    def __init__(self, name: str, size: tuple[int, int], rate: Fraction) -> None:
        self.container = av.open(name, "w")
        self.video = self.container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
        self.video.width, self.video.height, self.video.pix_fmt = size[0] // 2 * 2, size[1] // 2 * 2, "yuv420p"
        self.video.time_base = self.video.codec_context.time_base = Fraction(1, 90_000)
        self.audio = self.container.add_stream("aac", rate=48_000, layout="mono")
        self.samples = 0

    def hear(self, samples: np.ndarray) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.samples, Fraction(1, 48_000)
        self.samples += len(samples)
        self.container.mux(self.audio.encode(frame))

    def show(self, out: LiveFrame) -> bool:
        frame = out.frame.reformat(self.video.width, self.video.height, "yuv420p")
        frame.pts, frame.time_base, frame.pict_type = round(out.time * 90_000), Fraction(1, 90_000), 0
        self.container.mux(self.video.encode(frame))
        return True

    def close(self) -> None:
        for stream in (self.video, self.audio):
            self.container.mux(stream.encode(None))
        self.container.close()


class Window:
    """Picture only."""

    def hear(self, samples: np.ndarray) -> None:
        pass

    def show(self, out: LiveFrame) -> bool:
        cv2.imshow("OpenLipSync", out.rgb()[..., ::-1])
        return cv2.waitKey(1) not in (27, ord("q"))

    def close(self) -> None:
        cv2.destroyAllWindows()


def shown(frames: Iterator[LiveFrame], target: File | Window) -> bool:
    """Whether to go on."""
    return all(target.show(out) for out in frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("audio")
    parser.add_argument("--video-format", help="of a device: v4l2, dshow, avfoundation")
    parser.add_argument("--audio-format", help="of a device: pulse, alsa, dshow, avfoundation")
    parser.add_argument("-o", "--output", help="an .mp4 file, in place of a window")
    parser.add_argument("--lookahead", type=float, default=1.0)
    parser.add_argument("--strength", type=float, default=1.0)
    chosen = parser.parse_args()
    blocks: queue.Queue = queue.Queue(64)
    ended, heard, first = threading.Event(), Fraction(0), None
    with opened(chosen.video, chosen.video_format, "video") as container, \
            LiveDubber(lookahead=chosen.lookahead, strength=chosen.strength, threaded=True) as live:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or 25)
        target = File(chosen.output, (stream.width, stream.height), rate) if chosen.output else Window()
        threading.Thread(target=sounds, args=(chosen.audio, chosen.audio_format, blocks, ended), daemon=True).start()
        speaking, going = True, True
        try:
            for frame in container.decode(stream):
                time = Fraction(frame.pts or 0) * stream.time_base
                first = time if first is None else first
                while speaking and heard <= time - first + 1 / rate:
                    block = blocks.get()
                    if block is None:
                        live.end_audio()
                        speaking = False
                        break
                    live.push_audio(block, 48_000)
                    target.hear(block)
                    heard += Fraction(len(block), 48_000)
                live.push_frame(frame, time - first)
                going = shown(live.pull(), target)
                if not going or not speaking and chosen.output:       # a file ends with what is said
                    break
            if going:
                shown(live.flush(), target)
        finally:
            ended.set()
            target.close()


if __name__ == "__main__":
    main()
