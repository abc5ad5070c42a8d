"""The library by pip, in ComfyUI's own environment: what a program beside ComfyUI installs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from host.comfy import Server
from wheel import build_wheel


def test_the_wheel_runs_the_demo_with_comfyuis_packages(server: Server, tmp_path: Path) -> None:
    """Installed beside them, not among them, so that the environment stays as it was for the next run."""
    python, beside = server.host.python, tmp_path / "beside"
    wheel = build_wheel(tmp_path)
    install = ["install", "--no-deps", "--quiet", "--disable-pip-version-check", "--target", str(beside), str(wheel)]
    subprocess.run([python, "-m", "pip", *install], check=True, cwd=tmp_path)
    environment = {**{k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV")}, "PYTHONPATH": str(beside)}

    def run(*words: str) -> str:
        done = subprocess.run([python, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert Path(run("-c", "import lipsync_core; print(lipsync_core.__file__)")).is_relative_to(beside)
    run("-m", "lipsync_core", "demo", "-o", "demo")
    assert sorted(file.name for file in (tmp_path / "demo").iterdir()) == ["contact_sheet.png", "dubbed.mp4", "source.mp4"]
