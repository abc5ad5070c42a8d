"""Broken files of every kind: each is read, or refused with a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


@pytest.mark.slow
def test_three_hundred_broken_files(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, FUZZ, "--tries", "300", "--keep", tmp_path], capture_output=True, text=True, errors="replace",
                          timeout=280)
    assert done.returncode == 0, done.stdout
    assert "300 tries, 0 failed" in done.stdout
