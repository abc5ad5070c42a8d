"""SyncNet's scores of a clip by the published protocol (joonson/syncnet_python; field.md, section D), as a stream.

The person at 25 pictures a second, cut out of the frame with room around the face, 224 x 224; the sound as MFCC; windows of five
pictures against windows of sound, shifted by up to 15 pictures either way; mean distances by shift.

What is done otherwise, and changes scores a little: faces come from the built-in tracks (a box like S3FD's about the landmarks) instead of
S3FD itself, frames are read from the clip as it is (no encoding to MPEG-4 and JPEG first; shrinking is filtered), 25 pictures a second are
the nearest frames, boxes at the ends of a passage are smoothed with their own values instead of zeros, and passages count from 50 pictures
on (published: 100; LatentSync's evaluation: 50). Compare numbers made here with one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..faces.align import box_matrix, detector_box
from ..types import SPEECH_RATE, Clip, Hooks, Picture, Pixels
from .landmarks import Person
from .mfcc import mfcc
from .sync_scores import REACH, SyncScores, combine
from .syncnet_net import COLUMNS, COLUMNS_A_PICTURE, EMBEDDING, SIDE, WINDOW, SyncNet

RATE = 25
SAMPLES = SPEECH_RATE // RATE
"""Of sound to a picture."""
MARGIN = 0.40
"""The crop is (1 + this) times as large as the box, and reaches down by the whole of it."""
MEDIAN = 13
"""Pictures over which boxes are smoothed."""
PAD = 110
"""Grey beyond the frame, of 255."""
LONGEST_GAP = 25
"""Pictures without the face across which its box is interpolated."""
SHORTEST = 50
"""Pictures of a passage that can be scored; in a shorter one the ends, where shifted sound is missing, weigh too much."""
BATCH = 12
"""Windows that the network is given at a time."""
TOO_SHORT = "too short for SyncNet"


@dataclass(frozen=True)
class Passage:
    """An uninterrupted stretch of the person at 25 pictures a second."""

    first: int
    """Its first picture; picture k belongs to k / 25 seconds after the clip's first frame."""
    frames: np.ndarray
    """int64 (n,), the clip's frame for each picture."""
    boxes: np.ndarray
    """float64 (n, 4), x0, y0, x1, y1 of the crops in the clip's pixels, smoothed."""


def score(network: SyncNet, clip: Clip, person: Person, samples: np.ndarray, sound_start: float = 0.0,
          hooks: Hooks | None = None) -> SyncScores | None:
    """Score a person of a clip against the sound (n,), float32 -1..1 at 16 kHz, that begins `sound_start` seconds after the first frame.

    None if the face is never seen for 50 pictures (2 s) with sound. Reads the clip once; keeps some twenty crops.
    """
    hooks = hooks or Hooks()
    parts = [(passage, _sound_of(passage, samples, sound_start)) for passage in passages_of(person)]
    parts = [(passage, sound) for passage, sound in parts if len(sound) >= SHORTEST * SAMPLES]
    if not parts:
        return None
    crops = crops_of(clip.pictures(), [passage for passage, _ in parts], hooks)
    curves, counts = [], []
    for passage, sound in parts:
        mine = islice(crops, len(passage.frames))
        windows = len(sound) // SAMPLES - WINDOW                      # one less than there are, as published
        curves.append(mean_distances(network, mine, mfcc(sound), windows))
        counts.append(windows)
        for _ in mine:
            pass
    return combine(curves, counts)


def _sound_of(passage: Passage, samples: np.ndarray, start: float) -> np.ndarray:
    """The samples that are heard during a passage; before the sound begins they are silent, after its end there are none."""
    begin = round((passage.first / RATE - start) * SPEECH_RATE)
    end = begin + len(passage.frames) * SAMPLES
    part = samples[max(0, begin):max(0, end)]
    return np.concatenate([np.zeros(min(-begin, len(passage.frames) * SAMPLES), np.float32), part]) if begin < 0 else part


def passages_of(person: Person) -> list[Passage]:
    """Where the person can be seen long enough: by track (a track ends with its shot), gaps up to a second bridged."""
    times = person.mouths.times
    if len(times) < 2:
        return []
    count = int((times[-1] + np.median(np.diff(times))) * RATE + 1e-3)
    # On the middle between two frames, the earlier one is still being shown.
    nearest = np.searchsorted((times[1:] + times[:-1]) / 2, np.arange(count) / RATE - 1e-6)
    rows = [person.track_rows[frame] for frame in nearest]
    seen = np.array([k for k, row in enumerate(rows) if row is not None], np.int64)
    if not len(seen):
        return []
    owners = [id(rows[k][0]) for k in seen]
    breaks = [i for i in range(1, len(seen)) if owners[i] != owners[i - 1] or seen[i] - seen[i - 1] > LONGEST_GAP + 1]
    passages = []
    for part in np.split(seen, breaks):
        pictures = np.arange(part[0], part[-1] + 1)
        squares = np.array([_square(track.landmarks[row]) for track, row in (rows[k] for k in part)])
        smooth = np.stack([_median(np.interp(pictures, part, column)) for column in squares.T], 1)
        if len(pictures) >= SHORTEST:
            passages.append(Passage(int(part[0]), nearest[pictures], _crop_boxes(smooth)))
    return passages


def _square(landmarks: np.ndarray) -> np.ndarray:
    """Centre x, y and half the longer side (3,) of a box like S3FD's about landmarks (68, 2)."""
    x0, y0, x1, y1 = detector_box(landmarks, chin=0)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 2.0) / 2])


def _median(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, MEDIAN // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN), axis=1)


def _crop_boxes(squares: np.ndarray) -> np.ndarray:
    """Squares (n, 3) -> boxes (n, 4) of the crops: more room below the face than above, where the mouth is."""
    x, y, half = squares.T
    return np.stack([x - half * (1 + MARGIN), y - half, x + half * (1 + MARGIN), y + half * (1 + 2 * MARGIN)], 1)


def crops_of(pictures: Iterable[Picture], passages: list[Passage], hooks: Hooks) -> Iterator[np.ndarray]:
    """The crops of all passages in order, BGR uint8 (224, 224, 3); frames are read once."""
    frames = np.concatenate([passage.frames for passage in passages])
    boxes = np.concatenate([passage.boxes for passage in passages])
    done = 0
    for picture in pictures:
        hooks.check_interrupt()
        while done < len(frames) and frames[done] <= picture.index:
            yield crop(picture.pixels, boxes[done])
            done += 1
            hooks.progress("syncnet", done, len(frames))
        if done == len(frames):
            return


def crop(pixels: Pixels, box: np.ndarray) -> np.ndarray:
    """A box (4,) of a picture as BGR uint8 (224, 224, 3), grey beyond the picture."""
    matrix = box_matrix(box, SIDE)
    image = np.ascontiguousarray(pixels.warp(matrix, (SIDE, SIDE))[..., ::-1])
    for axis, limit in ((1, pixels.width), (0, pixels.height)):
        row = 1 - axis
        place = (np.arange(SIDE) - matrix[row, 2]) / matrix[row, row]
        outside = (place < -0.5) | (place > limit - 0.5)
        image[(slice(None), outside) if axis else outside] = PAD
    return image


@torch.inference_mode()
def mean_distances(network: SyncNet, crops: Iterator[np.ndarray], columns: np.ndarray, windows: int) -> np.ndarray:
    """Mean distance by shift, float64 (31,): entry 15 + s compares every window of pictures with the sound s pictures later.

    `crops` BGR uint8 (224, 224, 3), of which `windows` + 4 are taken; `columns` MFCC (m, 13) from the first crop on. Beyond the
    passage's ends an embedding is zero, as published.
    """
    device = next(network.parameters()).device
    heard = SlidingSound(network, columns, windows)
    total = np.zeros(2 * REACH + 1)
    held: list[Tensor] = []
    for first in range(0, windows, BATCH):
        count = min(BATCH, windows - first)
        held += [torch.from_numpy(image).permute(2, 0, 1) for image in islice(crops, count + WINDOW - 1 - len(held))]
        seen = network.see(torch.stack(held).to(device, torch.float32))
        held = held[count:]
        total += distances(seen, heard.around(first, count)).sum(0).double().cpu().numpy()
    return total / windows


class SlidingSound:
    """Embeddings of the sound, worked out once each and held as long as a shift may ask for them."""

    def __init__(self, network: SyncNet, columns: np.ndarray, windows: int) -> None:
        self.network, self.windows = network, windows
        self.columns = torch.from_numpy(columns.astype(np.float32))
        self.device = next(network.parameters()).device
        self.begin = -REACH
        self.held = torch.zeros(REACH, EMBEDDING, device=self.device)

    def around(self, first: int, count: int) -> Tensor:
        """Embeddings of windows first - 15 .. first + count + 14: (count + 30, 1024). `first` must never go back."""
        known, end = self.begin + len(self.held), first + count + REACH
        new = [self.hear(known, min(end, self.windows))] if known < self.windows else []
        missing = end - max(known, self.windows)
        if missing > 0:
            new.append(torch.zeros(missing, EMBEDDING, device=self.device))
        self.held = torch.cat([self.held[first - REACH - self.begin:], *new])
        self.begin = first - REACH
        return self.held[:end - self.begin]

    def hear(self, first: int, last: int) -> Tensor:
        """Of windows first .. last - 1."""
        starts = [k * COLUMNS_A_PICTURE for k in range(first, last)]
        return self.network.hear(torch.stack([self.columns[s:s + COLUMNS].T[None] for s in starts]).to(self.device))


def distances(seen: Tensor, heard: Tensor) -> Tensor:
    """Embeddings of pictures (n, d) and of sound (n + 30, d), of which the ith belongs to window i - 15 -> (n, 31), by shift."""
    return F.pairwise_distance(seen[:, None], heard.unfold(0, 2 * REACH + 1, 1).transpose(1, 2))
