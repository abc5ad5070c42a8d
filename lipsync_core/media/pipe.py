"""A result that is sent on while it is made: a fragmented MP4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av

from ..errors import OutputError
from ..types import Marking, SoundBlocks
from .encoding import Encoding
from .source import VideoInfo
from .writer import VideoWriter

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+delay_moov+default_base_moof+skip_trailer", "frag_duration": "1000000"}
"""A piece at each key frame, and every second (microseconds) at least; `delay_moov` lets the header say where sound and picture begin;
an index at the end (`mfra`) would have to be the last box, which the mark is."""


class _Sink:
    """What FFmpeg writes to: it can't go back."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send, self._broken = send, False

    def write(self, data: bytes) -> int:
        if not self._broken:                                          # a container that is closed afterwards still wants to write its end
            self._broken = True
            self._send(bytes(data))
            self._broken = False
        return len(data)


class PipeWriter(VideoWriter):
    """As `VideoWriter`, but the file goes piece by piece to `send`, which may raise to stop. Raises `OutputError`, also
    for a rotated picture where PyAV is older than 17."""

    def __init__(self, send: Callable[[bytes], None], info: VideoInfo, encoding: Encoding, *, audio: SoundBlocks | None = None,
                 mark: Marking | None = None, warn: Callable[[str], None] = lambda sentence: None) -> None:
        self._sink = _Sink(send)
        super().__init__(Path("stream.mp4"), info, encoding, audio=audio, mark=mark, warn=warn)
        if info.rotation and not self._rotated:
            self._discard()
            raise OutputError("A rotated video can't be streamed with this PyAV: install PyAV 17 or later (pip install -U av).")

    def _open(self) -> av.container.OutputContainer:
        return av.open(self._sink, mode="w", format="mp4", options=dict(FRAGMENTS))

    def _land(self) -> None:
        if self._mark is not None:
            self._sink.write(self._mark.end(self.target.suffix))
