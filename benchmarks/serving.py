"""The service under load and abuse, all on the loopback address: prints what each trial found, and fails where a promise is broken.

    python benchmarks/serving.py [--trials together long jobs vanish malformed] [--jobs 100] [--vanish 200] [--malformed 1000] [--seed 1]

together: four requests at once; all must finish, in times within 20 % of each other, in no more memory than four alone.
long: one stream of three minutes; memory must stay what it was after the first half minute.
jobs: one after another; memory and open files must be as after the first few.
vanish: clients that hang up at random moments. malformed: random bytes, wrong order, huge sizes, broken files, data before the config.
After each, the server must be ready, dub a clip, and have left nothing behind.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from clips import make_clip, make_speech

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from service import client  # noqa: E402
from service.inputs import remuxed  # noqa: E402

METHOD = "/nvidia.ai4m.lipsync.v1.LipSyncService/Lipsync"
HANG = 60.0
"""Seconds after which a request is one that hangs."""


class Running:
    """A server in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temp = folder / "temp"
        self.temp.mkdir(exist_ok=True)
        self.log = open(folder / "log", "a")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen([sys.executable, "-m", "lipsync_core", "serve", "--port", "0", "--http-port", "0", "--temp",
                                         str(self.temp), *arguments], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.port, self.http_port = map(int, re.findall(r":(\d+)", self.process.stdout.readline()))
        self.address = f"127.0.0.1:{self.port}"

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(rf"{name}:\s+(\d+)", text)[1])

    @property
    def memory(self) -> float:
        """MiB now."""
        return self._status("VmRSS") / 1024

    @property
    def peak(self) -> float:
        """MiB at most since `forget_peak`."""
        return self._status("VmHWM") / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def threads(self) -> int:
        return self._status("Threads")

    def is_well(self) -> bool:
        """Ready, with nothing left behind."""
        for _ in range(100):
            if not any(self.temp.iterdir()):
                break
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v1/health/ready", timeout=10) as answer:
            return answer.status == 200 and not any(self.temp.iterdir()) and self.process.poll() is None

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


class Inputs:
    """A clip with `moov` in front, one with it at the end, and speech."""

    def __init__(self, folder: Path, seconds: float, size: tuple[int, int]) -> None:
        clip = make_clip(folder / f"clip{seconds:g}.mp4", *size, seconds)
        self.front, self.end = (remuxed(clip, folder / f"{seconds:g}{front}.mp4", front) for front in (True, False))
        self.speech = make_speech(folder / f"speech{seconds:g}.wav", seconds + 1).read_bytes()


def dub(api: Any, address: str, video: bytes, speech: bytes) -> int:
    """Bytes of the result."""
    with grpc.insecure_channel(address) as channel:
        stream = client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), video, speech)
        return sum(len(answer.video_file_data) for answer in client.call(api, channel, stream))


def together(api: Any, folder: Path) -> bool:
    inputs, spans = Inputs(folder, 12, (1280, 720)), []
    server = Running(folder, "--streams", "4")
    try:
        idle = server.memory
        dub(api, server.address, inputs.front, inputs.speech)
        server.forget_peak()
        begun = time.perf_counter()
        dub(api, server.address, inputs.front, inputs.speech)
        alone, one = time.perf_counter() - begun, server.peak - idle
        server.forget_peak()

        def timed() -> None:
            begun = time.perf_counter()
            dub(api, server.address, inputs.front, inputs.speech)
            spans.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=timed) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        four = server.peak - idle
        unfair = max(spans) / min(spans) - 1 if len(spans) == 4 else np.inf
        sys.stdout.write(f"together: {len(spans)} of 4 finished in {', '.join(f'{span:.1f}' for span in sorted(spans))} s (one alone "
                         f"{alone:.1f} s), {100 * unfair:.0f} % apart; memory above the idle server's {idle:.0f} MiB: one {one:.0f} MiB, "
                         f"four {four:.0f} MiB ({four / one:.2f} times)\n")
        return len(spans) == 4 and unfair < 0.2 and four <= 4 * one and server.is_well()
    finally:
        server.close()


def long(api: Any, folder: Path) -> bool:
    seconds = 180
    inputs = Inputs(folder, seconds, (480, 270))
    server = Running(folder)
    try:
        figures: list[tuple[float, float]] = []
        got, begun = 0, time.perf_counter()
        with grpc.insecure_channel(server.address) as channel:
            stream = client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), inputs.front, inputs.speech)
            for answer in client.call(api, channel, stream):
                got += len(answer.video_file_data)
                figures.append((time.perf_counter() - begun, server.memory))
        whole = figures[-1][0]
        early, late = ([size for at, size in figures if low <= at / whole < high] for low, high in ((0.15, 0.3), (0.8, 1.0)))
        sys.stdout.write(f"long: {seconds} s of video in {whole:.0f} s, {got / 2**20:.1f} MiB; memory {np.median(early):.0f} MiB after a "
                         f"fifth, {np.median(late):.0f} at the end\n")
        return np.median(late) < 1.1 * np.median(early) and server.is_well()
    finally:
        server.close()


def jobs(api: Any, folder: Path, count: int) -> bool:
    inputs = Inputs(folder, 1, (320, 240))
    server = Running(folder)
    try:
        figures = []
        for number in range(count):
            dub(api, server.address, inputs.front if number % 2 else inputs.end, inputs.speech)
            if server.is_well():
                figures.append((server.memory, server.files, server.threads))
        early, late = figures[min(9, len(figures) - 1)], figures[-1]
        sys.stdout.write(f"jobs: {len(figures)} of {count} left the server well; memory {figures[0][0]:.0f} MiB after the first, "
                         f"{early[0]:.0f} after ten, {late[0]:.0f} after the last; open files {early[1]} and {late[1]}, threads {early[2]} "
                         f"and {late[2]}\n")
        return len(figures) == count and late[0] < 1.1 * early[0] and late[1] <= early[1] + 2
    finally:
        server.close()


def vanish(api: Any, folder: Path, count: int, rng: random.Random) -> bool:
    inputs = Inputs(folder, 2, (320, 240))
    server = Running(folder)
    try:
        dub(api, server.address, inputs.front, inputs.speech)
        before, places = (server.memory, server.files), Counter()

        def one(after: float, stall: float, video: bytes) -> None:
            with grpc.insecure_channel(server.address) as channel:
                stream = client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), video, inputs.speech,
                                         before_last=lambda: time.sleep(stall))
                answers = client.call(api, channel, stream)
                timer = threading.Timer(after, answers.cancel if rng.random() < 0.5 else channel.close)
                timer.start()
                try:
                    kinds = [answer.WhichOneof("lipsync_response") for answer in answers]
                    places["finished" if "video_file_data" in kinds else "nothing"] += 1
                except (grpc.RpcError, ValueError) as error:
                    code = error.code() if isinstance(error, grpc.RpcError) else None
                    places["turned away" if code is grpc.StatusCode.RESOURCE_EXHAUSTED else "hung up"] += 1
                timer.cancel()

        running: list[threading.Thread] = []
        for _ in range(count):
            thread = threading.Thread(target=one, args=(rng.uniform(0, 2.0), rng.choice([0, 0, 3.0]),
                                                        rng.choice([inputs.front, inputs.end])))
            thread.start()
            running.append(thread)
            time.sleep(rng.uniform(0, 0.15))
        for thread in running:
            thread.join(HANG)
        well = server.is_well() and dub(api, server.address, inputs.front, inputs.speech) > 1000 and server.is_well()
        sys.stdout.write(f"vanish: {count} clients: {dict(places)}; the server is {'well' if well else 'NOT well'}; memory {before[0]:.0f} "
                         f"MiB before, {server.memory:.0f} after; open files {before[1]} and {server.files}\n")
        return well and not any(thread.is_alive() for thread in running) and server.files <= before[1] + 4
    finally:
        server.close()


def malformed(api: Any, folder: Path, count: int, rng: random.Random) -> bool:
    inputs = Inputs(folder, 1, (320, 240))
    server = Running(folder, "--max-message", "1", "--max-upload", "0.01", "--idle", "5")
    channel = grpc.insecure_channel(server.address)
    try:
        dub(api, server.address, inputs.front, inputs.speech)
        before, ends, slowest = (server.memory, server.files), Counter(), 0.0
        for _ in range(count):
            kind = rng.choice(list(BAD))
            begun = time.perf_counter()
            ends[f"{kind}: {_sent(channel, server, BAD[kind](api, inputs, rng))}"] += 1
            slowest = max(slowest, time.perf_counter() - begun)
        well = server.is_well() and dub(api, server.address, inputs.front, inputs.speech) > 1000 and server.is_well()
        for end, times in sorted(ends.items()):
            sys.stdout.write(f"  {times:4d} {end}\n")
        sys.stdout.write(f"malformed: {count} requests, the slowest answered after {slowest:.1f} s; the server is "
                         f"{'well' if well else 'NOT well'}; memory {before[0]:.0f} MiB before, {server.memory:.0f} after; open files "
                         f"{before[1]} and {server.files}\n")
        return well and slowest < HANG and not any("HANG" in end or "INTERNAL by us" in end for end in ends) \
            and server.files <= before[1] + 4
    finally:
        channel.close()
        server.close()


def _sent(channel: grpc.Channel, server: Running, messages: Iterator[bytes] | bytes) -> str:
    """How it ended."""
    if isinstance(messages, bytes):                                   # not even gRPC
        with socket.create_connection(("127.0.0.1", server.port), timeout=HANG) as raw:
            raw.sendall(messages)
        return "closed"
    call = channel.stream_stream(METHOD)(iter(messages), timeout=HANG)
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and "Deadline" in (error.details() or ""):
            return "HANG"
        ours = error.code() is grpc.StatusCode.INTERNAL and "The server failed" in (error.details() or "")
        return error.code().name + (" by us" if ours else "")
    return "OK"


def _input(api: Any, **fields: Any) -> bytes:
    return api.pb.LipsyncRequest(input=api.pb.LipsyncInputData(**fields)).SerializeToString()


def _config(api: Any, **fields: Any) -> bytes:
    return api.pb.LipsyncRequest(config=api.pb.LipsyncConfig(**fields)).SerializeToString()


def _broken(data: bytes, rng: random.Random) -> bytes:
    """Cut off, or with some bytes changed."""
    data = bytearray(data)
    if rng.random() < 0.5:
        del data[rng.randrange(1, len(data)):]
    for _ in range(rng.randrange(0, 40)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _files(api: Any, video: bytes, audio: bytes, **config: Any) -> list[bytes]:
    return [_config(api, **config), *(_input(api, video_file_data=piece) for piece in client.pieces(video)),
            *(_input(api, audio_file_data=piece) for piece in client.pieces(audio))]


BAD: dict[str, Callable[[Any, Inputs, random.Random], Any]] = {
    "random bytes as a message": lambda api, given, rng: [rng.randbytes(rng.randrange(1, 3000)) for _ in range(rng.randrange(1, 4))],
    "random bytes after a config": lambda api, given, rng: [_config(api), rng.randbytes(rng.randrange(1, 3000))],
    "random bytes on the port": lambda api, given, rng: rng.randbytes(rng.randrange(1, 3000)),
    "data before the config": lambda api, given, rng: [_input(api, video_file_data=given.front[:5000]), _config(api)],
    "two configs": lambda api, given, rng: [_config(api), _config(api)],
    "no message": lambda api, given, rng: [],
    "an empty message": lambda api, given, rng: [_config(api), b""],
    "a config alone": lambda api, given, rng: [_config(api)],
    "a message too large": lambda api, given, rng: [_config(api), _input(api, video_file_data=bytes(2 << 20))],
    "a file too large": lambda api, given, rng: [_config(api), *[_input(api, video_file_data=given.end[:100] + bytes(900_000))] * 13],
    "numbers out of range": lambda api, given, rng: _files(api, given.front, given.speech, head_movement_speed=rng.randrange(2, 2**32)),
    "unknown enums": lambda api, given, rng: _files(api, given.front, given.speech, output_audio_codec=rng.randrange(4, 2**31)),
    "a broken video": lambda api, given, rng: _files(api, _broken(rng.choice([given.front, given.end]), rng), given.speech),
    "broken speech": lambda api, given, rng: _files(api, given.front, _broken(given.speech, rng)),
    "noise for files": lambda api, given, rng: _files(api, rng.randbytes(rng.randrange(1, 200_000)), rng.randbytes(5000)),
    "speaker data that are none": lambda api, given, rng: [_config(api, is_speaker_info_provided=True), _input(
        api, per_frame_speaker_infos=[api.pb.SpeakerInfoPerFrame(frame_id=rng.randrange(2**32), speaker_infos=[api.pb.SpeakerInfo(
            speaker_bbox=api.common.BoundingBox(x=rng.choice([float("nan"), 1e30]), y=0, width=-1, height=4))])])],
}


def main() -> None:
    trials = ("together", "long", "jobs", "vanish", "malformed")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", default=list(trials), choices=trials)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--vanish", type=int, default=200)
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--log", type=Path, help="keep the server's log")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    well = True
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "generated").mkdir()
        api, rng = client.generate(work / "generated"), random.Random(chosen.seed)
        run = {"together": lambda: together(api, work), "long": lambda: long(api, work), "jobs": lambda: jobs(api, work, chosen.jobs),
               "vanish": lambda: vanish(api, work, chosen.vanish, rng), "malformed": lambda: malformed(api, work, chosen.malformed, rng)}
        for trial in chosen.trials:
            kept = run[trial]()
            sys.stdout.write(f"{trial}: {'kept' if kept else 'BROKEN'}\n")
            sys.stdout.flush()
            well = well and kept
        log = (work / "log").read_text(encoding="utf-8")
        failed = re.findall(r"^(?:.* ERROR .*|(?!\d{4}-)\w[\w.]*(?:Error|Exception|Stopped)\b.*)$", log, re.M)
        sys.stdout.write(f"lines of errors in the server's log: {len(failed)}\n" + "".join(f"  {line}\n" for line in failed[:20]))
        if chosen.log:
            chosen.log.write_text(log, encoding="utf-8")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
