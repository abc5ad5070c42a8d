"""Small real media for the host's input folder, and PyAV as the outside witness of what came out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import save_file

MOUTH = (slice(150, 220), slice(100, 220))
"""Rows and columns around the mouth in the clip of `tests/conftest.py` (320x320)."""
ABOVE = (slice(0, 100), slice(0, 320))
"""Hair, forehead and background over the same face: never dubbed."""


@dataclass(frozen=True)
class Probe:
    width: int
    height: int
    frames: int
    seconds: float                                                    # of the picture
    audio_seconds: float                                              # 0.0 without sound
    codec: str


def probe(file: Path) -> Probe:
    """By decoding, not by what the container claims."""
    with av.open(str(file)) as container:
        video = container.streams.video[0]
        times = [frame.time for frame in container.decode(video)]
        step = float(1 / video.average_rate)
        width, height, codec = video.codec_context.width, video.codec_context.height, video.codec_context.name
    with av.open(str(file)) as container:
        samples = sum(f.samples for f in container.decode(audio=0)) if container.streams.audio else 0
        rate = container.streams.audio[0].codec_context.sample_rate if samples else 1
    return Probe(width, height, len(times), times[-1] - times[0] + step, samples / rate, codec)


def frames_of(file: Path) -> np.ndarray:
    """RGB uint8 (frames, height, width, 3)."""
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def tone_of(file: Path) -> float:
    """The strongest frequency of the sound, in Hz: tells a tone from speech."""
    with av.open(str(file)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        blocks = [frame.to_ndarray().astype(np.float64).reshape(len(frame.layout.channels) if frame.format.is_planar else -1, -1)
                  for frame in container.decode(audio=0)]
    sound = np.concatenate([block.mean(0) if block.shape[0] > 1 else block[0] for block in blocks])
    return float(np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound))


def change(before: np.ndarray, after: np.ndarray, where: tuple[slice, slice]) -> float:
    """Mean absolute difference in 8-bit levels over a region of all frames."""
    rows, columns = where
    return float(np.abs(before[:, rows, columns].astype(np.int16) - after[:, rows, columns].astype(np.int16)).mean())


def halves(before: Path, after: Path) -> tuple[np.ndarray, np.ndarray]:
    """How much the mouths of two_people.mp4's left and right half changed, a value a frame."""
    one, other = frames_of(before).astype(int), frames_of(after).astype(int)
    difference = np.abs(one[:len(other)] - other)[:, 110:170]
    return difference[:, :, 60:160].mean((1, 2, 3)), difference[:, :, 300:400].mean((1, 2, 3))


def with_tone(clip: Path, target: Path, hertz: float = 440.0) -> Path:
    """The clip's packets as they are, beside a stereo AAC tone of the same length: a video that has a sound of its own."""
    seconds = probe(clip).seconds
    sound = 0.2 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 44_100)) / 44_100).astype(np.float32)
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        audio = container.add_stream("aac", rate=44_100, layout="stereo")
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        for start in range(0, len(sound), 1024):
            block = sound[start:start + 1024]
            frame = av.AudioFrame.from_ndarray(np.stack([block, block]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return target


def looped(clip: Path, target: Path, times: int) -> Path:
    """The clip's packets `times` over: a long clip in the time of a copy. The clip must start with a key frame, as all do."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        inner = source.streams.video[0]
        outer = container.add_stream_from_template(inner)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(inner) if p.dts is not None]
        length = round(len(packets) / inner.average_rate / inner.time_base)
        for turn in range(times):
            for data, pts, dts, key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + turn * length, dts + turn * length, inner.time_base
                packet.is_keyframe, packet.stream = key, outer
                container.mux(packet)
    return target


def write_upscaler(file: Path, scale: int = 2, width: int = 4) -> Path:
    """A Real-ESRGAN "compact" network with seeded random weights, small enough to be quick: the picture enlarged, and a little noise.

    The layout is SRVGGNetCompact's (github.com/xinntao/Real-ESRGAN), by which the host's loader recognises it.
    """
    generator = torch.Generator().manual_seed(3)

    def convolution(inputs: int, outputs: int) -> torch.Tensor:
        return 0.02 * torch.randn(outputs, inputs, 3, 3, generator=generator)

    last = 3 * scale * scale
    tensors = {"body.0.weight": convolution(3, width), "body.0.bias": torch.zeros(width), "body.1.weight": torch.full((width,), 0.1),
               "body.2.weight": convolution(width, width), "body.2.bias": torch.zeros(width), "body.3.weight": torch.full((width,), 0.1),
               "body.4.weight": convolution(width, last), "body.4.bias": torch.zeros(last)}
    save_file(tensors, file)
    return file


RESTORER = """import sys, torch
from spandrel.architectures.RestoreFormer import RestoreFormer
torch.manual_seed(0)
network = RestoreFormer(n_embed=64, embed_dim=64, ch=32, ch_mult=(1, 1, 1, 1, 1, 2), num_res_blocks=1, z_channels=64)
torch.save({"params_ema": network.state_dict()}, sys.argv[1])
"""


def write_restorer(python: str, file: Path) -> Path:
    """A small RestoreFormer with seeded random weights, wrapped as published; made by the host's interpreter, whose spandrel has it."""
    subprocess.run([python, "-c", RESTORER, str(file)], check=True)
    return file
