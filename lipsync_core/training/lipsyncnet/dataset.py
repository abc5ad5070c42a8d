"""Shards -> segments: a stretch of one person, picture, landmarks and sound, as the training wants it.

`SegmentStream` goes through all shards in order or shuffled, with the `webdataset` library (files, or anything else it can open);
`decode_sample` makes a `Segment` of the raw parts of one sample, wherever they were read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import webdataset as wds
from av.error import FFmpegError
from torch.utils.data import IterableDataset

from ...errors import MediaError

PARTS = ("video.mp4", "landmarks.npy", "times.npy", "audio.npy", "meta.json")
"""What a sample holds."""


@dataclass(frozen=True)
class Segment:
    """2 to 5 seconds of one person."""

    frames: np.ndarray
    """RGB uint8 (n, S, S, 3): 'steady' crops, see `faces.align.steady_matrix`."""
    landmarks: np.ndarray
    """float32 (n, 68, 2), crop pixels, smoothed."""
    times: np.ndarray
    """float64 (n,), seconds from the first frame; frame rates differ and may vary."""
    samples: np.ndarray
    """float32 (m,), -1..1, 16 kHz mono, from `audio_start` on. Belongs to the picture: a measured offset was taken out."""
    audio_start: float
    """Seconds from the first frame at which the sound begins, <= 0."""
    meta: dict[str, Any]
    """What `prepare` knows of it, see `shards.FIELDS`."""

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return float(self.times[-1]) + 1 / float(self.meta["fps"])


def decode_sample(sample: Mapping[str, bytes]) -> Segment:
    """The raw parts of one sample (`PARTS`; others are passed over) -> `Segment`. Raises `MediaError` where one is missing or damaged."""
    name = str(sample.get("__key__", "A sample of the shards"))
    try:
        meta = json.loads(sample["meta.json"])
        landmarks, times, sound = (np.load(io.BytesIO(sample[f"{part}.npy"]), allow_pickle=False)
                                   for part in ("landmarks", "times", "audio"))
        frames = read_video(sample["video.mp4"], len(times))
        start = float(meta["audio_start"])
    except KeyError as error:
        raise MediaError(f"{name} has no {error.args[0]}: the shards are not of `prepare`, or of an older one; make them anew.") from error
    except (ValueError, EOFError, OSError, FFmpegError) as error:
        raise MediaError(f"{name} is damaged ({error}): copy the shards again, or prepare them anew.") from error
    if len(frames) != len(times) or landmarks.shape != (len(times), 68, 2):
        raise MediaError(f"{name} is damaged: {len(frames)} frames, {len(times)} times, landmarks {landmarks.shape}; prepare it anew.")
    return Segment(frames, landmarks, times, sound.astype(np.float32) / 32768, start, meta)


def read_video(data: bytes, count: int = 0) -> np.ndarray:
    """RGB uint8 (n, S, S, 3) of an H.264 file in memory as `pieces.CropVideo` writes it; `count` frames are expected.

    Full-range BT.601 with chroma between the pixels is what OpenCV's own conversion means, which is as fast as swscale's and has
    neither its bias of one level nor its blocks of colour.
    """
    frames = np.empty((0, 0, 0, 3), np.uint8)
    found = 0
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1                         # the loader's workers are the threads
        for frame in container.decode(stream):
            size = (frame.width, frame.height)
            if found >= len(frames):
                frames = np.concatenate([frames.reshape(-1, *size[::-1], 3), np.empty((max(count - found, 32), *size[::-1], 3), np.uint8)])
            luma, blue, red = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:plane.height, :plane.width]
                               for plane in frame.planes)
            red, blue = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (red, blue))
            cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2RGB, dst=frames[found])
            found += 1
    return frames[:found]


def shard_files(folder: Path, split: str) -> list[Path]:
    """The shards of a split, in order. Raises `MediaError` where there is none."""
    files = sorted(Path(folder).glob(f"{split}-*.tar"))
    if not files:
        raise MediaError(f"There are no {split} shards in {folder}: make them with `prepare`.")
    return files


class SegmentStream(IterableDataset):
    """Every segment of a split, once an epoch.

    The order is decided by `seed` and `epoch` (`set_epoch`) alone: shards in random order, then a buffer of `shuffle` samples (still
    compressed, about 0.3 MB each); 0 keeps the order of the files. Shards are shared out among machines, processes and the loader's
    workers; where there are fewer shards than readers, each reads all and takes every k-th sample. `node` is (rank, number of
    processes); without it, torch.distributed or RANK and WORLD_SIZE decide. Processes get like numbers of segments, not the same:
    a training that counts epochs by batches must stop by steps.
    """

    def __init__(self, folder: Path | str, split: str = "train", *, seed: int = 0, shuffle: int = 256, node: tuple[int, int] | None = None,
                 decode: bool = True) -> None:
        self.files = [str(file) for file in shard_files(Path(folder), split)]
        self.seed, self.shuffle, self.node, self.decode, self.epoch = seed, shuffle, node, decode, 0

    def set_epoch(self, epoch: int) -> None:
        """Another order; before the loader is asked for its iterator."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        rank, world, worker, workers = wds.utils.pytorch_worker_info()
        if self.node is not None:
            rank, world = self.node
        reader, readers = rank * workers + worker, world * workers
        chosen = 1_000_003 * self.seed + self.epoch
        urls = list(wds.SimpleShardList(self.files, seed=chosen if self.shuffle else None))
        by_shards = len(urls) >= readers
        mine = urls[reader::readers] if by_shards else urls
        stages: list[Any] = [lambda: iter(mine), wds.tarfile_to_samples()]
        if not by_shards:
            stages.append(lambda samples: islice(samples, reader, None, readers))
        if self.shuffle:
            stages.append(wds.shuffle(self.shuffle, initial=self.shuffle, seed=chosen * readers + reader))
        if self.decode:
            stages.append(wds.map(decode_sample))
        yield from wds.DataPipeline(*stages)
