"""What a long clip costs. A host of its own, idle until then, so that nothing earlier hides growth."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import moving_face, write_clip
from host.comfy import Server
from host.graph import Graph, Node
from host.graphs import dub
from host.media import looped, probe

LIMIT = 500e6


def graph_of(video: str, audio: str, **options) -> tuple[Graph, Node, Node]:
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file=video), graph.add("LoadAudio", audio=audio), **options)
    return graph, node, graph.add("SaveVideo", video=node)


@pytest.fixture(scope="module")
def minute(fresh_server: Server, astronaut: np.ndarray, babble: np.ndarray) -> tuple[str, str]:
    """A minute of 1920x1080, two seconds thirty times over, and a minute of speech."""
    folder: Path = fresh_server.base / "input"
    faces = moving_face(astronaut, 50, 1080)
    wide = [np.pad(face, ((0, 0), (420, 420), (0, 0)), mode="edge") for face in faces]
    short = write_clip(folder / "part.mp4", wide, options={"preset": "ultrafast", "crf": "20"})
    looped(short, folder / "minute.mp4", 30)
    soundfile.write(folder / "minute.wav", np.tile(babble, 20), 16_000)
    return "minute.mp4", "minute.wav"


def test_twenty_seconds(fresh_server: Server) -> None:
    """First use of the nodes in this host: the libraries and networks they load are within the bound too."""
    graph, _, saved = graph_of("long.mp4", "long.wav")
    with fresh_server.peak_memory() as memory:
        run = fresh_server.run(graph)
    assert probe(fresh_server.files(run, saved.id)[0]).frames == 500
    assert memory[1] - memory[0] < LIMIT, f"{(memory[1] - memory[0]) / 1e6:.0f} MB"


@pytest.mark.slow
def test_a_minute_in_full_hd_is_cancelled_within_a_second(fresh_server: Server, minute: tuple[str, str]) -> None:
    before = fresh_server.written()
    graph, node, _ = graph_of(*minute, strength=0.9)
    pressed: list[float] = []

    def watch(kind: str, data: dict) -> None:
        if kind == "progress" and data["node"] == node.id and data["value"] > 0.03 * data["max"] and not pressed:
            fresh_server.interrupt()
            pressed.append(time.monotonic())

    run = fresh_server.run(graph, watch)
    assert run.interrupted and time.monotonic() - pressed[0] < 1
    assert fresh_server.written() == before


@pytest.mark.slow
def test_a_minute_in_full_hd(fresh_server: Server, minute: tuple[str, str]) -> None:
    graph, _, saved = graph_of(*minute)
    with fresh_server.peak_memory() as memory:
        run = fresh_server.run(graph)
    assert probe(fresh_server.files(run, saved.id)[0]).frames == 1500
    grown = memory[1] - memory[0]
    print(f"\na minute of 1080p: {run.seconds:.0f} s, {grown / 1e6:+.0f} MB over a host of {memory[0] / 1e6:.0f} MB")
    assert grown < LIMIT, f"{grown / 1e6:.0f} MB"
