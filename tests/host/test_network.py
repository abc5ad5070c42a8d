"""A network as the generator: a file of the models folder, moved and freed by the host like any other model."""

from __future__ import annotations

import numpy as np
import pytest
from host.comfy import Server
from host.graph import Graph
from host.graphs import dub, four_stages, repeated_photo
from host.media import ABOVE, MOUTH, change, frames_of, probe
from host.pictures import pictures, save

NETWORK = "small network.safetensors"


def test_dub_video(server: Server) -> None:
    graph = Graph()
    video = graph.add("LoadVideo", file="clip.mp4")
    node = graph.add("SaveVideo", video=dub(graph, video, graph.add("LoadAudio", audio="speech.wav"), NETWORK))
    said_before = len(server.log.read_text(errors="replace"))
    file = server.files(server.run(graph), node.id)[0]
    assert probe(file).frames == 50
    before, after = frames_of(server.base / "input" / "clip.mp4"), frames_of(file)
    assert change(before, after, MOUTH) > 3 * change(before, after, ABOVE)
    assert "Requested to load LipSyncNet" in server.log.read_text(errors="replace")[said_before:]      # by the host's model management


@pytest.mark.parametrize("batch_size", [1, 64])
def test_stages_with_any_batch_size_after_the_host_freed_everything(server: Server, batch_size: int) -> None:
    server.forget()
    graph = Graph()
    photo = repeated_photo(graph, 25)
    stages = four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav"), generator=NETWORK)
    graph.nodes[stages.generate.id]["inputs"]["batch_size"] = batch_size
    touched = graph.add("MaskToImage", mask=graph.add("ThresholdMask", mask=stages.blend[1], value=0.0))
    before, after, mask = save(graph, photo), save(graph, stages.blend), save(graph, touched)
    run = server.run(graph)
    a, b, outside = pictures(server, run, before), pictures(server, run, after), pictures(server, run, mask)[..., 0] == 0
    assert np.array_equal(a[outside], b[outside])
    assert np.abs(a[~outside].astype(int) - b[~outside]).mean() > 1
