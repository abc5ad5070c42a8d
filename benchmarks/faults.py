"""What a dub leaves behind when the world fails it: a full disk, no rights, signals, files that change, a clock that jumps, evil names.

    python benchmarks/faults.py [--runs 100] [--seed 1] [--only CASE ...]

Each case is a real `python -m lipsync_core dub`. It must end with a result that is whole or none, one sentence where it failed, no
traceback, and no other file in the result's folder or the temporary one; of a process that was killed outright one hidden partial file may
stay, which the next dub with that name takes away when it is an hour old. Exit status 1 where any case did otherwise. POSIX only.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
from clips import make_clip, make_speech

ROOT = Path(__file__).resolve().parent.parent
EVIL = ["emoji \U0001f5e3\ufe0f.mp4", "\u202egnp.4pm.mp4", "e\u0301 and \u00e9.mp4", "\u4e2d\u6587\u5b57\u5e55.mp4",
        "\u0645\u0631\u062d\u0628\u0627.mp4", "-rf.mp4", " space .mp4", "new\nline.mp4", "quote'\".mp4", "$(touch x).mp4", "%d%s%n.mp4",
        "a:b.mp4", "pipe|.mp4", "..mp4.mp4",
        "\u0e01" * 80 + ".mp4", "a" * 250 + ".mp4", "concat:x.mp4", "\udcff\udcfe.mp4"]
RESERVED = ["CON.mp4", "nul.mp4", "Aux.mkv", "com1.mp4", "LPT9.mov", "COM\u00b9.mp4", "prn.final.mp4", "CONIN$.mp4"]


HUGE = """
import sys
from lipsync_core import dub
from lipsync_core.errors import LipSyncError
clip, sound, out = sys.argv[1:]
for video, output in ((clip, "x" * (2 << 30) + ".mp4"), ("x" * (2 << 30), out), (clip + chr(0), out), (clip, out + chr(0) + ".mp4")):
    try:
        dub(video, sound, output)
    except LipSyncError as error:
        assert len(str(error)) < 2000, len(str(error))
        print("refused")
"""


class Bench:
    """Runs cases, and counts those that went wrong."""

    def __init__(self, work: Path) -> None:
        self.work, self.wrong = work, 0
        self.temp = work / "temp"
        self.temp.mkdir()
        self.clip, self.sound = make_clip(work / "clip.mp4", 320, 240, 4), make_speech(work / "speech.wav", 4)
        self.environment = {**os.environ, "TMPDIR": str(self.temp), "PYTHONPATH": str(ROOT)}

    def command(self, output: Path | str, *more: str) -> list[str]:
        return [sys.executable, "-m", "lipsync_core", "dub", str(self.clip), str(self.sound), f"--output={output}", "--quiet", *more]

    def run(self, output: Path | str, *more: str, **options: object) -> subprocess.CompletedProcess:
        options = {"env": self.environment, "cwd": self.work, **options}
        return subprocess.run(self.command(output, *more), capture_output=True, text=True, errors="replace", timeout=120, **options)

    def check(self, what: str, well: bool, told: object = "") -> None:
        if not well:
            self.wrong += 1
            sys.stdout.write(f"  WRONG: {what} {told}\n")

    def refused(self, what: str, done: subprocess.CompletedProcess, folder: Path | None) -> None:
        """It said one sentence, and left nothing."""
        said = done.stderr.strip().splitlines()
        self.check(what, done.returncode == 1 and len(said) >= 1 and said[-1].startswith("error: ") and "Traceback" not in done.stderr,
                   (done.returncode, done.stderr[-600:]))
        if folder is not None:
            self.left(what, folder, set())

    def left(self, what: str, folder: Path, names: set[str]) -> None:
        there = {os.fsencode(file.name) for file in folder.iterdir()}
        self.check(f"{what}: files left", there == {os.fsencode(name) for name in names}, there)
        self.check(f"{what}: temporary files left", not list(self.temp.iterdir()), list(self.temp.iterdir()))

    def whole(self, file: Path, frames: int = 100) -> bool:
        with av.open(str(file)) as source:
            return sum(1 for _ in source.decode(video=0)) == frames

    def folder(self, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def mount(folder: Path, options: str) -> bool:
    """A small file system at `folder`, where one may be mounted."""
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False).returncode == 0


def disk(bench: Bench, chosen: argparse.Namespace) -> str:
    """A full disk at ten moments: a small file system where one may be mounted, else a limit on the size of files."""
    folder = bench.folder("disk")
    bench.run(folder / "whole.mp4")
    size = (folder / "whole.mp4").stat().st_size
    (folder / "whole.mp4").unlink()
    mounted = 0
    for moment in range(chosen.moments):
        room = round(size * (moment + 0.5) / (chosen.moments + 0.5))
        real = os.geteuid() == 0 and mount(folder, f"size={max(4096, room // 4096 * 4096)}")
        mounted += real
        try:
            limit: Callable[[], None] | None = None if real else lambda room=room: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            bench.refused(f"disk full after {room} bytes", bench.run(folder / "out.mp4", preexec_fn=limit), folder)
        finally:
            if real:
                subprocess.run(["umount", folder], check=True)
    return f"full disk at {chosen.moments} moments ({mounted} of them a file system that was full)"


def rights(bench: Bench, chosen: argparse.Namespace) -> str:
    """A folder that may not be written to: of a file system that is mounted so for root, who may everything."""
    folder = bench.folder("rights")
    folder.chmod(0o555)
    mounted = os.geteuid() == 0 and mount(folder, "ro")
    try:
        if mounted or os.geteuid():
            bench.refused("no right to write", bench.run(folder / "out.mp4"), folder)
        bench.refused("no such folder", bench.run(folder / "none" / "out.mp4"), folder)
        bench.refused("a folder as output", bench.run(folder), folder)
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        folder.chmod(0o755)
    return "no right to write, no folder, a folder as output"


def temp(bench: Bench, chosen: argparse.Namespace) -> str:
    """A temporary folder that can't be written to, or isn't there."""
    folder = bench.folder("temp_out")
    for place in ("/proc", "/nowhere"):
        done = bench.run(folder / "out.mp4", "--force", env={**bench.environment, "TMPDIR": place})
        bench.check(f"TMPDIR={place}", done.returncode == 0 and bench.whole(folder / "out.mp4"), done.stderr[-400:])
    return "temporary folder read-only, or missing"


def heeding() -> None:
    """Ctrl-C counts, also where a shell has started this in its background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def signals(bench: Bench, chosen: argparse.Namespace) -> str:
    """SIGINT and SIGKILL at random moments."""
    rng, folder = random.Random(chosen.seed), bench.folder("signals")
    old = folder / "out.mp4"
    begun = time.monotonic()
    bench.run(old)
    length, before = time.monotonic() - begun, old.read_bytes()
    counts = {"ended before": 0, "interrupted": 0, "killed": 0}
    partials = 0
    for number in range(chosen.runs):
        which = signal.SIGINT if number % 2 else signal.SIGKILL
        process = subprocess.Popen(bench.command(old, "--force"), env=bench.environment, cwd=bench.work, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
        try:
            process.wait(rng.uniform(0.05, 1.1 * length))
        except subprocess.TimeoutExpired:
            process.send_signal(which)
        said = process.stderr.read()
        code = process.wait(60)
        counts["ended before" if code == 0 else "killed" if code == -9 else "interrupted"] += 1
        what = f"{which.name} in run {number}"
        bench.check(f"{what}: exit {code}", code in ((0, 130, -2) if which == signal.SIGINT else (0, -9)), said[-500:])
        bench.check(f"{what}: a traceback", "Traceback" not in said, said[-500:])
        bench.check(f"{what}: the result is not whole", old.read_bytes() == before or bench.whole(old))
        others = [file.name for file in folder.iterdir() if file != old]
        if which == signal.SIGKILL:
            partials += len(others)
            bench.check(f"{what}: files left", len(others) <= 1 and all(name.startswith(".out.") for name in others), others)
            for name in others:
                os.utime(folder / name, (0, 0))
        else:
            bench.check(f"{what}: files left", not others or number and others[0].startswith(".out."), others)
            for name in others:
                (folder / name).unlink()
        bench.check(f"{what}: temporary files left", not list(bench.temp.iterdir()), list(bench.temp.iterdir()))
    bench.run(old, "--force")
    bench.left("the next run", folder, {"out.mp4"})
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    return (f"SIGINT or SIGKILL at random moments of {chosen.runs} runs ({told}; {partials} partial files of killed ones, which the next "
            "run took away)")


def files(bench: Bench, chosen: argparse.Namespace) -> str:
    """A video that vanishes, shrinks or is written anew while it is read."""
    original = bench.clip.read_bytes()

    def vanish() -> None:
        bench.clip.unlink()

    def shrink() -> None:
        os.truncate(bench.clip, len(original) // 3)

    def rewrite() -> None:
        bench.clip.write_bytes(original[::-1])

    ended = []
    for change in (vanish, shrink, rewrite):
        for moment in (0.3, 0.6, 0.8):
            folder = bench.folder("files")
            begun = time.monotonic()
            bench.run(folder / "out.mp4")
            length = time.monotonic() - begun
            process = subprocess.Popen(bench.command(folder / "out.mp4", "--force"), env=bench.environment, cwd=bench.work,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            (folder / "out.mp4").unlink()
            time.sleep(moment * length)
            change()
            out, said = process.communicate(timeout=60)
            ended.append(process.returncode)
            what = f"{change.__name__} after {moment:.0%}"
            if process.returncode:
                bench.refused(what, subprocess.CompletedProcess([], process.returncode, out, said), folder)
            else:
                bench.check(f"{what}: not whole", bench.whole(folder / "out.mp4"))
            bench.clip.write_bytes(original)
    return f"a video that vanishes, shrinks or is rewritten at 3 moments each ({sum(map(bool, ended))} refused, the others read before)"


def clock(bench: Bench, chosen: argparse.Namespace) -> str:
    """A clock that jumps by hours, back and forth, each time it is asked."""
    folder, patch = bench.folder("clock"), bench.folder("patch")
    (patch / "sitecustomize.py").write_text("import time, itertools\n_t, _n = time.time, itertools.count()\n"
                                            "time.time = lambda: _t() + (7200, -7200, 86400, 0)[next(_n) % 4]\n", encoding="utf-8")
    done = bench.run(folder / "out.mp4", env={**bench.environment, "PYTHONPATH": f"{patch}{os.pathsep}{ROOT}"})
    bench.check("a jumping clock", done.returncode == 0 and bench.whole(folder / "out.mp4"), done.stderr[-500:])
    return "a clock that jumps"


def names(bench: Bench, chosen: argparse.Namespace) -> str:
    """Names that are hard, long, or no names."""
    folder = bench.folder("names")
    for name in EVIL:
        done = bench.run(folder / name)
        bench.check(f"output {name!a}", done.returncode == 0, done.stderr[-300:])
        bench.left(f"output {name!a}", folder, {name})
        source = folder / name
        told = [sys.executable, "-m", "lipsync_core", "dub", "--quiet", f"--output={folder / 'again.mp4'}", "--", str(source), str(source)]
        again = subprocess.run(told, capture_output=True, text=True, errors="replace", env=bench.environment, cwd=bench.work, check=False)
        bench.check(f"input {name!a}", again.returncode == 0, again.stderr[-300:])
        for file in folder.iterdir():
            file.unlink()
    for name in RESERVED:
        bench.refused(f"output {name}", bench.run(folder / name), folder)
    for long in ("a" * 300 + ".mp4", "/".join(["b" * 200] * 100) + ".mp4"):
        bench.refused("a long output", bench.run(folder / long), folder)
    done = subprocess.run([sys.executable, "-c", HUGE, str(bench.clip), str(bench.sound), str(folder / "out.mp4")], capture_output=True,
                          text=True, env=bench.environment, cwd=bench.work, check=False)
    bench.check("paths of 2 GB and with zero bytes", done.stdout.split() == ["refused"] * 4, (done.stdout, done.stderr[-600:]))
    bench.left("names", folder, set())
    return f"{len(EVIL)} hard names as output and input, {len(RESERVED)} reserved ones, paths of 20 KB and 2 GB, zero bytes"


CASES = (disk, rights, temp, signals, files, clock, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[case.__name__ for case in CASES], choices=[case.__name__ for case in CASES])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for case in CASES:
            if case.__name__ in chosen.only:
                before = bench.wrong
                told = case(bench, chosen)
                sys.stdout.write(f"{told}: {bench.wrong - before} wrong\n")
                sys.stdout.flush()
    raise SystemExit(bool(bench.wrong))


if __name__ == "__main__":
    main()
