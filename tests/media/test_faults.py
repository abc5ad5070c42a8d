"""What a dub leaves behind when the world fails it, see benchmarks/faults.py, which does more of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lipsync_core import DubOptions, dub
from lipsync_core.audio import load_speech
from lipsync_core.errors import MediaError, OutputError, ShortOfMemoryError
from lipsync_core.files import check_file, check_name, partial_of, partials_of, sweep
from lipsync_core.generators.sparing import SparingGenerator
from lipsync_core.types import GeneratorSpec, Hooks

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
def test_a_full_disk_signals_and_files_that_change_leave_nothing_half() -> None:
    told = ["--only", "disk", "signals", "rights", "--moments", "2", "--runs", "4"]
    done = subprocess.run([sys.executable, str(BENCHMARK), *told], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count(": 0 wrong") == 3, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("change", ["vanishes", "grows", "is another"])
def test_a_video_that_changes_between_two_readings_is_named(face_clip: Path, babble: np.ndarray, tmp_path: Path, change: str) -> None:
    clip, sound, out = tmp_path / "clip.mp4", tmp_path / "speech.wav", tmp_path / "out.mp4"
    clip.write_bytes(face_clip.read_bytes())
    soundfile.write(sound, babble[8000:24_000], 16_000)
    seen = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "generate" and not seen:
            seen.append(stage)
            {"vanishes": clip.unlink, "grows": lambda: clip.write_bytes(clip.read_bytes() + b"\0" * 99),
             "is another": lambda: os.utime(clip, (1, 1))}[change]()

    with pytest.raises(MediaError, match="changed while it was read"):
        dub(clip, sound, out, DubOptions(), hooks=Hooks(progress=progress))
    assert seen and {file.name for file in tmp_path.iterdir()} <= {"clip.mp4", "speech.wav"}


@pytest.mark.parametrize("name", ["CON.mp4", "nul", "Aux.mkv", "com1.mp4", "LPT9.mov", "COM\u00b9.mp4", "prn.final.mp4", "conin$.mp4",
                                  "con .mp4"])
def test_names_that_windows_keeps_are_refused_everywhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="for a device"):
        check_name(tmp_path / name)


def test_names_that_only_look_so_are_fine(tmp_path: Path) -> None:
    for name in ("console.mp4", "com10.mp4", "lpt.mp4", "my con.mp4", "null.mp4", "\u4e2d\u6587.mp4", "a" * 251 + ".mp4"):
        check_name(tmp_path / name)


def test_names_that_can_be_no_file_are_said_in_a_sentence(tmp_path: Path) -> None:
    for wrong in (tmp_path / ("a" * 300 + ".mp4"), tmp_path / "a\0b.mp4", Path("/".join(["b" * 200] * 100), "c.mp4")):
        with pytest.raises(OutputError) as said:
            check_name(wrong)
        assert len(str(said.value)) < 600
        with pytest.raises(MediaError):
            check_file(wrong, "video")


def test_partial_files_have_room_for_their_names_and_old_ones_are_swept(tmp_path: Path) -> None:
    for name in ("out.mp4", "\u0e01" * 80 + ".mp4", "a" * 251 + ".mkv"):
        target = tmp_path / name
        old, young = partial_of(target), partial_of(target)
        for file in (old, young):
            file.touch()
        os.utime(old, (0, 0))
        (tmp_path / f"x{old.name[1:]}").touch()
        assert sorted(partials_of(target)) == sorted([old, young])
        sweep(target)
        assert partials_of(target) == [young]
        young.unlink()
        (tmp_path / f"x{old.name[1:]}").unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux only")
def test_a_sound_whose_name_is_no_text_is_heard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16_000)
    file = (tmp_path / "a.wav").rename(tmp_path / "\udcff.wav")
    assert len(load_speech(file).samples) == 1600


class Hungry:
    """A generator for whose batches there is room up to a size."""

    spec = GeneratorSpec("hungry", batch_size=8)

    def __init__(self, room: int, error: BaseException) -> None:
        self.room, self.error, self.asked = room, error, []

    def hear(self, *given: object) -> None:
        pass

    start = hear

    def generate(self, batch: list[int], state: object) -> list[int]:
        self.asked.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return [10 * item for item in batch]


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("MPS backend out of memory"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()])
def test_batches_are_halved_where_memory_runs_out_and_stay_so(error: BaseException) -> None:
    hungry = Hungry(2, error)
    generator = SparingGenerator(hungry)
    assert generator.generate(list(range(8)), None) == [10 * i for i in range(8)] and hungry.asked == [8, 4, 2, 2, 2, 2]
    hungry.asked.clear()
    assert generator.generate(list(range(5)), None) == [10 * i for i in range(5)] and hungry.asked == [2, 2, 1]
    hungry.room = 0
    with pytest.raises(ShortOfMemoryError, match="one face with hungry"):
        generator.generate([1, 2, 3], None)


def test_other_errors_of_a_generator_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        SparingGenerator(Hungry(0, RuntimeError("shapes differ"))).generate([1, 2], None)
