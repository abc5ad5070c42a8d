"""Every file in `workflows/`, with media chosen, from the page's format to the file in the output folder."""

from __future__ import annotations

import numpy as np
import pytest
from host.comfy import Run, Server
from host.graph import load_workflow, prompt_of_workflow
from host.media import ABOVE, MOUTH, change, frames_of, halves, probe, tone_of
from host.setup_host import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
ENCODING = 3.0
"""Levels that H.264 may cost in the mean where nothing was dubbed: 2.1 when the host encodes pictures that came from H.264 (crf 23)."""


def run_file(server: Server, name: str) -> tuple[Run, dict[str, dict]]:
    workflow = load_workflow(REPOSITORY / "workflows" / f"{name}.json")
    prompt = prompt_of_workflow(workflow, server.info)
    return server.run(prompt), prompt


def nodes_of(prompt: dict[str, dict], class_type: str) -> list[str]:
    return [node for node, entry in prompt.items() if entry["class_type"] == class_type]


def saved(server: Server, run: Run, prompt: dict[str, dict]):
    (node,) = nodes_of(prompt, "SaveVideo")
    (file,) = server.files(run, node)
    return file


def expect_dubbed(server: Server, file) -> None:
    """Two seconds of the clip: its pictures but for the mouth, the speech for sound."""
    clip = server.base / "input" / "clip.mp4"
    result = probe(file)
    assert (result.width, result.height, result.frames) == (320, 320, 50)
    assert abs(result.audio_seconds - 2.0) < 0.15                     # AAC's blocks of 1,024 samples
    assert abs(tone_of(file) - 440) > 20                              # the speech, not the clip's own tone
    before, after = frames_of(clip), frames_of(file)
    assert change(before, after, ABOVE) < ENCODING
    assert change(before, after, MOUTH) > 2 * change(before, after, ABOVE)


def test_these_are_all_the_workflows() -> None:
    assert [file.stem for file in WORKFLOWS] == ["dialogue", "dub_and_upscale", "evaluate", "first_try", "four_stages",
                                                 "photo_to_talking_clip", "quick_dub", "two_speakers"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_host_with_only_this_pack_has_every_node(server: Server, file) -> None:
    prompt = prompt_of_workflow(load_workflow(file), server.info)
    assert any(entry["class_type"].startswith("OpenLipSync") for entry in prompt.values())


def test_quick_dub(server: Server) -> None:
    run, prompt = run_file(server, "quick_dub")
    expect_dubbed(server, saved(server, run, prompt))


def test_first_try_needs_no_files(server: Server) -> None:
    """Sample Clip gives what is dubbed, and nothing is connected to `generator`."""
    run, prompt = run_file(server, "first_try")
    assert not set(nodes_of(prompt, "LoadVideo") + nodes_of(prompt, "LoadAudio") + nodes_of(prompt, "OpenLipSyncLoadGenerator"))
    result = probe(saved(server, run, prompt))
    assert (result.width, result.height) == (720, 720) and result.frames > 100 and abs(result.audio_seconds - result.frames / 25) < 0.15
    (report,) = nodes_of(prompt, "PreviewAny")
    assert f"{result.frames} frames" in server.text(run, report) and " 0 dubbed" not in server.text(run, report)


def test_four_stages(server: Server) -> None:
    run, prompt = run_file(server, "four_stages")
    expect_dubbed(server, saved(server, run, prompt))
    for node in nodes_of(prompt, "PreviewImage"):                     # the face crops and the new mouths
        assert server.files(run, node)


def test_dub_and_upscale(server: Server) -> None:
    """The upscale model is a tiny random one under the name in the file; it doubles the size, and the next node halves it."""
    run, prompt = run_file(server, "dub_and_upscale")
    (node,) = nodes_of(prompt, "ImageUpscaleWithModel")
    assert node in run.executed
    result = probe(saved(server, run, prompt))
    assert (result.width, result.height, result.frames) == (320, 320, 50)
    assert abs(result.audio_seconds - 2.0) < 1.2                      # Create Video is given the whole speech


def test_photo_to_talking_clip(server: Server) -> None:
    run, prompt = run_file(server, "photo_to_talking_clip")
    file = saved(server, run, prompt)
    result = probe(file)
    assert result.frames == 75 and abs(result.audio_seconds - 3.0) < 0.15         # as long as the speech, of one picture
    pictures = frames_of(file)
    scale = result.height / 320
    mouth = tuple(slice(round(s.start * scale), round(s.stop * scale)) for s in MOUTH)
    above = tuple(slice(round(s.start * scale), round(s.stop * scale)) for s in ABOVE)
    moving = [np.abs(p.astype(int) - pictures[0])[mouth].mean() for p in pictures]
    still = [np.abs(p.astype(int) - pictures[0])[above].mean() for p in pictures]
    assert max(moving) > 2 and max(moving) > 3 * max(still)           # a photo that only moves its mouth


def test_evaluate(server: Server) -> None:
    run, prompt = run_file(server, "evaluate")
    (table,) = nodes_of(prompt, "PreviewAny")
    (plot,) = nodes_of(prompt, "PreviewImage")
    assert len(server.text(run, table).splitlines()) > 3
    assert server.files(run, plot)[0].stat().st_size > 2000


def test_two_speakers(server: Server) -> None:
    """Both mouths change (which moves when: test_voices.py); the sound is both."""
    run, prompt = run_file(server, "two_speakers")
    file = saved(server, run, prompt)
    assert probe(file).frames == 50
    left, right = halves(server.base / "input" / "two_people.mp4", file)
    assert left.mean() > ENCODING / 2 and right.mean() > ENCODING / 2


def test_dialogue(server: Server) -> None:
    """The clip's own sound is told apart: the left mouth goes with it, the right face is still."""
    run, prompt = run_file(server, "dialogue")
    file = saved(server, run, prompt)
    (report,) = nodes_of(prompt, "PreviewAny")
    assert "person 0" in server.text(run, report) and "person 1" not in server.text(run, report)
    left, right = halves(server.base / "input" / "dialogue.mp4", file)
    assert left.mean() > right.mean() + ENCODING / 2
