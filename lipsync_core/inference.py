"""Running the small networks that ship with the package: where their weights are, and on how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from .errors import CheckpointError

WEIGHTS = Path(__file__).resolve().parent / "weights"
Network = TypeVar("Network", bound=nn.Module)


def load_network(network: Network, file: Path, device: str = "cpu") -> Network:
    """`network` in eval mode with the weights of a safetensors file, in float32, channels last; raises `CheckpointError`."""
    try:
        state = load_file(file, device="cpu")
        network.load_state_dict({key: value.float() for key, value in state.items()})
    except FileNotFoundError as error:
        raise CheckpointError(f"{file.name} is missing from {file.parent}: install the package again.") from error
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{file} does not hold the weights of {type(network).__name__}: install the package again.") from error
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


@contextmanager
def inference() -> Iterator[None]:
    """Inference on one CPU thread: the networks are so small that more hardly help, and on a machine that is busy otherwise
    (an encoder, a second job) threads that wait for each other make them 50 times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
