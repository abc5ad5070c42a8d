"""Wav2Lip from files: whatever container they come in, recognised by their tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from ...errors import CheckpointError
from ..containers import read_tensors, strip_prefixes
from .network import VARIANTS, Wav2Lip

COUNTER = "num_batches_tracked"
"""Only training needs it, and some conversions leave it out."""


@lru_cache(maxsize=len(VARIANTS))
def expected_shapes(variant: type[Wav2Lip]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a variant's tensors, in its own order."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in variant().state_dict().items()}


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> type[Wav2Lip] | None:
    """Whose tensors these are, all of them and no others; None = nobody's here (the sync expert, variants of other sizes)."""
    given = {name: tuple(shape) for name, shape in strip_prefixes(shapes).items() if not name.endswith(COUNTER)}
    for variant in VARIANTS:
        if given == {name: shape for name, shape in expected_shapes(variant).items() if not name.endswith(COUNTER)}:
            return variant
    return None


def detect(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether tensors of these names and shapes are a Wav2Lip, of 96 or 288 pixels."""
    return variant_of(shapes) is not None


def load(path: str | Path, dtype: torch.dtype = torch.float32, *, fuse: bool = True) -> Wav2Lip:
    """The network of a file, for inference, on the CPU, channels last; with `fuse` batch norm is folded into the convolutions.

    Raises `CheckpointError` for a file that can't be read, or is of another network.
    """
    state = read_tensors(path)
    variant = variant_of({name: tuple(value.shape) for name, value in state.items()})
    if variant is None:
        raise CheckpointError(f"{path} is no Wav2Lip of 96 or 288 pixels (it begins with {', '.join(list(state)[:3])}): use wav2lip.pth, "
                              f"wav2lip_gan.pth, or a file of the same tensors.")
    with torch.device("meta"):
        network = variant()
    # Copied, because the file's own memory would keep it open; in single precision, which batch norm is folded in.
    network.load_state_dict({name: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
                             for name, value in state.items()}, assign=True)
    network = network.eval().requires_grad_(False)
    if fuse:
        network.fuse()
    return network.to(dtype=dtype, memory_format=torch.channels_last)
