"""A server on the loopback address, and inputs for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import grpc
import numpy as np
import pytest
from helpers import moving_face, write_clip
from service import client
from service.inputs import remuxed, wav

from lipsync_core.service.server import Server
from lipsync_core.service.settings import ServiceSettings


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The generated code that a client has."""
    return client.generate(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder for temporary files."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(temp: Path) -> Iterator[Server]:
    with Server(ServiceSettings(port=0, http_port=0, streams=1, queue=1, idle=20, keepalive=0.5, max_upload=30 << 20, temp=temp)) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture(scope="session")
def short(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A second and a half of the portrait: `front` and `end` say where `moov` stands; `pictures` are its frames."""
    folder = tmp_path_factory.mktemp("service")
    file = write_clip(folder / "short.mp4", moving_face(astronaut, 36, 240), options={"crf": "12"})
    with av.open(str(file)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    return SimpleNamespace(file=file, front=remuxed(file, folder / "front.mp4", True), end=remuxed(file, folder / "end.mp4", False),
                           frames=frames)


@pytest.fixture(scope="session")
def speech(babble: np.ndarray) -> bytes:
    """Two seconds, WAV."""
    return wav(babble[6000:38_000])
