"""Interlaced video: told, kept, or made whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving_face

from lipsync_core import DubOptions, Encoding, Hooks, dub
from lipsync_core.media import VideoSource, longer


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """MPEG-2 as television has it: odd lines from a moment later, when the face has moved on by 12 pixels."""
    file = tmp_path_factory.mktemp("interlaced") / "clip.ts"
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "b": "8M"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for number, picture in enumerate(moving_face(astronaut, 16)):
            woven = picture.copy()
            woven[1::2] = np.roll(picture, 12, 1)[1::2]
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph = av.filter.Graph()
            graph.link_nodes(graph.add_buffer(width=320, height=320, format=frame.format, time_base=frame.time_base),
                             graph.add("setfield", "tff"), graph.add("buffersink")).configure()
            graph.push(frame)
            out.mux(stream.encode(graph.pull()))
        out.mux(stream.encode(None))
    return file


def combs(frame: av.VideoFrame) -> float:
    """How much each line differs from those above and below."""
    picture = frame.to_ndarray(format="gray").astype(float)
    return float(np.abs(picture[1:-1] - (picture[:-2] + picture[2:]) / 2).mean())


def test_frames_are_made_whole_at_their_own_times(interlaced: Path, face_clip: Path) -> None:
    plain, whole = VideoSource(interlaced), VideoSource(interlaced, deinterlace=True)
    assert plain.info.interlaced and not VideoSource(face_clip).info.interlaced
    before, after = list(plain.frames()), list(whole.frames())
    assert [(item.pts, item.index) for item in before] == [(item.pts, item.index) for item in after] and len(after) == 16
    assert all(combs(b.frame) < 0.4 * combs(a.frame) for a, b in zip(before, after))
    progressive = zip(VideoSource(face_clip).frames(), VideoSource(face_clip, deinterlace=True).frames(), strict=True)
    assert all(np.array_equal(a.frame.to_ndarray(), b.frame.to_ndarray()) and a.pts == b.pts for a, b in progressive)
    for how in ("bounce", "hold"):
        assert all(combs(item.frame) < 20 for item in longer(interlaced, how, 1.0, deinterlace=True).frames())


@pytest.mark.slow
def test_it_is_said_and_mended_on_request(interlaced: Path, babble_file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for wanted in (False, True):
        said.clear()
        options = DubOptions(deinterlace=wanted, encoding=Encoding(preset="ultrafast"))
        dub(interlaced, babble_file, tmp_path / f"{wanted}.mp4", options, hooks=Hooks(warn=said.append))
        assert any("interlaced" in sentence for sentence in said) == (not wanted)
    first, second = (next(VideoSource(tmp_path / f"{wanted}.mp4").frames()).frame for wanted in (False, True))
    assert combs(second) < 0.5 * combs(first)
