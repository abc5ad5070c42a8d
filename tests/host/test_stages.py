"""The four stage nodes on batches of pictures, wherever those came from."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from host.comfy import Server
from host.graph import Graph, Node
from host.graphs import dub, four_stages, repeated_photo
from host.media import probe
from host.pictures import pictures, save


def test_outside_the_mask_nothing_changes_and_inside_it_does(server: Server) -> None:
    graph = Graph()
    clip = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="clip.mp4"))
    stages = four_stages(graph, clip, graph.add("LoadAudio", audio="speech.wav"), clip[2])
    touched = graph.add("MaskToImage", mask=graph.add("ThresholdMask", mask=stages.blend[1], value=0.0))         # any weight at all
    before, after, mask = save(graph, clip), save(graph, stages.blend), save(graph, touched)
    run = server.run(graph)
    a, b, m = (pictures(server, run, node) for node in (before, after, mask))
    assert a.shape == b.shape == m.shape == (50, 320, 320, 3)
    outside = m[..., 0] == 0
    assert np.array_equal(a[outside], b[outside])
    assert outside.mean() > 0.5 and 0.005 < 1 - outside.mean()
    assert np.abs(a[~outside].astype(int) - b[~outside]).mean() > 1
    for node in (stages.detect, stages.generate, stages.blend):
        assert run.progress[node.id][-1][0] == run.progress[node.id][-1][1] > 1, node


def test_dub_video_gives_the_same_pixels(server: Server) -> None:
    """Over pictures in memory there is no encoding in between, so they are equal and not only alike."""
    graph = Graph()
    clip = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="clip.mp4"))
    speech = graph.add("LoadAudio", audio="speech.wav")
    by_stages = save(graph, four_stages(graph, clip, speech, clip[2]).blend)
    video = graph.add("CreateVideo", images=clip, fps=clip[2])
    in_one = save(graph, graph.add("GetVideoComponents", video=dub(graph, video, speech)))
    run = server.run(graph)
    assert np.array_equal(pictures(server, run, by_stages), pictures(server, run, in_one))


def test_inputs_are_not_modified(server: Server) -> None:
    """The host keeps outputs and hands them to everyone: the source must look the same after the stages as before."""
    def begin() -> tuple[Graph, Node, Node]:
        graph = Graph()
        clip = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="silent.mp4"))
        return graph, clip, graph.add("LoadAudio", audio="speech.wav")

    graph, clip, _ = begin()
    first = save(graph, clip)
    before = pictures(server, server.run(graph), first)
    graph, clip, speech = begin()
    save(graph, four_stages(graph, clip, speech).blend)
    server.run(graph)
    graph, clip, _ = begin()
    again = graph.add("SaveImage", images=clip, filename_prefix="again")
    run = server.run(graph)
    assert clip.id in run.cached
    assert np.array_equal(pictures(server, run, again), before)


def test_a_graph_that_another_pack_would_make(server: Server) -> None:
    """Plain pictures of no one, scaled: nothing assumes a file, and with no face every frame passes through untouched."""
    graph = Graph()
    plain = graph.add("EmptyImage", width=200, height=150, batch_size=25, color=0x4080C0)
    scaled = graph.add("ImageScale", image=plain, upscale_method="lanczos", width=322, height=240, crop="disabled")
    speech = graph.add("EmptyAudio", duration=1.0)
    stages = four_stages(graph, scaled, speech)
    before, after = save(graph, scaled), save(graph, stages.blend)
    film = graph.add("SaveVideo", video=graph.add("CreateVideo", images=stages.blend, fps=25.0, audio=speech))
    run = server.run(graph)
    assert np.array_equal(pictures(server, run, before), pictures(server, run, after))
    assert probe(server.files(run, film.id)[0]).frames == 25


def test_pictures_with_alpha(server: Server) -> None:
    graph = Graph()
    photo = graph.add("LoadImage", image="photo.jpg")
    alpha = graph.add("SolidMask", value=0.25, width=320, height=320)
    batch = graph.add("RepeatImageBatch", image=graph.add("JoinImageWithAlpha", image=photo, alpha=alpha), amount=25)
    stages = four_stages(graph, batch, graph.add("LoadAudio", audio="speech.wav"))
    before, after = save(graph, batch), save(graph, stages.blend)
    run = server.run(graph)
    a, b = pictures(server, run, before), pictures(server, run, after)
    assert a.shape == b.shape == (25, 320, 320, 4)                    # what came with alpha goes with alpha
    assert np.array_equal(a[..., 3], b[..., 3])
    assert not np.array_equal(a[..., :3], b[..., :3])


@pytest.mark.parametrize(("width", "height"), [(319, 317), (401, 299), (64, 48)])
def test_odd_and_small_sizes(server: Server, width: int, height: int) -> None:
    graph = Graph()
    batch = graph.add("ImageScale", image=repeated_photo(graph, 13), upscale_method="bicubic", width=width, height=height, crop="center")
    stages = four_stages(graph, batch, graph.add("LoadAudio", audio="speech.wav"))
    before, after = save(graph, batch), save(graph, stages.blend)
    run = server.run(graph)
    a, b = pictures(server, run, before), pictures(server, run, after)
    assert a.shape == b.shape == (13, height, width, 3)
    assert np.array_equal(a[:, : height // 4], b[:, : height // 4])


def test_one_picture(server: Server) -> None:
    graph = Graph()
    photo = graph.add("LoadImage", image="photo.jpg")
    after = save(graph, four_stages(graph, photo, graph.add("LoadAudio", audio="speech.wav")).blend)
    assert pictures(server, server.run(graph), after).shape == (1, 320, 320, 3)


def test_crops_mouths_and_region_are_for_looking(server: Server) -> None:
    graph = Graph()
    stages = four_stages(graph, repeated_photo(graph, 13), graph.add("LoadAudio", audio="speech.wav"))
    crops, mouths = save(graph, stages.detect[1]), save(graph, stages.generate[1])
    region = save(graph, graph.add("MaskToImage", mask=stages.detect[2]))
    run = server.run(graph)
    assert len(pictures(server, run, crops)) == len(pictures(server, run, mouths)) == 13
    shown = pictures(server, run, region)
    assert shown.shape == (13, 320, 320, 3)
    assert 0.005 < (shown[..., 0] > 127).mean() < 0.5


def test_preview_faces_takes_pictures_and_videos(server: Server) -> None:
    graph = Graph()
    video = graph.add("LoadVideo", file="clip.mp4")
    clip = graph.add("GetVideoComponents", video=video)
    faces = graph.add("OpenLipSyncDetectFaces", images=clip, fps=clip[2])
    small = {"faces": faces, "count": 4, "longest_side": 200}
    shown = [save(graph, graph.add("OpenLipSyncPreviewFaces", source=source, **small)) for source in (clip, video)]
    run = server.run(graph)
    for node in shown:
        assert pictures(server, run, node).shape == (4, 200, 200, 3)


def test_audio_is_resampled_cut_and_picked(server: Server) -> None:
    """Left channel only, 48 kHz, half a second from the middle; and the untouched original beside it."""
    graph = Graph()
    node = graph.add("OpenLipSyncLoadAudio", file="left only.flac", start=0.5, duration=0.5, channel="left")
    speech, original = graph.add("SaveAudio", audio=node), graph.add("SaveAudio", audio=node[1])
    run = server.run(graph)
    heard, rate = soundfile.read(server.files(run, speech.id)[0])
    full, full_rate = soundfile.read(server.files(run, original.id)[0])
    assert (rate, heard.ndim, len(heard)) == (16_000, 1, 8000)
    assert (full_rate, full.shape) == (48_000, (24_000, 2))
    assert np.abs(full[:, 1]).max() < 1e-3 < 0.01 < np.abs(heard).max()
