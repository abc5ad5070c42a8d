"""A course -> the half-precision safetensors file that ships, with the code of whose mouth it shows."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...generators.morph.interior_model import InteriorNet


def mixed_code(codes: torch.Tensor, who: list[str], recipe: str) -> torch.Tensor:
    """`recipe` is NAME, or weights and names such as '0.6*NAME+0.4*OTHER'. Raises `ValueError` on a name that nobody has."""
    total = torch.zeros_like(codes[0])
    for part in recipe.split("+"):
        match = re.fullmatch(r"(?:([\d.]+)\*)?(.+)", part.strip())
        weight, name = float(match[1] or 1), match[2]
        if name not in who:
            raise ValueError(f"nobody in the course is called {name!r}: {', '.join(who)}")
        total += weight * codes[who.index(name)]
    return total


def network_of(course: Path, recipe: str) -> InteriorNet:
    """The network of a course file with the code of a person or a mixture as its own."""
    stored = torch.load(course, map_location="cpu", weights_only=True)
    state = stored["course"]
    network = InteriorNet()
    network.load_state_dict({key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")})
    network.code.copy_(mixed_code(state["codes.weight"], stored["who"], recipe))
    return network.eval().requires_grad_(False)


def export(network: InteriorNet, file: Path, metadata: dict[str, str]) -> None:
    """Halve the precision, write `file` atomically."""
    state = {key: value.detach().to(torch.float16).contiguous() for key, value in network.state_dict().items()}
    partial = file.with_name(file.name + ".partial")
    save_file(state, partial, metadata=metadata)
    partial.replace(file)
