"""Clips made with PyAV alone, so that tests of our reader and writer have an outside witness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def write_clip(file: Path, pictures: list[np.ndarray], *, pix_fmt: str = "yuv420p", codec: str = "libx264", rate: Fraction = Fraction(25),
               times: list[Fraction] | None = None, base: Fraction | None = None, rotation: int = 0,
               options: dict | None = None) -> Path:
    """A video of RGB pictures."""
    base = base or 1 / rate
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pix_fmt)
            frame.pts = round((times[i] if times else i / rate) / base)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def moving_face(picture: np.ndarray, frames: int, size: int = 320) -> list[np.ndarray]:
    """A slow pan and zoom over the portrait."""
    result = []
    for i in range(frames):
        zoom = size / 260 * (1 + 0.03 * np.sin(0.3 * i))
        x, y = 222 + 4 * np.sin(0.2 * i), 128 + 3 * np.cos(0.25 * i)
        matrix = np.array([[zoom, 0, size / 2 - zoom * x], [0, zoom, size / 2 - zoom * y]])
        result.append(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return result


def sounded(pictures: Path, samples: np.ndarray | None, file: Path, begin: float = 0.0) -> Path:
    """The pictures of a file, not encoded again, with a sound of 16 kHz that begins after `begin` seconds by its timestamps."""
    with av.open(str(pictures)) as source, av.open(str(file), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        track = target.add_stream("pcm_s16le", rate=16_000, layout="mono") if samples is not None else None
        for packet in source.demux(video):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
        if track is not None:
            for first in range(0, len(samples), 1600):
                block = np.clip(samples[first:first + 1600] * 32767, -32768, 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16_000, first + round(begin * 16_000), Fraction(1, 16_000)
                target.mux(track.encode(frame))
            target.mux(track.encode(None))
    return file


def pictures(file: Path) -> np.ndarray:
    """All frames of a video, RGB float32 (n, h, w, 3)."""
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.float32)
