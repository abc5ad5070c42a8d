"""Hostile inputs: valid files of many kinds, broken in many ways, given to what reads them.

    python benchmarks/fuzz.py [--tries 300] [--seed 1] [--kinds video sound options ...] [--keep FOLDER]

A try fails where the process dies, hangs for a minute or takes over 2 GB, where anything but a `LipSyncError` comes out, and where a whole
dub leaves a result that is not whole, another file beside it, or one anywhere else. Tries run in a process of their own, which is started
again when one of them ends it; inputs that failed are kept, as short as is found soon.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path

import av
import cv2
import torch
from clips import make_clip, make_speech
from mutate import broken
from safetensors.torch import save_file

from lipsync_core import Encoding, LipSyncError, dub
from lipsync_core.audio import load_speech, sound_blocks
from lipsync_core.batch.jobs import dub_parser, read_jobs
from lipsync_core.dub_command import options_of
from lipsync_core.generators.containers import tensor_shapes
from lipsync_core.media import StreamSource, VideoSource, longer, plan
from lipsync_core.speaker_file import parse_speakers

HANG, MEMORY = 60.0, 2 << 30
"""Seconds after which a try hangs; bytes of memory that are too many."""
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


ENCODED = ((".webm", "libvpx-vp9", "yuv420p"), (".avi", "mpeg4", "yuv420p"), (".gif", "gif", "rgb8"))


def encoded(source: Path, target: Path, codec: str, pix_fmt: str) -> bytes:
    """The picture of a file in another codec."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = given.streams.video[0].width, given.streams.video[0].height, pix_fmt
        for number, frame in enumerate(given.decode(video=0)):
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 25), 0
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return target.read_bytes()


def photos(source: Path) -> list[bytes]:
    """Its first frame as PNG and JPEG."""
    with av.open(str(source)) as given:
        picture = next(given.decode(video=0)).to_ndarray(format="bgr24")
    return [cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".png", ".jpg")]


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
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), str(folder / "script.pt"))
    frame = {"speakers": [{"bbox": [1, 2, 30, 40], "speaker_id": 1, "is_speaking": True, "voice": "a"}], "bypass": False}
    job = {"video": "a.mp4", "audio": "a.wav", "strength": 1.1, "lossless": True, "voice": ["0=a.wav"], "output": "x/a.mp4"}
    return {"options": [bytes(range(start, start + 4)) for start in range(0, 200, 3)],
            "video": [muxed(clip, folder / "front.mp4", movflags="faststart"), clip.read_bytes(),
                      *(muxed(clip, folder / f"clip{suffix}") for suffix in (".mkv", ".mov", ".ts")),
                      *(encoded(clip, folder / f"clip{suffix}", codec, pix_fmt) for suffix, codec, pix_fmt in ENCODED), *photos(clip)],
            "sound": sounds(speech, folder), "speakers": [json.dumps({"frames": [frame] * 3}).encode()],
            "jobs": [json.dumps(job).encode(), b"video,audio,strength\na.mp4,a.wav,1.1\n"],
            "checkpoint": [(folder / name).read_bytes() for name in ("w.safetensors", "w.pth", "old.pth", "script.pt")]}


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
    source = longer(chosen.video, wanted.extend_video, 1.0, start=wanted.start, duration=wanted.duration)
    plan(wanted.encoding, source.info, chosen.output, lambda sentence: None)
    load_speech(chosen.audio, start=wanted.audio_start)


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "video": video, "sound": sound, "checkpoint": checkpoint, "options": options,
    "speakers": lambda data, folder: parse_speakers(data.decode("utf-8", "replace")),
    "jobs": lambda data, folder: read_jobs("-", folder, text=data.decode("utf-8", "replace"))}


def dubbed(data: bytes, folder: Path) -> None:
    """A whole dub of the file: the result is whole or absent, and nothing else is written anywhere."""
    place, out = folder / "dub", folder / "dub" / "out"
    shutil.rmtree(place, ignore_errors=True)
    out.mkdir(parents=True)
    (place / "given.bin").write_bytes(data)
    before = _listed(folder, out)
    try:
        dub(place / "given.bin", folder / "speech.wav", out / "out.mp4", encoding=Encoding(preset="ultrafast"), duration=1.0)
    except LipSyncError:
        if list(out.iterdir()):
            raise AssertionError(f"left behind: {list(out.iterdir())}") from None
        raise
    finally:
        if (after := _listed(folder, out)) != before:
            raise AssertionError(f"written outside the result's folder: {set(after) ^ set(before)}")
    if [file.name for file in out.iterdir()] != ["out.mp4"]:
        raise AssertionError(f"left beside the result: {list(out.iterdir())}")
    with av.open(str(out / "out.mp4")) as result:
        if sum(1 for _ in result.decode(video=0)) == 0:
            raise AssertionError("a result without a frame")


def _listed(folder: Path, but: Path) -> list[tuple[str, int]]:
    """Files of the work folder, of the temporary one in it and of the current one, and their sizes."""
    found = [file for place in (folder, Path.cwd()) for file in (place.rglob("*") if place == folder else place.iterdir())]
    return sorted((str(file), file.stat().st_size) for file in found if file.is_file() and but not in file.parents)


READERS["dub"] = dubbed


def work(pipe: Connection, folder: str) -> None:
    """In a process of its own: answers every (kind, data) with how it ended, and the most memory it ever had."""
    (Path(folder) / "temp").mkdir(exist_ok=True)
    tempfile.tempdir = str(Path(folder) / "temp")
    while (task := pipe.recv()) is not None:
        kind, data = task
        try:
            READERS[kind](data, Path(folder))
            end = "read"
        except LipSyncError:
            end = "said"
        except Exception:  # noqa: BLE001 - that is what is looked for
            end = traceback.format_exc(limit=-3)
        pipe.send((end, peak()))


def peak() -> int:
    """Bytes of memory that this process had at most; 0 where nobody says."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Child:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begin()

    def _begin(self) -> None:
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, str(self.folder)), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, kind: str, data: bytes) -> str:
        """'read', 'said', or what went wrong; after that it is another process."""
        self.pipe.send((kind, data))
        try:
            end, most = self.pipe.recv() if self.pipe.poll(HANG) else (f"it hangs for {HANG:g} s", 0)
        except (EOFError, OSError):
            self.process.join(5)
            end, most = f"the process died (exit code {self.process.exitcode})", 0
        if most > MEMORY:
            end = f"it took {most >> 20} MiB of memory"
        if end not in ("read", "said"):
            self.end()
            self._begin()
        return end

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def smaller(child: Child, kind: str, data: bytes, end: str, tries: int = 24) -> bytes:
    """A shorter input that ends in the same way, where one is found soon."""
    step, kept = len(data) // 2, data
    while step and tries and "hangs" not in end:
        for first in range(0, len(kept), step):
            if not tries:
                break
            tries -= 1
            shorter = kept[:first] + kept[first + step:]
            if child.ask(kind, shorter).splitlines()[-1:] == end.splitlines()[-1:]:
                kept = shorter
                break
        else:
            step //= 2
    return kept


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
        child = Child(folder)
        for number in range(chosen.tries):
            kind = chosen.kinds[number % len(chosen.kinds)]
            data = broken(rng.choice(given["video" if kind == "dub" else kind]), rng)
            end = child.ask(kind, data)
            ends[kind, end if end in ("read", "said") else "FAILED"] += 1
            if end not in ("read", "said"):
                failed += 1
                chosen.keep.mkdir(parents=True, exist_ok=True)
                file = chosen.keep / f"{kind}_{chosen.seed}_{number}.bin"
                file.write_bytes(smaller(child, kind, data, end))
                sys.stdout.write(f"{file}: {end}\n")
                sys.stdout.flush()
        child.end()
    for (kind, end), count in sorted(ends.items()):
        sys.stdout.write(f"{kind:12s} {end:7s} {count}\n")
    sys.stdout.write(f"{chosen.tries} tries, {failed} failed\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
