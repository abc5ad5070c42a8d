"""Blend a generated face back into its frame: region masks and colour match."""

from .masks import lower_face_box, lower_face_mask
from .paste import match_colour

__all__ = ["lower_face_box", "lower_face_mask", "match_colour"]
