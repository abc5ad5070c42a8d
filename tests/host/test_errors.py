"""What can be wrong, and the one sentence that the node says about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from host.comfy import NodeError, Refused, Server
from host.graph import Graph, Node
from host.graphs import dub, repeated_photo


def said_by(server: Server, graph: Graph, node: Node) -> str:
    """The node's message; it must be a sentence of one line (it may begin with a file's name), and nothing may be left behind."""
    before = server.written()
    with pytest.raises(NodeError) as caught:
        server.run(graph)
    assert caught.value.node == node.id
    message = caught.value.message
    assert "\n" not in message and message.endswith(".") and not message[0].islower(), message
    assert server.written() == before
    return message


def refusal(server: Server, graph: Graph, node: Node) -> str:
    with pytest.raises(Refused) as caught:
        server.run(graph)
    return caught.value.text(node.id)


def generator_graph(name: str) -> tuple[Graph, Node]:
    graph = Graph()
    generator = graph.add("OpenLipSyncLoadGenerator", name=name)
    graph.add("PreviewAny", source=generator)
    return graph, generator


def test_a_generator_that_is_not_there_is_named_before_anything_runs(server: Server) -> None:
    assert "wav2lip_gan.pth" in refusal(server, *generator_graph("wav2lip_gan.pth"))


@pytest.mark.parametrize("name", ["../../extra.yaml", "/etc/passwd", "morph (built in)/../x"])
def test_a_generator_outside_the_models_folder_is_refused(server: Server, name: str) -> None:
    assert name in refusal(server, *generator_graph(name))


@pytest.mark.parametrize("name", ["unknown.safetensors", "broken.safetensors"])
def test_a_file_that_is_no_generator(server: Server, name: str) -> None:
    assert name in said_by(server, *generator_graph(name))


def silent(graph: Graph) -> list:
    """The AUDIO of a video that has none: the host makes it None."""
    return graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="silent.mp4"))[1]


def test_no_audio_for_dub_video(server: Server) -> None:
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file="clip.mp4"), silent(graph))
    graph.add("SaveVideo", video=node)
    assert "audio" in said_by(server, graph, node).lower()


def test_no_audio_for_the_stage(server: Server) -> None:
    graph = Graph()
    faces = graph.add("OpenLipSyncDetectFaces", images=repeated_photo(graph, 3))
    node = graph.add("OpenLipSyncGenerate", generator=graph.add("OpenLipSyncLoadGenerator"), faces=faces, audio=silent(graph))
    graph.add("PreviewAny", source=node)
    assert "audio" in said_by(server, graph, node).lower()


def test_no_audio_for_the_loader(server: Server) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file="(connected audio)", audio=silent(graph))
    graph.add("PreviewAny", source=node)
    assert "audio" in said_by(server, graph, node).lower()


def test_no_audio_for_evaluate(server: Server) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncEvaluate", dubbed=graph.add("LoadVideo", file="clip.mp4"), audio=silent(graph))
    graph.add("PreviewAny", source=node)
    assert "audio" in said_by(server, graph, node).lower()


def test_nothing_connected_where_the_loader_expects_it(server: Server) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file="(connected audio)")
    graph.add("PreviewAny", source=node)
    with pytest.raises((NodeError, Refused), match="(?i)audio"):      # while it runs, or better before
        server.run(graph)


@pytest.mark.parametrize("name", ["gone.wav", "../server.log", "/etc/hostname"])
def test_an_audio_file_that_is_not_in_the_input_folder(server: Server, name: str) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file=name)
    graph.add("PreviewAny", source=node)
    assert name in refusal(server, graph, node)


def test_a_file_that_is_no_sound(server: Server) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file="broken.wav")
    graph.add("PreviewAny", source=node)
    assert "broken.wav" in said_by(server, graph, node)


def test_a_start_past_the_end(server: Server) -> None:
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file="speech.wav", start=60.0)
    graph.add("PreviewAny", source=node)
    assert "60" in said_by(server, graph, node)


def test_a_video_that_goes_away_before_it_is_read(server: Server) -> None:
    """Loaded, then deleted by someone; the node that reads it says so."""
    file = server.base / "input" / "soon gone.mp4"
    file.write_bytes((server.base / "input" / "silent.mp4").read_bytes()[:2000])                  # cut short: no longer a video
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file=file.name), graph.add("LoadAudio", audio="speech.wav"))
    graph.add("SaveVideo", video=node)
    assert "soon gone.mp4" in said_by(server, graph, node)


def test_faces_of_other_pictures(server: Server) -> None:
    """Blend Back is given a batch of another length than the faces were found in."""
    graph = Graph()
    faces = graph.add("OpenLipSyncDetectFaces", images=repeated_photo(graph, 13))
    generated = graph.add("OpenLipSyncGenerate", generator=graph.add("OpenLipSyncLoadGenerator"), faces=faces,
                          audio=graph.add("LoadAudio", audio="speech.wav"))
    node = graph.add("OpenLipSyncBlend", images=repeated_photo(graph, 9), faces=generated)
    graph.add("PreviewImage", images=node)
    message = said_by(server, graph, node)
    assert "13" in message and "9" in message


def test_faces_that_nothing_was_generated_for(server: Server) -> None:
    """Detect & Crop Faces straight into Blend Back: the sockets fit, the graph is a mistake."""
    graph = Graph()
    batch = repeated_photo(graph, 5)
    node = graph.add("OpenLipSyncBlend", images=batch, faces=graph.add("OpenLipSyncDetectFaces", images=batch))
    graph.add("PreviewImage", images=node)
    assert "Generate" in said_by(server, graph, node)


def test_values_out_of_range_are_refused(server: Server) -> None:
    graph = Graph()
    node = dub(graph, graph.add("LoadVideo", file="clip.mp4"), graph.add("LoadAudio", audio="speech.wav"), strength=3.0)
    graph.add("SaveVideo", video=node)
    assert "strength" in refusal(server, graph, node)


def test_nothing_was_written_outside_the_hosts_folders(server: Server) -> None:
    """Runs last in this module: after all of the above the pack's folder is as it was shipped, but for Python's own caches."""
    extra = {file.relative_to(server.pack) for file in server.pack.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert extra == server.shipped
    assert {entry.name for entry in Path(server.base).iterdir()} <= {"input", "output", "temp", "models", "user", "custom_nodes",
                                                                      "extra.yaml", "server.log"}
