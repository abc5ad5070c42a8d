"""A clip that was looked at, for all that measure it."""

from __future__ import annotations

from dataclasses import dataclass

from ..media import VideoSource
from .container import Timing
from .curves import Curves
from .landmarks import Mouths, Person


@dataclass(frozen=True)
class Clip:
    """A clip that has been looked at: where it is, whose mouth, its curves."""

    source: VideoSource
    person: Person
    mouths: Mouths
    curves: Curves
    timing: Timing
