"""Several people with their own recordings, speaker data, lengths and the overlay, in the host."""

from __future__ import annotations

import json

import numpy as np
import pytest
from host.comfy import NodeError, Server
from host.graph import Graph, Node
from host.graphs import MORPH
from host.media import frames_of, halves, probe
from host.pictures import pictures, save

NOISE = 1.2
"""Levels that lossy storage costs at most over a mouth."""


def voices(graph: Graph, *given: tuple[str, int]) -> Node:
    """A chain of Voice nodes: recording, who."""
    chain = None
    for name, number in given:
        more = {} if chain is None else {"voices": chain}
        chain = graph.add("OpenLipSyncVoice", audio=graph.add("LoadAudio", audio=name), number=number, **more)
    return chain


def dub(graph: Graph, clip: str = "two_people.mp4", **options) -> Node:
    loaded = graph.add("OpenLipSyncLoadGenerator", name=MORPH)
    video = graph.add("LoadVideo", file=clip)
    return graph.add("OpenLipSyncDubVideo", video=video, generator=loaded, codec="ffv1", silence="keep", **options)


def result(server: Server, graph: Graph, node: Node):
    """The node's own file, before any other node stores it."""
    before = server.written()
    shown = graph.add("PreviewAny", source=node[1])
    run = server.run(graph)
    (file,) = [file for file in server.written() - before if file.suffix == ".mkv"]
    return file, server.text(run, shown.id)


def test_each_mouth_follows_its_own_voice(server: Server) -> None:
    graph = Graph()
    file, report = result(server, graph, dub(graph, voices=voices(graph, ("early.wav", 0), ("second.wav", 1))))
    left, right = halves(server.base / "input" / "two_people.mp4", file)
    assert left[10:26].mean() > 3 * right[10:26].mean() and right[38:].mean() > 3 * left[38:].mean() and "2 dubbed" in report
    assert probe(file).frames == 50 and abs(probe(file).audio_seconds - 2) < 0.05


def test_the_stages_do_the_same(server: Server) -> None:
    graph = Graph()
    clip = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="two_people.mp4"))
    found = graph.add("OpenLipSyncDetectFaces", images=clip, fps=clip[2], face="all")
    loaded = graph.add("OpenLipSyncLoadGenerator", name=MORPH)
    made = graph.add("OpenLipSyncGenerate", generator=loaded, faces=found, silence="keep",
                     voices=voices(graph, ("early.wav", 0), ("second.wav", 1)))
    one, other = save(graph, clip), save(graph, graph.add("OpenLipSyncBlend", images=clip, faces=made))
    run = server.run(graph)
    difference = np.abs(pictures(server, run, one).astype(int) - pictures(server, run, other))
    left, right = difference[:, :, :240].mean((1, 2, 3)), difference[:, :, 240:].mean((1, 2, 3))
    assert left[10:26].mean() > 0.05 > right[10:26].mean() == 0 and right[38:].mean() > 0.05


@pytest.mark.parametrize("mode", ["file", "text"])
def test_speaker_data(server: Server, mode: str) -> None:
    """The left one speaks in the first second; then the frames are as they were."""
    graph = Graph()
    text = (server.base / "input" / "speakers.json").read_text()
    speakers = graph.add("OpenLipSyncWhoSpeaks", mode=mode, **({"file": "speakers.json"} if mode == "file" else {"text": text}))
    file, _ = result(server, graph, dub(graph, audio=graph.add("LoadAudio", audio="speech.wav"), speakers=speakers))
    left, right = halves(server.base / "input" / "two_people.mp4", file)
    assert left[14:20].mean() > 0.5 and (left[25:] == 0).all() and (right == 0).all()


def test_who_speaks_is_told_and_can_be_edited(server: Server) -> None:
    graph = Graph()
    clip = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="dialogue.mp4"))
    found = graph.add("OpenLipSyncDetectFaces", images=clip, fps=clip[2], face="all")
    told = graph.add("OpenLipSyncWhoSpeaks", mode="auto", faces=found, audio=clip[1])
    again = graph.add("OpenLipSyncWhoSpeaks", mode="text", text=told[1])
    text, turns, same = (graph.add("PreviewAny", source=source) for source in (told[1], told[2], again[1]))
    run = server.run(graph)
    data = json.loads(server.text(run, text.id))
    assert len(data["frames"]) == 50 and {"bbox", "speaker_id", "is_speaking"} == set(data["frames"][0]["speakers"][0])
    assert "person 0" in server.text(run, turns.id) and server.text(run, same.id) == server.text(run, text.id)


@pytest.mark.parametrize(("mode", "text", "says"), [("text", '{"frames": [{"speakers": 3}]}', "frame 0"), ("text", "no json", "no JSON"),
                                                    ("file", "", "no file")])
def test_bad_speaker_data_are_one_sentence_on_the_node(server: Server, mode: str, text: str, says: str) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncWhoSpeaks", mode=mode, text=text)
    graph.add("PreviewAny", source=node[1])
    with pytest.raises(NodeError, match=says):
        server.run(graph)


@pytest.mark.parametrize("how", ["hold", "forward", "bounce"])
def test_speech_that_is_longer_than_the_picture(server: Server, how: str) -> None:
    """21 s would be long: a second of picture for three seconds of speech."""
    graph = Graph()
    part = graph.add("Video Slice", video=graph.add("LoadVideo", file="clip.mp4"), start_time=0.0, duration=1.0)
    loaded = graph.add("OpenLipSyncLoadGenerator", name=MORPH)
    node = graph.add("OpenLipSyncDubVideo", video=part, generator=loaded, audio=graph.add("LoadAudio", audio="speech.wav"), codec="ffv1",
                     extend_video=how)
    file, _ = result(server, graph, node)
    assert probe(file).frames == 75 and abs(probe(file).audio_seconds - 3) < 0.05
    shown = frames_of(file).astype(int)
    above = np.abs(np.diff(shown[25:, :60], axis=0)).mean((1, 2, 3))
    assert (above == 0).all() if how == "hold" else above.min() > 0.1


def test_a_picture_that_is_longer_than_the_speech(server: Server) -> None:
    graph = Graph()
    short = graph.add("OpenLipSyncLoadAudio", file="speech.wav", start=0.5, duration=1.0)
    file, report = result(server, graph, dub(graph, "clip.mp4", audio=short[1], extend_audio="silence"))
    assert probe(file).frames == 50 and "shorter" not in report


def test_a_picture_in_memory_is_held(server: Server) -> None:
    """One image becomes a video as long as the speech, in colours that every player shows."""
    graph = Graph()
    video = graph.add("CreateVideo", images=graph.add("LoadImage", image="photo.jpg"), fps=25.0)
    loaded = graph.add("OpenLipSyncLoadGenerator", name=MORPH)
    node = graph.add("OpenLipSyncDubVideo", video=video, generator=loaded, audio=graph.add("LoadAudio", audio="speech.wav"),
                     extend_video="hold")
    saved = graph.add("SaveVideo", video=node)
    (file,) = server.files(server.run(graph), saved.id)
    assert probe(file).frames == 75 and not list(file.parent.glob("*.tmp"))


def test_bypass_and_overlay(server: Server) -> None:
    graph = Graph()
    file, _ = result(server, graph, dub(graph, "clip.mp4", audio=graph.add("LoadAudio", audio="speech.wav"), bypass="0-"))
    source = frames_of(server.base / "input" / "clip.mp4")
    assert np.array_equal(frames_of(file), source)
    graph = Graph()
    file, _ = result(server, graph, dub(graph, "clip.mp4", audio=graph.add("LoadAudio", audio="speech.wav"), overlay=True))
    assert (np.abs(frames_of(file).astype(int) - source)[:, 4:20, 4:90] > 60).mean() > 0.1        # the frame's number
