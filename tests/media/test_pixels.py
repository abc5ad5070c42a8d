"""Only what is changed changes: differences added to a region leave every other sample bit for bit."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving_face, write_clip

from lipsync_core.media import Encoding, FrameView, VideoSource, VideoWriter, own_frame
from lipsync_core.media.layouts import layout_of, nearest_layout

FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "nv12", "p010le", "rgb24",
           "bgr0", "rgba", "gbrp", "gbrp10le", "rgb48le", "gray", "yuv411p"]


def frame_of(picture: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pix_fmt)


def all_samples(frame: av.VideoFrame) -> list[np.ndarray]:
    view = FrameView(frame)
    return [view.samples(i).copy() for i in range(len(view.layout.components))]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_region_reads_as_swscale_reads_it(astronaut: np.ndarray, pix_fmt: str) -> None:
    frame = frame_of(astronaut[:201, :303], pix_fmt)
    truth = frame.to_ndarray(format="rgb24").astype(np.float32)
    ours = np.clip(FrameView(frame).region((40, 30, 140, 130)), 0, 255)
    # swscale takes untagged pictures as BT.601 and replicates chroma, we interpolate it.
    assert np.abs(ours - truth[30:130, 40:140]).mean() < 3.0


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_change_appears_and_stays_inside(astronaut: np.ndarray, pix_fmt: str) -> None:
    frame = frame_of(astronaut[:200, :302] // 2 + 60, pix_fmt)
    before, view = all_samples(frame), FrameView(frame)
    box, change = (41, 33, 121, 113), np.zeros((80, 80, 3), np.float32)
    change[20:60, 20:60] = 24
    old = view.region(box)
    view.add(box, change)
    assert np.abs(view.region(box) - old - change)[26:54, 26:54].max() < 1.6
    for i, (mine, then) in enumerate(zip(all_samples(frame), before)):
        sx, sy = (view.layout.sx, view.layout.sy) if i and view.layout.kind == "yuv" else (1, 1)
        outside = np.ones(then.shape, bool)
        # A chroma sample that stands for a changed pixel and one beside it may change; none further out may.
        outside[(33 + 20) // sy - 1:-(-(33 + 60) // sy) + 1, (41 + 20) // sx - 1:-(-(41 + 60) // sx) + 1] = False
        assert np.array_equal(mine[outside], then[outside])


def test_no_difference_changes_no_sample(astronaut: np.ndarray) -> None:
    frame = frame_of(astronaut, "yuv420p10le")
    before = all_samples(frame)
    FrameView(frame).add((3, 5, 300, 411), np.zeros((406, 297, 3), np.float32))
    assert all(np.array_equal(a, b) for a, b in zip(all_samples(frame), before))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotated_pictures_are_addressed_as_they_are_seen(astronaut: np.ndarray, rotation: int) -> None:
    stored = np.rot90(astronaut[:200, :302], -rotation // 90)
    view = FrameView(frame_of(stored, "rgb24"), rotation)
    assert (view.width, view.height) == (302, 200)
    seen = np.rot90(stored, rotation // 90)
    assert np.array_equal(view.region((20, 30, 90, 75)), seen[30:75, 20:90])
    change = np.zeros((45, 70, 3), np.float32)
    change[5, 7] = 40
    view.add((20, 30, 90, 75), change)
    assert np.array_equal(view.region((20, 30, 90, 75)) != seen[30:75, 20:90], change > 0)
    shift = np.array([[1.0, 0, -20], [0, 1.0, -30]])
    assert np.abs(view.warp(shift, (70, 45)).astype(float) - view.region((20, 30, 90, 75))).max() <= 1


def test_thumbnail_is_the_whole_picture_small(astronaut: np.ndarray) -> None:
    small = FrameView(frame_of(astronaut[:, :400], "yuv444p")).thumbnail(128)
    assert small.shape == (128, 100, 3) and small.dtype == np.uint8
    truth = astronaut[:, :400].reshape(128, 4, 100, 4, 3).mean((1, 3))
    assert np.abs(small - truth).mean() < 4


def test_odd_formats_are_brought_to_one_with_a_layout() -> None:
    assert layout_of("yuyv422") is None and nearest_layout("yuyv422", False, 8, False) == "yuv422p"
    assert nearest_layout("pal8", False, 8, True) == "rgb24"
    assert nearest_layout("yuv420p10be", False, 10, False) == "yuv420p10le"


@pytest.mark.parametrize(("pix_fmt", "suffix", "encoding"), [
    ("yuv420p", ".mp4", Encoding(lossless=True)), ("yuv420p", ".mkv", Encoding("ffv1")),
    ("yuv420p10le", ".mkv", Encoding("ffv1")), ("yuv444p", ".mkv", Encoding("ffv1")),
    ("yuv444p", ".mp4", Encoding(lossless=True)), ("rgb24", ".mkv", Encoding(lossless=True)), ("rgb24", ".mkv", Encoding("ffv1"))])
def test_lossless_output_equals_the_source_outside_the_change(tmp_path: Path, astronaut: np.ndarray, pix_fmt: str, suffix: str,
                                                              encoding: Encoding) -> None:
    codec = "png" if pix_fmt == "rgb24" else "libx264"
    clip = write_clip(tmp_path / ("in.mov" if codec == "png" else "in.mkv"), moving_face(astronaut, 5, 160), pix_fmt=pix_fmt, codec=codec,
                      options={} if codec == "png" else {"qp": "0"})
    source, target, box = VideoSource(clip), tmp_path / f"out{suffix}", (40, 80, 120, 140)
    assert source.info.pix_fmt == pix_fmt
    change = np.zeros((60, 80, 3), np.float32)
    change[10:50, 10:70] = 15
    truth = [all_samples(item.frame) for item in source.frames()]
    with VideoWriter(target, source.info, encoding) as writer:
        for item in source.frames():
            view = FrameView(own_frame(item.frame))
            view.add(box, change)
            writer.write(view.frame, item.pts)
    written = [item.frame.reformat(format=pix_fmt) for item in VideoSource(target).frames()]
    assert len(written) == 5
    for frame, then in zip(written, truth):
        for i, (mine, theirs) in enumerate(zip(all_samples(frame), then)):
            sx = 2 if i and "420" in pix_fmt else 1
            outside = np.ones(theirs.shape, bool)
            outside[80 // sx:140 // sx, 40 // sx:120 // sx] = False
            assert np.array_equal(mine[outside], theirs[outside])
            assert i or not np.array_equal(mine, theirs)
