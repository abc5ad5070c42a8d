"""Somebody who has just installed the pack: an empty ComfyUI, a laptop's screen, files of their own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
from host.comfy import Server
from host.setup_host import ensure
from web.conftest import SECONDS, write_two_people
from web.editor import MODES, Editor

from lipsync_core.demo import SPEECH, make_clip

LAPTOP = (1366, 768)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ComfyUI with nothing in its input folder."""
    running = Server(ensure(print), tmp_path_factory.mktemp("newcomer") / "base", tmp_path_factory.mktemp("no models"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two people in a clip, and a recording, somewhere on the disk."""
    folder = tmp_path_factory.mktemp("holiday pictures")
    make_clip(folder / "one.mp4", SECONDS, 480)
    write_two_people(folder / "one.mp4", folder / "my clip.mp4")
    speech, rate = soundfile.read(SPEECH)
    soundfile.write(folder / "my speech.wav", speech[:round(SECONDS * rate)], rate)
    return folder / "my clip.mp4", folder / "my speech.wav"


@pytest.fixture(autouse=True)
def nothing_left(empty: Server) -> None:
    """As it was before anybody came: no files, no results in memory."""
    empty.post("/free", {"free_memory": True})
    for folder in ("input", "output"):
        shutil.rmtree(empty.base / folder)
        (empty.base / folder).mkdir()


@MODES
def test_the_first_try_needs_nothing_but_run(empty: Server, newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern, server=empty, screen=LAPTOP)
    editor.open("first_try")
    assert editor.trouble.count() == 0, editor.trouble.inner_text()
    editor.run()
    assert editor.trouble.count() == 0, editor.trouble.inner_text()
    video = editor.output_video()
    assert (video["width"], video["height"]) == (720, 720) and video["seconds"] > 5
    editor.seek(1.72)
    editor.picture("first-try")
    assert editor.clicks == 3                                         # the pack, the template, Run


@MODES
def test_from_an_empty_comfyui_to_an_own_clip_in_under_ten_clicks(empty: Server, own_files: tuple[Path, Path], modern: bool,
                                                                  newcomer: Callable[..., Editor]) -> None:
    clip, speech = own_files
    editor = newcomer(modern, server=empty, screen=LAPTOP)
    editor.picture("newcomer-1-start")
    editor.open("quick_dub")
    assert editor.trouble.count() == 0, editor.trouble.inner_text()   # no file is missing, none was chosen yet
    editor.picture("newcomer-2-template")
    editor.upload("Load Video: the face", clip)
    editor.upload("Load Audio: the speech", speech)
    editor.picture("newcomer-3-files")
    editor.press("Dub Video", "choose face…")
    picker = editor.page.get_by_role("dialog", name="Choose a face")
    right = picker.get_by_role("button", name=re.compile("^Face 1"))
    right.wait_for()
    box = picker.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= LAPTOP[0] and 0 <= box["y"] and box["y"] + box["height"] <= LAPTOP[1]
    editor.picture("newcomer-4-faces")
    editor.click(right)
    editor.run()
    assert editor.trouble.count() == 0, editor.trouble.inner_text()
    assert editor.clicks == 9                                         # as README says
    editor.seek(1.72)
    left, right = (editor.difference(*part) for part in ((0.15, 0.47, 0.35, 0.69), (0.65, 0.47, 0.85, 0.69)))
    assert right > 3 * left and right > 3, (left, right)              # the face that was clicked, and not the other
    editor.picture("newcomer-5-dubbed")
