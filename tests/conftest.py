"""Shared inputs: a real face that ships with scikit-image, clips made from it, and ../shared/media where it exists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import moving_face, write_clip

from lipsync_core.demo import portrait
from lipsync_core.faces.builtin import BuiltinBackend

# face-alignment's and librosa's helpers run as the Python that they are: compiling them costs more than all that they do here.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the run cost, children included: unlike its time, the same on a busy machine."""
    spent = os.times()
    terminalreporter.write_line(f"{spent.user + spent.system + spent.children_user + spent.children_system:.0f} CPU seconds")


REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """RGB uint8 (512, 512, 3), one smiling face of about 100 pixels."""
    return portrait()


@pytest.fixture(scope="session")
def backend() -> BuiltinBackend:
    """The built-in face models."""
    return BuiltinBackend()


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Two seconds of the portrait under a moving camera, 320x320, 25 frames a second."""
    return write_clip(tmp_path_factory.mktemp("clips") / "face.mp4", moving_face(astronaut, 50), options={"crf": "12"})


@pytest.fixture(scope="session")
def empty_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of moving colours, nobody in it."""
    y, x = np.mgrid[0:240, 0:320]
    pictures = [np.stack([(x + 3 * i) % 256, (y * 2 + i) % 256, (x + y) % 256], -1).astype(np.uint8) for i in range(25)]
    return write_clip(tmp_path_factory.mktemp("clips") / "empty.mp4", pictures)


@pytest.fixture(scope="session")
def babble() -> np.ndarray:
    """Three seconds at 16 kHz that go like speech: half a second of silence, then vowel-like syllables with pauses."""
    rate, rng = 16_000, np.random.default_rng(7)
    t = np.arange(3 * rate) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * t) / k * np.exp(-((120 * k - 700) / 500) ** 2) for k in range(1, 20))
    syllables = (np.sin(2 * np.pi * 3 * (t - 0.5)) > -0.2) & (t > 0.5) & ~((t > 1.6) & (t < 2.1))
    envelope = np.convolve(syllables, np.hanning(800) / np.hanning(800).sum(), mode="same")
    return (0.3 * voice * envelope + 1e-4 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.fixture(scope="session")
def babble_file(tmp_path_factory: pytest.TempPathFactory, babble: np.ndarray) -> Path:
    file = tmp_path_factory.mktemp("audio") / "speech.wav"
    soundfile.write(file, babble, 16_000)
    return file


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory, babble: np.ndarray) -> Callable[[float], Path]:
    """Seconds -> a file of so much speech."""
    folder, known = tmp_path_factory.mktemp("spoken"), np.tile(babble[8000:], 2)

    def file(seconds: float) -> Path:
        target = folder / f"{seconds:g}.wav"
        if not target.exists():
            soundfile.write(target, known[:round(16_000 * seconds)], 16_000)
        return target

    return file


@pytest.fixture(scope="session")
def shared_media() -> Path | None:
    """The team's clips beside the checkout, None elsewhere."""
    folder = REPOSITORY.parent / "shared" / "media"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For work with several processes, and for sums that must come in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
