"""`morph`: moves the source's own lips and jaw to the speech, at the source's own resolution."""

from .articulation_bands import BandArticulation
from .generator import MorphGenerator

__all__ = ["BandArticulation", "MorphGenerator"]
