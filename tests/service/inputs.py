"""Files as clients send them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import soundfile


def remuxed(file: Path, target: Path, front: bool) -> bytes:
    """The picture of a file in an MP4 whose `moov` stands in front, or at the end."""
    with av.open(str(file)) as source, av.open(str(target), "w", options={"movflags": "faststart"} if front else {}) as result:
        copy = result.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                result.mux(packet)
    return target.read_bytes()


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
