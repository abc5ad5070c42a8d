"""Blend a generated face back into its frame: region masks and colour match."""

from .blend import Blending, difference, region_of
from .masks import lower_face_box, lower_face_mask
from .paste import match_colour

__all__ = ["Blending", "difference", "lower_face_box", "lower_face_mask", "match_colour", "region_of"]
