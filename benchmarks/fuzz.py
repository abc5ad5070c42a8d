"""Hostile inputs: valid files of many kinds, broken in many ways, given to what reads them.

    python benchmarks/fuzz.py [--tries 300] [--seed 1] [--kinds video sound options ...] [--keep FOLDER]

A try fails where the process dies or hangs, or anything but a `LipSyncError` comes out. Tries run in a process of their own, which is
started again when one of them ends it; inputs that failed are kept.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
import torch
from clips import make_clip, make_speech
from safetensors.torch import save_file

from lipsync_core import LipSyncError
from lipsync_core.audio import load_speech, sound_blocks
from lipsync_core.batch.jobs import dub_parser, read_jobs
from lipsync_core.dub_command import options_of
from lipsync_core.generators.containers import tensor_shapes
from lipsync_core.media import StreamSource, VideoSource, plan
from lipsync_core.speaker_file import parse_speakers

HANG = 60.0
"""Seconds after which a try hangs."""
FRAMES = 40
"""Of a video that are read."""


class Forward:
    """A file that only goes forward."""

    def __init__(self, data: bytes) -> None:
        self._all, self._data = data, io.BytesIO(data)

    def again(self) -> Forward:
        return Forward(self._all)

    def read(self, count: int = -1) -> bytes:
        return self._data.read(count)


def muxed(source: Path, target: Path, **options: str) -> bytes:
    """The picture of a file in another container, not encoded again."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as made:
        video = given.streams.video[0]
        copy = made.add_stream_from_template(video)
        for packet in given.demux(video):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
    return target.read_bytes()


def sounds(source: Path, folder: Path) -> list[bytes]:
    made = [source.read_bytes()]
    for suffix, codec in ((".mp3", "libmp3lame"), (".ogg", "libopus"), (".flac", "flac"), (".m4a", "aac")):
        with av.open(str(source)) as given, av.open(str(folder / f"s{suffix}"), "w") as out:
            stream = out.add_stream(codec, rate=16_000, layout="mono")
            for frame in given.decode(audio=0):
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        made.append((folder / f"s{suffix}").read_bytes())
    return made


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Small valid files of each kind."""
    clip, speech = make_clip(folder / "clip.mp4", 160, 120, 0.6), make_speech(folder / "speech.wav", 1.0)
    save_file({"a.weight": torch.zeros(4, 3), "b": torch.ones(2)}, str(folder / "w.safetensors"))
    torch.save({"state_dict": {"a.weight": torch.zeros(4, 3)}}, folder / "w.pth")
    torch.save({"a": torch.zeros(3)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    frame = {"speakers": [{"bbox": [1, 2, 30, 40], "speaker_id": 1, "is_speaking": True, "voice": "a"}], "bypass": False}
    job = {"video": "a.mp4", "audio": "a.wav", "strength": 1.1, "lossless": True, "voice": ["0=a.wav"], "output": "x/a.mp4"}
    return {"options": [bytes(range(start, start + 4)) for start in range(0, 200, 3)],
            "video": [muxed(clip, folder / "front.mp4", movflags="faststart"), clip.read_bytes(),
                      *(muxed(clip, folder / f"clip{suffix}") for suffix in (".mkv", ".mov", ".ts"))],
            "sound": sounds(speech, folder), "speakers": [json.dumps({"frames": [frame] * 3}).encode()],
            "jobs": [json.dumps(job).encode(), b"video,audio,strength\na.mp4,a.wav,1.1\n"],
            "checkpoint": [(folder / name).read_bytes() for name in ("w.safetensors", "w.pth", "old.pth")]}


def broken(data: bytes, rng: random.Random) -> bytes:
    """Cut off, bytes changed (often near its head, where formats say what they are), a piece taken out, doubled or filled."""
    found = bytearray(data)
    if rng.random() < 0.3:
        del found[rng.randrange(len(found) + 1):]
    if found and rng.random() < 0.3:
        first = rng.randrange(len(found))
        piece = found[first:first + rng.randrange(1, 200)]
        found[first:first + len(piece)] = rng.choice([b"", bytes(piece) * 2, b"\xff" * len(piece), b"\0" * len(piece)])
    for _ in range(rng.randrange(0, 30)):
        if found:
            found[rng.randrange(min(len(found), rng.choice([64, 1500, len(found)])))] = rng.randrange(256)
    return bytes(found)


def video(data: bytes, folder: Path) -> None:
    (folder / "given.bin").write_bytes(data)
    for frame in VideoSource(folder / "given.bin").frames():
        if frame.index > FRAMES:
            break
    with StreamSource(Forward(data)) as source:
        for frame in source.frames():
            if frame.index > FRAMES:
                break


def sound(data: bytes, folder: Path) -> None:
    (folder / "given.bin").write_bytes(data)
    load_speech(folder / "given.bin", duration=5.0)
    for number, _ in enumerate(sound_blocks(Forward(data))):
        if number > 200:
            break


def checkpoint(data: bytes, folder: Path) -> None:
    (folder / "given.bin").write_bytes(data)
    tensor_shapes(folder / "given.bin")


NUMBERS = ("start", "duration", "audio-start", "offset-ms", "fps", "strength", "smoothing", "feather", "mask-grow", "crf", "bitrate",
           "background-volume", "restore-strength", "extend-seconds", "batch-size", "face", "bypass", "codec", "preset", "audio-codec")
AT_ENDS = ("nan", "inf", "-inf", "-1", "0", "1", "1e308", "-1e308", "1e400", "1e-320", "99999999999999999999", "", "-", "0,0", "nan,nan",
           "1-", "1-0", "all", "auto", "\u202e", "mp3", "h264", "k", "1k")


def options(data: bytes, folder: Path) -> None:
    """What a command line with two options says; bytes choose them."""
    words = []
    for index in range(0, min(len(data), 4) // 2 * 2, 2):
        words.append(f"--{NUMBERS[data[index] % len(NUMBERS)]}={AT_ENDS[data[index + 1] % len(AT_ENDS)]}")
    chosen = dub_parser().parse_args(["-o", str(folder / "out.mp4"), *words, "--", str(folder / "clip.mp4"), str(folder / "speech.wav")])
    wanted = options_of(chosen)
    wanted.check()
    source = VideoSource(chosen.video, start=wanted.start, duration=wanted.duration)
    plan(wanted.encoding, source.info, chosen.output, lambda sentence: None)
    load_speech(chosen.audio, start=wanted.audio_start)


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "video": video, "sound": sound, "checkpoint": checkpoint, "options": options,
    "speakers": lambda data, folder: parse_speakers(data.decode("utf-8", "replace")),
    "jobs": lambda data, folder: read_jobs("-", folder, text=data.decode("utf-8", "replace"))}


def work(pipe: Connection, folder: str) -> None:
    """In a process of its own: answers every (kind, data) with how it ended."""
    while (task := pipe.recv()) is not None:
        kind, data = task
        try:
            READERS[kind](data, Path(folder))
            pipe.send("read")
        except LipSyncError:
            pipe.send("said")
        except Exception:  # noqa: BLE001 - that is what is looked for
            pipe.send(traceback.format_exc(limit=-3))


class Child:
    def __init__(self, folder: Path) -> None:
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, str(folder)), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, kind: str, data: bytes) -> str:
        """'read', 'said', or what went wrong."""
        self.pipe.send((kind, data))
        try:
            return self.pipe.recv() if self.pipe.poll(HANG) else f"it hangs for {HANG:g} s"
        except (EOFError, OSError):
            self.process.join(5)
            return f"the process died (exit code {self.process.exitcode})"

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=list(READERS), choices=list(READERS))
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that failed")
    chosen = parser.parse_args()
    rng, ends, failed = random.Random(chosen.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        given = seeds(folder)
        np.random.seed(chosen.seed)
        child = Child(folder)
        for number in range(chosen.tries):
            kind = chosen.kinds[number % len(chosen.kinds)]
            data = broken(rng.choice(given[kind]), rng)
            end = child.ask(kind, data)
            ends[kind, end if end in ("read", "said") else "FAILED"] += 1
            if end not in ("read", "said"):
                failed += 1
                chosen.keep.mkdir(parents=True, exist_ok=True)
                file = chosen.keep / f"{kind}_{chosen.seed}_{number}.bin"
                file.write_bytes(data)
                sys.stdout.write(f"{file}: {end}\n")
                child.end()
                child = Child(folder)
        child.end()
    for (kind, end), count in sorted(ends.items()):
        sys.stdout.write(f"{kind:12s} {end:7s} {count}\n")
    sys.stdout.write(f"{chosen.tries} tries, {failed} failed\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
