"""ComfyUI's page in a real browser; `make test-web` runs these tests, the plain suite leaves them alone: they need a host and Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from lipsync_core.demo import SPEECH, make_clip, portrait
from lipsync_core.media import Encoding, VideoSource, VideoWriter

if os.environ.get("OPENLIPSYNC_WEB_TESTS"):
    from host.comfy import Server
    from host.media import write_upscaler
    from host.setup_host import REPOSITORY, HostError, ensure
    from playwright.sync_api import Browser, sync_playwright
    from web.editor import Editor
else:
    collect_ignore_glob = ["*.py"]

CHROMIUM = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
SECONDS = 2.4


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where the screenshots go, for a person to look at: two of them are the README's."""
    folder = REPOSITORY / "build" / "web"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_two_people(clip: Path, target: Path) -> None:
    """The face of a clip twice, beside each other."""
    source = VideoSource(clip)
    info = replace(source.info, width=2 * source.info.width)
    with VideoWriter(target, info, Encoding(preset="ultrafast")) as writer:
        for item in source.frames():
            picture = item.frame.to_ndarray(format="rgb24")
            both = np.ascontiguousarray(np.hstack([picture, picture[:, ::-1]]))
            writer.write(av.VideoFrame.from_ndarray(both, format="rgb24").reformat(format=info.pix_fmt), item.pts)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ComfyUI with this pack only, and the files that the workflows name."""
    try:
        host = ensure(print)
    except HostError as error:
        pytest.exit(f"NO COMFYUI HERE: {error}", returncode=error.status)
    base = tmp_path_factory.mktemp("comfyui") / "base"
    upscalers = base / "models" / "upscale_models"
    upscalers.mkdir(parents=True)
    write_upscaler(upscalers / "RealESRGAN_x4plus.safetensors")
    folder = base / "input"
    folder.mkdir()
    make_clip(folder / "clip.mp4", SECONDS, 480)
    speech, rate = soundfile.read(SPEECH)
    soundfile.write(folder / "speech.wav", speech[:round(SECONDS * rate)], rate)
    write_two_people(folder / "clip.mp4", folder / "two_people.mp4")
    shutil.copyfile(folder / "two_people.mp4", folder / "dialogue.mp4")
    shutil.copyfile(folder / "speech.wav", folder / "second.wav")
    cv2.imwrite(str(folder / "photo.jpg"), cv2.cvtColor(portrait()[:300, 72:372], cv2.COLOR_RGB2BGR))
    running = Server(host, base, tmp_path_factory.mktemp("other disk"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.exit("NO BROWSER HERE: apt-get install chromium, or name one in CHROMIUM.", returncode=3)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def newcomer(server: Server, browser: Browser, pictures: Path) -> Iterator[Callable[..., Editor]]:
    """newcomer(modern=False): the page as somebody sees it who opens it for the first time, with the template browser open."""
    contexts, usual = [], server

    def open_page(modern: bool = False, server: Server = usual, screen: tuple[int, int] = (1600, 900),
                  fine: bool = False) -> Editor:
        for name, value in (("Comfy.TutorialCompleted", False), ("Comfy.VueNodes.Enabled", modern), ("Comfy.Minimap.Visible", False),
                            ("Comfy.Graph.CanvasInfo", False)):
            server.post(f"/settings/{name}", value)
        contexts.append(browser.new_context(viewport=dict(zip(("width", "height"), screen)), device_scale_factor=1 + fine))
        return Editor(contexts[-1].new_page(), f"http://{server.address}", pictures, modern)

    yield open_page
    for context in contexts:
        context.close()
