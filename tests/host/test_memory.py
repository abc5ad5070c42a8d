"""What a long clip costs. A host of its own, idle until then, so that nothing earlier hides growth."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import moving_face, write_clip
from host.comfy import Run, Server
from host.graph import Graph, Node
from host.graphs import dub
from host.media import looped, probe

LIMIT = 500e6


def graph_of(video: str, audio: str, **options) -> tuple[Graph, Node, Node]:
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file=video), graph.add("LoadAudio", audio=audio), **options)
    return graph, node, graph.add("SaveVideo", video=node)


def expect_within_limit(server: Server, peak: int, what: str, run: Run) -> None:
    grown = peak - server.idle_memory
    logging.getLogger(__name__).info("%s in %.0f s: %+.0f MB over an idle host's %.0f MB", what, run.seconds, grown / 1e6,
                                     server.idle_memory / 1e6)
    assert grown < LIMIT, f"{what} added {grown / 1e6:.0f} MB"


@pytest.fixture(scope="module")
def minute(fresh_server: Server, astronaut: np.ndarray, babble: np.ndarray) -> tuple[str, str]:
    """A minute of 1920x1080, a face of 280 pixels between bars, two seconds thirty times over, and a minute of speech."""
    folder: Path = fresh_server.base / "input"
    wide = [np.pad(face, ((180, 180), (600, 600), (0, 0))) for face in moving_face(astronaut, 50, 720)]
    short = write_clip(folder / "part.mp4", wide, options={"preset": "ultrafast", "crf": "20"})
    looped(short, folder / "minute.mp4", 30)
    soundfile.write(folder / "minute.wav", np.tile(babble, 20), 16_000)
    return "minute.mp4", "minute.wav"


def test_twenty_seconds(fresh_server: Server) -> None:
    """Measured, as below, from the host as it came up: the libraries and networks that the nodes load are within the bound too."""
    graph, _, saved = graph_of("long.mp4", "long.wav")
    with fresh_server.peak_memory() as memory:
        run = fresh_server.run(graph)
    assert probe(fresh_server.files(run, saved.id)[0]).frames == 500
    expect_within_limit(fresh_server, memory[1], "20 s of 320x320", run)


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
    expect_within_limit(fresh_server, memory[1], "a minute of 1920x1080", run)
