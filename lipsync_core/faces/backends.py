"""Face models by name; each is imported when it is asked for."""

from __future__ import annotations

from ..errors import FaceError
from .backend import FaceBackend


def create_backend(name: str = "builtin", device: str = "cpu") -> FaceBackend:
    """'builtin' or 'face-alignment' (S3FD and 2DFAN-4 of that package, downloaded by it). Raises `FaceError`."""
    if name == "builtin":
        from .builtin import BuiltinBackend

        return BuiltinBackend(device)
    if name == "face-alignment":
        from .face_alignment_backend import FaceAlignmentBackend

        return FaceAlignmentBackend(device)
    raise FaceError(f"There is no face backend {name!r}: choose 'builtin' or 'face-alignment'.")
