"""What an unknown file of tensors is most like, and where it first differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .architectures import ARCHITECTURES, Architecture, Shapes

LIKE = 0.1
"""Below this likeness nothing is worth naming."""
NAMED = 3
"""Differences that a sentence can hold."""


@dataclass(frozen=True)
class Nearest:
    """The most similar architecture, in its most similar variant."""

    architecture: Architecture
    likeness: float
    """0..1: shared names, and shared names with the same shape, over twice the names of both."""
    alike: int
    """Tensors with the same name and shape,"""
    expected: int
    """of this many."""
    differences: tuple[str, ...]
    """In the network's own order, what it should have; then what it does not know."""


def nearest(shapes: Shapes, architectures: Iterable[Architecture] = ARCHITECTURES) -> Nearest:
    """The architecture that these tensors are most like."""
    return max((_compare(shapes, architecture, expected) for architecture in architectures for expected in architecture.expected()),
               key=lambda found: found.likeness)


def describe_unknown(shapes: Shapes) -> str:
    """Words for an error: `a checkpoint of a network ...`, without a full stop."""
    found = nearest(shapes)
    if found.likeness < LIKE or not found.differences:
        first = ", ".join(list(shapes)[:3])
        return f"a checkpoint of a network that this version does not know (it begins with {first})"
    more = len(found.differences) - NAMED
    rest = f", and {more} more" if more > 0 else ""
    return (f"a checkpoint of a network that this version does not know; {found.architecture.title} is nearest "
            f"({found.alike} of {found.expected} tensors are alike), but {', '.join(found.differences[:NAMED])}{rest}")


def _compare(shapes: Shapes, architecture: Architecture, expected: Shapes) -> Nearest:
    names = expected.keys() & shapes.keys()
    alike = sum(tuple(shapes[name]) == expected[name] for name in names)
    likeness = (len(names) + alike) / (2 * len(expected.keys() | shapes.keys()))
    differences = [f"{name} is {_size(shapes[name])} instead of {_size(shape)}" if name in shapes else f"{name} is missing"
                   for name, shape in expected.items() if name not in shapes or tuple(shapes[name]) != shape]
    differences += [f"{name} is none of its tensors" for name in shapes if name not in expected]
    return Nearest(architecture, likeness, alike, len(expected), tuple(differences))


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
