"""Wav2Lip and MuseTalk in a real host: files of the models folder, here with random weights."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from host.comfy import Server
from host.graph import Graph
from host.graphs import dub, four_stages, repeated_photo
from host.media import ABOVE, MOUTH, change, frames_of, probe
from host.pictures import pictures, save
from host.setup_host import Host

WAV2LIP, MUSETALK = "random_wav2lip.pth", "musetalk/musetalkV15/unet.pth"


@pytest.mark.parametrize(("name", "network"), [(WAV2LIP, "Wav2Lip"), (MUSETALK, "MuseTalkNetwork")])
def test_dub_video(server: Server, host: Host, name: str, network: str) -> None:
    if name == MUSETALK and subprocess.run([host.python, "-c", "import diffusers, transformers"], check=False).returncode:
        pytest.skip("this host lacks requirements-musetalk.txt")
    graph = Graph()
    video = graph.add("LoadVideo", file="clip.mp4")
    node = graph.add("SaveVideo", video=dub(graph, video, graph.add("LoadAudio", audio="speech.wav"), name))
    said_before = len(server.log.read_text(errors="replace"))
    file = server.files(server.run(graph), node.id)[0]
    assert probe(file).frames == 50
    before, after = frames_of(server.base / "input" / "clip.mp4"), frames_of(file)
    assert change(before, after, MOUTH) > 3 * change(before, after, ABOVE)
    assert f"Requested to load {network}" in server.log.read_text(errors="replace")[said_before:]


def test_stages_with_options(server: Server) -> None:
    graph = Graph()
    photo = repeated_photo(graph, 8)
    stages = four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav"), generator=WAV2LIP)
    loader = next(node for node in graph.nodes.values() if node["class_type"] == "OpenLipSyncLoadGenerator")
    loader["inputs"]["options"] = "offset_ms=40 reference=open precision=fp32"
    touched = graph.add("MaskToImage", mask=graph.add("ThresholdMask", mask=stages.blend[1], value=0.0))
    before, after, mask = save(graph, photo), save(graph, stages.blend), save(graph, touched)
    run = server.run(graph)
    a, b, outside = pictures(server, run, before), pictures(server, run, after), pictures(server, run, mask)[..., 0] == 0
    assert np.array_equal(a[outside], b[outside])
    assert np.abs(a[~outside].astype(int) - b[~outside]).mean() > 1
