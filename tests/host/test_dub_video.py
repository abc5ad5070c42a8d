"""Dub Video on what a VIDEO can be: a file, a part of one, pictures in memory; and what the host keeps or cancels."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from host.comfy import NodeError, Run, Server
from host.graph import Graph, Node
from host.graphs import dub, four_stages, repeated_photo
from host.media import ABOVE, MOUTH, change, frames_of, probe

from lipsync_core.provenance.reading import known_of


def quick(video: str = "clip.mp4", audio: str = "speech.wav", **options) -> tuple[Graph, Node, Node]:
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file=video), graph.add("LoadAudio", audio=audio), **options)
    return graph, node, graph.add("SaveVideo", video=node)


def test_a_trimmed_video_is_dubbed_where_it_was_trimmed(server: Server) -> None:
    graph = Graph()
    part = graph.add("Video Slice", video=graph.add("LoadVideo", file="clip.mp4"), start_time=0.48, duration=1.0)
    node = graph.add("SaveVideo", video=dub(graph, part, graph.add("LoadAudio", audio="speech.wav")))
    file = server.files(server.run(graph), node.id)[0]
    result, whole, part_frames = probe(file), frames_of(server.base / "input" / "clip.mp4"), frames_of(file)
    assert result.frames == 25 and abs(result.audio_seconds - 1.0) < 0.15
    distance = [change(whole[i:i + 25], part_frames, ABOVE) for i in range(26)]
    assert np.argmin(distance) == 12                                  # 0.48 s at 25 frames a second
    assert change(whole[12:37], part_frames, MOUTH) > 2 * distance[12]


def test_a_result_can_be_dubbed_trimmed_and_taken_apart_again(server: Server) -> None:
    graph = Graph()
    speech = graph.add("LoadAudio", audio="speech.wav")
    once = dub(graph, graph.add("LoadVideo", file="clip.mp4"), speech)
    twice = dub(graph, graph.add("Video Slice", video=once, start_time=0.0, duration=1.0), speech)
    parts = graph.add("GetVideoComponents", video=twice)
    shown = graph.add("SaveImage", images=parts)
    assert len(server.files(server.run(graph), shown.id)) == 25


def test_an_odd_sized_file(server: Server) -> None:
    graph, _, node = quick("odd.mp4")
    result = probe(server.files(server.run(graph), node.id)[0])
    assert (result.width, result.height, result.frames) == (319, 317, 12)


def test_pictures_in_memory(server: Server) -> None:
    """There is no file to stream from; 23.976 frames a second, and the shorter of the two decides."""
    graph = Graph()
    video = graph.add("CreateVideo", images=repeated_photo(graph, 96), fps=23.976)
    node = dub(graph, video, graph.add("LoadAudio", audio="speech.wav"))
    saved = graph.add("SaveVideo", video=node)
    run = server.run(graph)
    result = probe(server.files(run, saved.id)[0])
    assert result.frames in (71, 72) and abs(result.audio_seconds - 3.0) < 0.15
    assert run.progress[node.id]


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("h265", "hevc"), ("ffv1", "ffv1"), ("prores", "prores")])
def test_codecs(server: Server, codec: str, name: str) -> None:
    """Looked at in the temp folder, before Save Video makes what it likes of it."""
    before = server.written()
    graph = Graph()
    part = graph.add("Video Slice", video=graph.add("LoadVideo", file="clip.mp4"), start_time=0.0, duration=0.4)
    node = dub(graph, part, graph.add("LoadAudio", audio="speech.wav"), codec=codec)
    graph.add("PreviewAny", source=node[1])
    server.run(graph)
    (file,) = server.written() - before
    assert (probe(file).codec, probe(file).frames) == (name, 10)


def test_the_report_says_what_was_done(server: Server) -> None:
    graph, node, _ = quick()
    shown = graph.add("PreviewAny", source=node[1])
    report = server.text(server.run(graph), shown.id)
    assert "50" in report and len(report.splitlines()) >= 1


def test_the_mark_survives_save_video_and_may_be_left_out(server: Server) -> None:
    """The host copies packets and the container's metadata, the comment among them; what is in boxes of its own (XMP, C2PA) it leaves."""
    for mark, altered in (("metadata", True), ("none", False)):
        graph, _, saved = quick("clip.mp4", mark=mark, strength=0.71)
        (file,) = server.files(server.run(graph), saved.id)
        assert known_of(file).altered == altered
    graph, _, _ = quick("clip.mp4", mark="signed")
    with pytest.raises(NodeError, match="OPENLIPSYNC_SIGN_CERTIFICATE"):
        server.run(graph)


def test_what_was_made_last_and_how_far_it_is_shows_on_the_node(server: Server) -> None:
    graph, node, _ = quick("long.mp4", "long.wav", strength=0.77)
    run = server.run(graph)
    words = [content[4 + len(node.id):].decode() for kind, content in run.binary if kind == 3 and node.id.encode() in content[:16]]
    assert any(line.startswith("Looking for faces: ") for line in words) and any(line.startswith("Making mouths: ") for line in words)
    assert any(re.search(r", about \d+:\d\d left$", line) for line in words) and re.fullmatch(r"Done in \d+:\d\d", words[-1])
    pictures = [content for kind, content in run.binary if kind in (1, 4)]
    assert pictures and all(b"\xff\xd8\xff" in content[:400] for content in pictures)     # JPEG, behind what the host says of it


def test_progress_reaches_the_page(server: Server) -> None:
    graph, node, _ = quick("silent.mp4", strength=0.9)
    bar = server.run(graph).progress[node.id]
    values = [value for value, _ in bar]
    assert len(bar) >= 3 and values == sorted(values)                 # it moves, and only forward
    assert len({maximum for _, maximum in bar}) == 1 and bar[-1][0] == bar[-1][1]


def test_a_second_run_executes_nothing(server: Server) -> None:
    graph, _, saved = quick("silent.mp4", strength=0.8)
    first = server.run(graph)
    second = server.run(graph)
    assert len(first.executed) >= 2
    assert second.executed == [] and set(second.cached) == set(graph.nodes)
    # The result lives in the temp folder, and must still be there for a node that is added later.
    parts = graph.add("GetVideoComponents", video=Node(saved.id))
    graph.add("PreviewImage", images=parts)
    third = server.run(graph)
    assert set(third.executed) <= {parts.id, str(int(parts.id) + 1)} and third.executed


def test_the_same_again_gives_the_same_pixels(server: Server) -> None:
    """Lossless, from the temp folder: in the host H.264 itself differs from run to run, its own Save Video's too."""
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file="clip.mp4"), graph.add("LoadAudio", audio="speech.wav"), codec="ffv1")
    graph.add("PreviewAny", source=node[1])

    def once() -> np.ndarray:
        before = server.written()
        assert node.id in server.run(graph).executed
        (file,) = server.written() - before
        return frames_of(file)

    first = once()
    server.forget()
    assert np.array_equal(once(), first)


def interrupt_at(server: Server, graph: Graph, node: Node, at: float) -> tuple[Run, float]:
    """Press Cancel when the node's bar has come to `at`; how long it took the run to end."""
    pressed: list[float] = []

    def watch(kind: str, data: dict) -> None:
        if kind == "progress" and data["node"] == node.id and data["value"] >= at * data["max"] and not pressed:
            server.interrupt()
            pressed.append(time.monotonic())

    run = server.run(graph, watch)
    return run, time.monotonic() - pressed[0] if pressed else float("nan")


@pytest.mark.parametrize("at", [0.0, 0.3, 0.8], ids=["looking for faces", "a third", "nearly done"])
def test_cancelling_dub_video(server: Server, at: float) -> None:
    before = server.written()
    graph, node, _ = quick("long.mp4", "long.wav", strength=1 - at / 10)          # a setting of its own: nothing is cached
    run, seconds = interrupt_at(server, graph, node, at)
    assert run.interrupted and seconds < 1
    assert server.written() == before


@pytest.mark.parametrize("stage", ["detect", "generate", "blend"])
def test_cancelling_a_stage(server: Server, stage: str) -> None:
    before = server.written()
    graph = Graph()
    batch = repeated_photo(graph, 200)
    stages = four_stages(graph, batch, graph.add("LoadAudio", audio="long.wav"))
    graph.add("PreviewImage", images=stages.blend)
    run, seconds = interrupt_at(server, graph, getattr(stages, stage), 0.0)
    assert run.interrupted and seconds < 1
    assert server.written() == before


def test_the_host_goes_on_after_a_cancel(server: Server) -> None:
    graph, node, saved = quick("long.mp4", "long.wav", strength=0.5)
    interrupt_at(server, graph, node, 0.1)
    graph, _, saved = quick(strength=0.5)
    assert probe(server.files(server.run(graph), saved.id)[0]).frames == 50
