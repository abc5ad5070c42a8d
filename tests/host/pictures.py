"""Pictures out of a graph without losses: PNG has 8 bits, and equal floats make equal files."""

from __future__ import annotations

from typing import Any

import numpy as np
from host.comfy import Run, Server
from host.graph import Graph, Node
from PIL import Image


def save(graph: Graph, images: Any) -> Node:
    return graph.add("SaveImage", images=images)


def pictures(server: Server, run: Run, node: Node) -> np.ndarray:
    """uint8 (pictures, height, width, channels), as the node saved them."""
    return np.stack([np.array(Image.open(file)) for file in server.files(run, node.id)])
