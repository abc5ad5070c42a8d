"""The pieces of graph that several tests share; what a piece leaves out has the node's own default."""

from __future__ import annotations

from typing import Any, NamedTuple

from host.graph import Graph, Node


class Stages(NamedTuple):
    detect: Node
    generate: Node
    blend: Node


MORPH = "morph (built in)"


def four_stages(graph: Graph, images: Any, audio: Any, fps: Any = 25.0, generator: str = MORPH) -> Stages:
    """Detect & Crop Faces, Load Generator, Generate Lip Sync, Blend Back over a batch of pictures."""
    loaded = graph.add("OpenLipSyncLoadGenerator", name=generator)
    found = graph.add("OpenLipSyncDetectFaces", images=images, fps=fps)
    generated = graph.add("OpenLipSyncGenerate", generator=loaded, faces=found, audio=audio)
    return Stages(found, generated, graph.add("OpenLipSyncBlend", images=images, faces=generated))


def dub(graph: Graph, video: Any, audio: Any, generator: str = MORPH, **options: Any) -> Node:
    """Load Generator and Dub Video."""
    loaded = graph.add("OpenLipSyncLoadGenerator", name=generator)
    return graph.add("OpenLipSyncDubVideo", video=video, audio=audio, generator=loaded, **options)


def repeated_photo(graph: Graph, frames: int) -> Node:
    """A batch that no file backs: the portrait, `frames` times."""
    return graph.add("RepeatImageBatch", image=graph.add("LoadImage", image="photo.jpg"), amount=frames)
