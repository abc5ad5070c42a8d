"""Dubbing as frames and sound come: one pass, a fixed look-ahead, memory that does not grow."""

from .dubber import LiveDubber, LiveFrame

__all__ = ["LiveDubber", "LiveFrame"]
