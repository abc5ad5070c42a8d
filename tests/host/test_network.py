"""Networks as generators: files of the models folder with random weights, moved and freed by the host like any other model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from host.comfy import Server
from host.graph import Graph, Node
from host.graphs import Stages, dub, four_stages, repeated_photo
from host.media import ABOVE, MOUTH, change, frames_of, probe
from host.pictures import pictures, save
from host.setup_host import Host

SHIPS = "LipSyncNet (built in)"
NETWORK, WAV2LIP, MUSETALK = "small network.safetensors", "random_wav2lip.pth", "musetalk/musetalkV15/unet.pth"


@pytest.mark.parametrize(("name", "network"), [(SHIPS, "LipSyncNet"), (NETWORK, "LipSyncNet"), (WAV2LIP, "Wav2Lip"),
                                               (MUSETALK, "MuseTalkNetwork")])
def test_dub_video(server: Server, host: Host, name: str, network: str) -> None:
    # Our own host has what MuseTalk needs; without it this must fail there.
    if name == MUSETALK and "COMFYUI_PATH" in os.environ and subprocess.run([host.python, "-c", "import diffusers, transformers"],
                                                                            check=False).returncode:
        pytest.skip("the ComfyUI of COMFYUI_PATH lacks what MuseTalk needs, so MuseTalk was NOT run in it: "
                    f"{host.python} -m pip install -r requirements-musetalk.txt")
    graph = Graph()
    video = graph.add("LoadVideo", file="clip.mp4")
    node = graph.add("SaveVideo", video=dub(graph, video, graph.add("LoadAudio", audio="speech.wav"), name))
    said_before = len(server.log.read_text(errors="replace"))
    file = server.files(server.run(graph), node.id)[0]
    assert probe(file).frames == 50
    before, after = frames_of(server.base / "input" / "clip.mp4"), frames_of(file)
    assert change(before, after, MOUTH) > 3 * change(before, after, ABOVE)
    assert f"Requested to load {network}" in server.log.read_text(errors="replace")[said_before:]      # by the host's model management


def check_stages(server: Server, graph: Graph, photo: Node, stages: Stages) -> None:
    """Run the graph: mouths change, and what the mask leaves out is as it was."""
    touched = graph.add("MaskToImage", mask=graph.add("ThresholdMask", mask=stages.blend[1], value=0.0))
    before, after, mask = save(graph, photo), save(graph, stages.blend), save(graph, touched)
    run = server.run(graph)
    a, b, outside = pictures(server, run, before), pictures(server, run, after), pictures(server, run, mask)[..., 0] == 0
    assert np.array_equal(a[outside], b[outside])
    assert np.abs(a[~outside].astype(int) - b[~outside]).mean() > 1


@pytest.mark.parametrize("batch_size", [1, 64])
def test_stages_with_any_batch_size_after_the_host_freed_everything(server: Server, batch_size: int) -> None:
    server.forget()
    graph = Graph()
    photo = repeated_photo(graph, 25)
    stages = four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav"), generator=NETWORK)
    graph.nodes[stages.generate.id]["inputs"]["batch_size"] = batch_size
    check_stages(server, graph, photo, stages)


def loader_of(graph: Graph) -> dict:
    return next(node for node in graph.nodes.values() if node["class_type"] == "OpenLipSyncLoadGenerator")["inputs"]


def test_stages_with_options(server: Server) -> None:
    graph = Graph()
    photo = repeated_photo(graph, 8)
    stages = four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav"), generator=WAV2LIP)
    loader_of(graph)["options"] = "offset_ms=40 reference=open precision=fp32"
    check_stages(server, graph, photo, stages)


def test_stages_with_a_face_restorer(server: Server) -> None:
    """The generator's network and the restorer's are both the host's to move; strength 0 is off."""
    began = []
    for strength in (0.0, 1.0):
        graph = Graph()
        photo = repeated_photo(graph, 2)
        stages = four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav"), generator=WAV2LIP)
        loader_of(graph).update(restorer="RestoreFormer small.pth", restorer_strength=strength)
        began.append(len(server.log.read_text(errors="replace")))
        check_stages(server, graph, photo, stages)
    said = server.log.read_text(errors="replace")
    assert "Requested to load RestoreFormer" not in said[began[0]:began[1]]
    assert "Requested to load RestoreFormer" in said[began[1]:]


@pytest.mark.parametrize("name", ["gfpgan", "restoreformer"])
def test_files_of_face_restorers_through_the_host_s_spandrel(host: Host, tmp_path: Path, name: str) -> None:
    """CodeFormer needs a library that no host has by itself; `load_restorer.py codeformer FOLDER` checks it where it was installed."""
    script = Path(__file__).with_name("load_restorer.py")
    done = subprocess.run([host.python, str(script), name, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
