"""What the README and docs/ tell people to type: every command is one, the README's own recipes run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from lipsync_core.cli import _parser, main

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("demo", "serve", "download", "convert", "evaluate", "models")
"""Commands that other tests run, or that need a file or a network."""
NAMES_ONLY = re.compile(r"\b(VIDEO|AUDIO|FILE|OUT|MEDIA\w*|LABELS|…)\b|…|\.\.\.")


def commands(file: Path) -> Iterator[list[str]]:
    """Words behind `python -m lipsync_core`, of code blocks that name files, not places for them."""
    for block in re.findall(r"^```\w*\n(.*?)^```", file.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines():
            text = re.split(r"\s#\s|\s{2,}#", line)[0].strip()
            if text.startswith("python -m lipsync_core ") and not NAMES_ONLY.search(text):
                yield shlex.split(text)[3:]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_every_command_is_one(file: Path) -> None:
    for words in commands(file):
        chosen = _parser().parse_args(words)
        assert hasattr(chosen, "run"), words


def test_links_lead_somewhere() -> None:
    for file in TEXTS:
        text = file.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|src=\"([^\":]+)\"", text):
            place = file.parent / (target[0] or target[1])
            assert place.exists(), f"{file.name}: {place}"


def test_the_repository_has_one_address() -> None:
    address = re.search(r'^Repository = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    for file in TEXTS:
        assert set(re.findall(r"https://github\.com/OpenLipSync/[\w-]+", file.read_text(encoding="utf-8"))) <= {address}


def test_the_registry_finds_icon_and_banner() -> None:
    """Sizes as the registry asks for: at most 800 x 400, and 21:9."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    address = re.search(r'^Repository = "https://github\.com/(.+)"', project, re.M)[1]
    sizes = {}
    for name in ("Icon", "Banner"):
        path = re.search(rf'^{name} = "https://raw\.githubusercontent\.com/{address}/main/(.+)"', project, re.M)[1]
        height, width = cv2.imread(str(ROOT / path)).shape[:2]
        sizes[name] = width, height
    assert sizes["Icon"][0] <= 800 and sizes["Icon"][1] <= 400 and sizes["Banner"][0] * 9 == sizes["Banner"][1] * 21


@pytest.mark.slow
def test_the_recipes_of_the_readme_run(face_clip: Path, babble: np.ndarray, astronaut: np.ndarray, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "talk.mp4"):
        from helpers import sounded

        sounded(face_clip, babble[8000:40_000], Path(name))
    for name, seconds in (("speech", 1), ("anna", 1), ("ben", 1), ("translated", 1), ("long_speech", 3)):
        soundfile.write(f"{name}.wav", babble[8000:8000 + 16_000 * seconds], 16_000)
    cv2.imwrite("photo.jpg", np.ascontiguousarray(astronaut[..., ::-1]))
    rows = "video,audio,preset\nclip.mp4,speech.wav,ultrafast\n"
    for name in ("jobs.csv", "films.csv"):
        Path(name).write_text(rows, encoding="utf-8")
    ran = 0
    for words in commands(ROOT / "README.md"):
        if words[0] in ELSEWHERE or "--ray" in words:
            continue
        for file in (tmp_path / "dubbed.mp4", tmp_path / "talking.mp4"):
            if words[0] == "dub":
                file.unlink(missing_ok=True)
        if words[0] == "batch" and "--dry-run" not in words:
            shutil.rmtree(tmp_path / "dubbed", ignore_errors=True)
        assert main([*words, "--quiet"]) == 0, words
        ran += 1
    assert ran >= 8
