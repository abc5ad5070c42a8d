"""`morph`: moves the source's own lips and jaw to the speech, at the source's own resolution."""

from .generator import MorphGenerator

__all__ = ["MorphGenerator"]
