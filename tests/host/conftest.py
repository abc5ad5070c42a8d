"""A real ComfyUI for these tests; `make test-host` runs them, the plain suite leaves them alone: they need a host of 2 GB."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import moving_face, write_clip
from PIL import Image
from random_checkpoints import random_wav2lip, save_as_trained, write_musetalk
from safetensors.torch import save_file

from lipsync_core import Voice, dub
from lipsync_core.audio import speech_from_samples
from lipsync_core.generators.lipsyncnet import build, preset
from lipsync_core.generators.lipsyncnet.checkpoint import save

if os.environ.get("OPENLIPSYNC_HOST_TESTS"):
    from host.comfy import Server
    from host.media import looped, with_tone, write_restorer, write_upscaler
    from host.setup_host import Host, HostError, ensure
else:
    collect_ignore_glob = ["*.py"]


@pytest.fixture(scope="session")
def host() -> Host:
    """Where ComfyUI is. No host is a failure here: .ci/run asks setup_host.py first."""
    try:
        return ensure(print)
    except HostError as error:
        pytest.exit(f"NO COMFYUI HERE: {error}", returncode=error.status)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, face_clip: Path, babble: np.ndarray) -> Path:
    """The host's input folder: the files that the workflows name, and some that cause trouble."""
    folder = tmp_path_factory.mktemp("input")
    with_tone(face_clip, folder / "clip.mp4")                          # 2 s, 320x320, with a 440 Hz tone of its own
    shutil.copyfile(face_clip, folder / "silent.mp4")                  # the same without any sound
    looped(face_clip, folder / "long.mp4", 10)                         # 20 s
    odd = [picture[:317, :319] for picture in moving_face(astronaut, 12)]
    write_clip(folder / "odd.mp4", odd, pix_fmt="yuv444p")             # H.264 takes odd sizes only where colour is not halved
    soundfile.write(folder / "speech.wav", babble, 16_000)             # 3 s
    soundfile.write(folder / "long.wav", np.tile(babble, 7), 16_000)   # 21 s
    stereo = np.stack([babble, np.zeros_like(babble)], 1)
    soundfile.write(folder / "left only.flac", np.repeat(stereo, 3, 0), 48_000)
    Image.fromarray(moving_face(astronaut, 1)[0]).save(folder / "photo.jpg", quality=95)
    (folder / "broken.wav").write_text("this is no sound")
    write_two_people(folder, astronaut, babble)
    return folder


def write_two_people(folder: Path, astronaut: np.ndarray, babble: np.ndarray) -> None:
    """Two seconds of two people side by side, what each says (the one early, the other late), and speaker data. In the dialogue the left
    one talks, by a dub of ours, in the video's own sound, and the right one is still."""
    frames = moving_face(astronaut, 62, 240)
    both = [np.hstack([frames[i], frames[i + 12][:, ::-1]]) for i in range(50)]
    write_clip(folder / "two_people.mp4", both, options={"crf": "12"})
    early, late = np.zeros((2, 32_000), np.float32)
    early[4000:19_200], late[20_800:] = babble[8000:23_200], babble[8000:19_200]
    soundfile.write(folder / "early.wav", early, 16_000)
    soundfile.write(folder / "second.wav", late, 16_000)
    dub(folder / "two_people.mp4", None, folder / "dialogue.mp4", voices=[Voice(0, speech_from_samples(babble[:32_000], 16_000)),
                                                                          Voice(1, speech_from_samples(0 * early, 16_000))])
    box = {"bbox": [0, 0, 240, 240], "speaker_id": 1, "is_speaking": True}
    (folder / "speakers.json").write_text(json.dumps({"frames": [{"speakers": [box], "bypass": i >= 25} for i in range(50)]}))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder outside the host, as extra_model_paths.yaml names it: a small LipSyncNet, a Wav2Lip and a small MuseTalk with
    random weights, a file of tensors that no generator knows, and a text."""
    folder = tmp_path_factory.mktemp("other disk")
    (folder / "lipsync").mkdir()
    torch.manual_seed(3)
    network = build(preset("tiny", size=64))
    for parameter in network.parameters():
        if not parameter.detach().any():                              # layers that begin as zero would leave the picture as it is
            torch.nn.init.normal_(parameter, std=0.05)
    save(network, folder / "lipsync" / "small network.safetensors", {"note": "random weights"})
    save_as_trained(random_wav2lip(), folder / "lipsync" / "random_wav2lip.pth")
    write_musetalk(folder / "lipsync" / "musetalk", told_by_tensors=True)
    save_file({"some.weight": torch.zeros(2, 3)}, folder / "lipsync" / "unknown.safetensors")
    (folder / "lipsync" / "readme.txt").write_text("not a model")
    return folder


def start(host: Host, inputs: Path, models: Path, base: Path) -> Server:
    (base / "models" / "upscale_models").mkdir(parents=True)
    (base / "models" / "lipsync").mkdir()
    (base / "models" / "facerestore_models").mkdir()
    write_restorer(host.python, base / "models" / "facerestore_models" / "RestoreFormer small.pth")
    (base / "models" / "lipsync" / "broken.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00no json")
    write_upscaler(base / "models" / "upscale_models" / "RealESRGAN_x4plus.safetensors")      # the name that the workflow has
    shutil.copytree(inputs, base / "input")
    return Server(host, base, models)


@pytest.fixture(scope="session")
def server(host: Host, inputs: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ComfyUI, started once for all tests, with this pack only."""
    running = start(host, inputs, models, tmp_path_factory.mktemp("comfyui") / "base")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def fresh_server(host: Host, inputs: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another one, for a module that measures memory: what earlier prompts left in the heap would hide growth."""
    running = start(host, inputs, models, tmp_path_factory.mktemp("comfyui") / "base")
    yield running
    running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failing test shows the last of what the host said."""
    report = yield
    running = getattr(item, "funcargs", {}).get("server") or getattr(item, "funcargs", {}).get("fresh_server")
    if report.failed and running is not None:
        log = re.sub(r"\x1b\[\d+m", "", running.log.read_text(errors="replace"))
        report.sections.append(("the end of ComfyUI's log", log[-3000:]))
    return report
