"""OpenLipSync: dub a video so that a face says new speech, and nothing else in the picture changes.

    from lipsync_core import dub
    report = dub("clip.mp4", "speech.wav", "dubbed.mp4", strength=1.1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["DubOptions", "DubReport", "Encoding", "Hooks", "LipSyncError", "LiveDubber", "Soundtrack", "Voice", "dub"]

if TYPE_CHECKING:
    from .dubbing import DubReport, dub
    from .errors import LipSyncError
    from .live import LiveDubber
    from .media import Encoding
    from .options import DubOptions, Soundtrack, Voice
    from .types import Hooks

_HOMES = {"dub": "dubbing", "DubOptions": "options", "DubReport": "dubbing", "Soundtrack": "options", "Voice": "options",
          "Encoding": "media", "Hooks": "types", "LipSyncError": "errors", "LiveDubber": "live"}


def __getattr__(name: str) -> Any:
    # torch, OpenCV and PyAV are loaded when they are first needed: importing the package costs nothing.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
