"""The library as pip gets it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"lipsync_core", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "LICENSES"}
"""What a wheel is made of."""


def build_wheel(folder: Path) -> Path:
    """Built from a copy, since setuptools leaves a folder behind; without the index, where its back end (setuptools 77) is installed."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=lambda inside, names: [name for name in names if name.startswith(".") or name == "__pycache__"
                                                                or (Path(inside) == ROOT and name not in PARTS)])
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder), str(source)],
                   check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
