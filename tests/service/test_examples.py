"""The scripts in `examples/` do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av

from lipsync_core.service.server import Server

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / name, *arguments], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


def frames_of(file: Path) -> int:
    with av.open(str(file)) as container:
        assert container.streams.audio
        return sum(1 for _ in container.decode(video=0))


def test_a_user_of_the_service(server: Server, short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(speech)
    run("service_client.py", short.file, tmp_path / "speech.wav", tmp_path / "out.mp4", f"127.0.0.1:{server.port}")
    assert frames_of(tmp_path / "out.mp4") == 36


def test_live_from_a_file_into_a_file(short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(speech)
    run("live.py", short.file, tmp_path / "speech.wav", "-o", tmp_path / "out.mp4", "--lookahead", "0.8")
    assert frames_of(tmp_path / "out.mp4") == 36
