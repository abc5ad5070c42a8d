"""Batches for training: five frames in a row, references of the same person, the sound around them.

Everything random about sample i of step s is drawn from (seed, s, i), so that a run that was stopped and resumed sees what one that was
not would have seen, and several processes see together what one would see alone.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...audio import wav2lip_mel
from ...compositing import lower_face_mask
from ...errors import MediaError
from ...faces.geometry import mouth_opening
from ...generators.lipsyncnet.audio import DELAY, REACH, STRIDE
from .dataset import Segment, decode_sample
from .sync_expert import BEFORE, COLUMNS, FRAMES

MEL_RATE = 80.0
WARM = 1.0
"""Seconds of sound that the recurrent layers hear before a window."""
APART = 0.3
"""Seconds by which another window of the same clip must be away to count as other speech."""


class SegmentStore:
    """The segments of the shards in a folder, read at random; the last ones stay decoded, up to `cache` bytes, with pictures of `side`
    pixels if they are larger (0: as they are): four times as many stay where half the side is enough."""

    def __init__(self, folder: Path, split: str, cache: int = 1 << 30, side: int = 0) -> None:
        self.side = side
        self.samples: list[tuple[Path, dict[str, tuple[int, int]]]] = []
        for file in sorted(folder.glob(f"{split}-*.tar")):
            entries: dict[str, dict[str, tuple[int, int]]] = {}
            with tarfile.open(file) as tar:
                for member in tar:
                    key, _, ending = member.name.partition(".")
                    entries.setdefault(key, {})[ending] = (member.offset_data, member.size)
            self.samples += [(file, entries[key]) for key in sorted(entries)]
        if not self.samples:
            raise MediaError(f"There are no {split} shards in {folder}: make them with `prepare`.")
        self.metas = [json.loads(self._bytes(i, "meta.json")) for i in range(len(self.samples))]
        self.lengths = [len(np.load(io.BytesIO(self._bytes(i, "times.npy")), allow_pickle=False)) for i in range(len(self.samples))]
        """Frames of each."""
        self._cache: OrderedDict[int, tuple[Segment, Tensor]] = OrderedDict()
        self._size, self._limit = 0, cache

    def __len__(self) -> int:
        return len(self.samples)

    def _bytes(self, index: int, ending: str) -> bytes:
        file, parts = self.samples[index]
        offset, size = parts[ending]
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)

    def load(self, index: int) -> tuple[Segment, Tensor]:
        """A segment and the log-mel (80, columns) of its sound."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        segment = decode_sample({ending: self._bytes(index, ending) for ending in self.samples[index][1]})
        if 0 < self.side < segment.frames.shape[1]:
            segment = _smaller(segment, self.side)
        found = segment, wav2lip_mel(segment.samples)
        self._cache[index] = found
        self._size += segment.frames.nbytes
        while self._size > self._limit and len(self._cache) > 1:
            _, (old, _) = self._cache.popitem(last=False)
            self._size -= old.frames.nbytes
        return found


def _smaller(segment: Segment, side: int) -> Segment:
    scale = side / segment.frames.shape[1]
    frames = np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in segment.frames])
    return replace(segment, frames=frames, landmarks=((segment.landmarks + 0.5) * scale - 0.5).astype(np.float32))


def enough(size: int) -> int:
    """Side of the pictures from which crops of `size` pixels can be cut, moved and turned a little, without loss that shows."""
    return round(1.25 * size)


@dataclass
class Batch:
    """B windows of T frames."""

    faces: Tensor
    """float32 (B, T, 3, S, S), 0..1: what is true."""
    references: Tensor
    """(B, R, 3, S, S)."""
    region: Tensor
    """(B, T, 1, S, S): the lower face by its landmarks, soft."""
    mel: Tensor
    """(B, 80, C): sound from `WARM` before the window on."""
    steps: Tensor
    """(B, T): where in the recurrent layers' steps over `mel` each frame's embedding is read."""
    window: Tensor
    """(B, 80, COLUMNS): the sound of the window, as the sync expert hears it."""
    others: Tensor
    """(B, K, 80, COLUMNS): sound of the same clip at other times."""
    clips: list[str]

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(value.to(device) if isinstance(value, Tensor) else value for value in vars(self).values()))


@dataclass(frozen=True)
class WindowOptions:
    """What a window is like."""

    size: int
    references: int
    """0: none, and no regions either, for the sync expert, which looks at neither."""
    others: int = 4
    augment: bool = True
    windows_of_a_clip: int = 1
    """Windows in a row of a batch that come from one segment, apart in time: others of the same clip for the sync expert."""


class Windows:
    """`batch(step, indices)`: samples of a step; the whole batch is `range(batch size)`, a process takes its share."""

    def __init__(self, store: SegmentStore, options: WindowOptions, seed: int) -> None:
        self.store, self.options, self.seed = store, options, seed
        frames = np.array([max(length - FRAMES + 1, 0) for length in store.lengths], np.float64)
        # Of one person in hundreds of segments no more than of ten others, or half of what all others have.
        people = [meta["person"] for meta in store.metas]
        total = {person: sum(f for f, p in zip(frames, people) if p == person) for person in set(people)}
        usual = float(np.median(list(total.values())))
        most = {person: max(10 * usual, (sum(total.values()) - total[person]) / 2) for person in total}
        weight = np.array([f * min(1.0, most[p] / max(total[p], 1)) for f, p in zip(frames, people)])
        if not weight.sum():
            raise MediaError(f"No segment of these shards has {FRAMES} frames: prepare longer ones.")
        self._chance = weight / weight.sum()

    def batch(self, step: int, indices: Sequence[int]) -> Batch:
        parts = [self._sample(step, index) for index in indices]
        columns = list(zip(*(vars(part).values() for part in parts)))
        return Batch(*(torch.stack(column) for column in columns[:-1]), [name for names in columns[-1] for name in names])

    def _sample(self, step: int, index: int) -> Batch:
        group, member = divmod(index, self.options.windows_of_a_clip)
        shared = np.random.default_rng((self.seed, step, group))
        segment, mel = self.store.load(int(shared.choice(len(self.store), p=self._chance)))
        starts = self._starts(segment, shared)
        rng = np.random.default_rng((self.seed, step, group, 1 + member))
        return self._window(segment, mel, int(starts[member % len(starts)]), rng)

    def _starts(self, segment: Segment, rng: np.random.Generator) -> np.ndarray:
        """First frames of this group's windows, as far apart as `APART` where the segment is long enough."""
        last = len(segment.frames) - FRAMES
        wanted = self.options.windows_of_a_clip
        step = max(1, round(APART / max(float(np.median(np.diff(segment.times))), 1e-3)))
        grid = np.arange(int(rng.integers(0, min(step, last + 1))), last + 1, step)
        return rng.permutation(grid)[:wanted] if len(grid) >= wanted else rng.integers(0, last + 1, wanted)

    def _window(self, segment: Segment, mel: Tensor, first: int, rng: np.random.Generator) -> Batch:
        size, rows = self.options.size, np.arange(first, first + FRAMES)
        matrix, colour, flip = self._looks(segment, rng)
        faces = np.stack([self._picture(segment, row, matrix, colour, flip) for row in rows])
        references = np.zeros((self.options.references, 3, size, size), np.float32)
        for i, row in enumerate(self._references(segment, rows, rng) if self.options.references else ()):
            references[i] = self._picture(segment, row, self._looks(segment, rng, matrix)[0], colour, flip)
        regions = [np.zeros((size, size), np.float32)] * FRAMES if not self.options.references else []
        for row in rows if self.options.references else ():
            points = segment.landmarks[row] @ matrix[:, :2].T + matrix[:, 2]
            region = lower_face_mask(points.astype(np.float32), (size, size))
            regions.append(region[:, ::-1] if flip else region)
        start = segment.audio_start
        times = segment.times[rows]
        begin = 2 * round((times[0] - start - WARM) * MEL_RATE / 2)
        length = 2 * round((WARM + 0.45) * MEL_RATE / 2)
        steps = ((times - start) * MEL_RATE - begin + REACH) / STRIDE + DELAY
        gain = float(rng.uniform(-0.6, 0.6)) if self.options.augment else 0.0   # 8 units are 100 dB: up to 7.5 dB either way
        others = [self._sound(mel, at, gain) for at in self._elsewhere(segment, times[0], rng)]
        region = np.ascontiguousarray(np.stack(regions)[:, None])
        return Batch(torch.from_numpy(faces), torch.from_numpy(references), torch.from_numpy(region),
                     _columns(mel, begin, length, gain), torch.from_numpy(steps.astype(np.float32)),
                     self._sound(mel, times[0] - start, gain), torch.stack(others), [segment.meta["clip"]])

    def _looks(self, segment: Segment, rng: np.random.Generator, around: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, bool]:
        """Matrix (2, 3) segment -> picture, a gain for each colour, and whether it is mirrored. `around`: a matrix to be near to, as
        two trackings of one face are."""
        size, side = self.options.size, segment.frames.shape[1]
        scale = size / side
        plain = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5]])
        if not self.options.augment:
            return plain, np.ones(3, np.float32), False
        much = 0.25 if around is not None else 1.0
        zoom, angle = np.exp(rng.uniform(-0.05, 0.05) * much), rng.uniform(-0.06, 0.06) * much
        shift = rng.uniform(-0.025, 0.025, 2) * size * much
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.full(2, (size - 1) / 2)
        base = plain if around is None else around
        matrix = np.hstack([turn @ base[:, :2], (turn @ (base[:, 2] - centre) + centre + shift)[:, None]])
        return matrix, np.exp(rng.uniform(-0.15, 0.15) + rng.uniform(-0.06, 0.06, 3)).astype(np.float32), bool(rng.random() < 0.5)

    def _picture(self, segment: Segment, row: int, matrix: np.ndarray, colour: np.ndarray, flip: bool) -> np.ndarray:
        size = self.options.size
        small = size < segment.frames.shape[1] / 1.6
        image = cv2.warpAffine(segment.frames[row], matrix, (size, size), flags=cv2.INTER_AREA if small else cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)
        image = image[:, ::-1] if flip else image
        return np.ascontiguousarray(np.clip(image.astype(np.float32) / 255 * colour, 0, 1).transpose(2, 0, 1))

    def _references(self, segment: Segment, rows: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Rows away from the window: the widest mouth among some, as at inference, and others by chance."""
        away = np.flatnonzero(np.abs(np.arange(len(segment.frames)) - rows.mean()) > 2 * FRAMES)
        away = away if len(away) else np.setdiff1d(np.arange(len(segment.frames)), rows)
        away = away if len(away) else rows
        chosen = rng.choice(away, self.options.references, replace=len(away) < self.options.references)
        some = rng.choice(away, min(len(away), 12), replace=False)
        chosen[0] = some[np.argmax(mouth_opening(segment.landmarks[some]))]
        return [int(row) for row in chosen]

    def _elsewhere(self, segment: Segment, time: float, rng: np.random.Generator) -> np.ndarray:
        """Seconds into the sound at which other windows begin."""
        end = len(segment.samples) / 16_000 - COLUMNS / MEL_RATE
        places = np.arange(0.0, max(end, 0.05), 0.05)
        far = places[np.abs(places + segment.audio_start - time) > APART]
        far = far if len(far) else places
        return rng.choice(far, self.options.others, replace=len(far) < self.options.others)

    @staticmethod
    def plain(segment: Segment, mel: Tensor, size: int, around: int = 15) -> tuple[Tensor, Tensor, int] | None:
        """All windows of a segment as they are: faces (n, T, 3, size, size), the sound of every window and of `around` frames before the
        first and after the last one (n + 2 around, 80, COLUMNS), and `around`; None for a segment that is too short."""
        count = len(segment.frames) - FRAMES + 1
        if count < 2:
            return None
        pictures = torch.from_numpy(np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in segment.frames]))
        pictures = pictures.permute(0, 3, 1, 2).float() / 255
        faces = torch.stack([pictures[i:i + FRAMES] for i in range(count)])
        step = float(np.median(np.diff(segment.times)))
        times = np.concatenate([segment.times[0] - step * np.arange(around, 0, -1), segment.times[:count],
                                segment.times[count - 1] + step * np.arange(1, around + 1)])
        return faces, torch.stack([Windows._sound(mel, time - segment.audio_start, 0.0) for time in times]), around

    @staticmethod
    def _sound(mel: Tensor, at: float, gain: float) -> Tensor:
        """The expert's window (80, COLUMNS) whose frames begin `at` seconds into the sound."""
        return _columns(mel, round((at - BEFORE) * MEL_RATE), COLUMNS, gain)


def _columns(mel: Tensor, first: int, count: int, gain: float) -> Tensor:
    """Columns first .. first + count of (80, n), silence where there are none."""
    result = mel.new_full((mel.shape[0], count), -4.0)
    low, high = max(first, 0), min(first + count, mel.shape[1])
    if high > low:
        result[:, low - first:high - first] = (mel[:, low:high] + gain * (mel[:, low:high] > -4)).clamp(-4, 4)
    return result

