"""What can be answered without torch is answered without it, and without what else takes long to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from lipsync_core.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
print("imported:", *({"torch", "cv2", "av"} & set(sys.modules)))
sys.exit(status)
"""


@pytest.mark.parametrize(("words", "status", "said"), [
    ("--help", 0, "Dub a video"), ("dub --help", 0, "--silence"), ("dub a.mp4 --faster", 2, "required"),
    ("dub nothing.mp4 nothing.wav -o out.mp4", 1, "There is no file nothing.mp4"), ("analyze nothing.mp4", 1, "name of the video"),
    ("models", 0, "morph")])
def test_answers_without_torch(words: str, status: int, said: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *words.split()], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == status and said in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"
