"""The small dataclasses that the four stages exchange, and nothing else.

Conventions: pixels are RGB, height x width x channel; coordinates are x, y in pixels of the picture as it is displayed
(rotation applied), origin top left, a pixel's centre at its integer coordinates (OpenCV's convention); time is seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

SPEECH_RATE = 16_000
"""Sample rate of `Speech`, Hz: what speech models of this field are taught on (architectures: Wav2Lip, Whisper, SyncNet)."""


class Pixels(Protocol):
    """A picture that is read in small pieces, so that a 4K frame costs what its face costs.

    `media.FrameView` is one over a decoded frame in its own pixel format, `array_pixels.ArrayPixels` one over an RGB array.
    """

    width: int
    height: int

    def thumbnail(self, max_side: int) -> np.ndarray:
        """The whole picture as RGB uint8 (h, w, 3), shrunk so that its longer side is at most `max_side` (never enlarged)."""

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """RGB uint8 (size[1], size[0], 3): the crop that `matrix` (2, 3), picture -> crop coordinates, cuts out; size is (w, h).

        Shrinking is filtered, not aliased; beyond the border the edge pixels repeat.
        """

    def region(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """RGB float32 (y1-y0, x1-x0, 3), 0..255, of an integer box (x0, y0, x1, y1) inside the picture, unscaled."""


@dataclass(frozen=True)
class Picture:
    """One frame of a clip: its number and its time from the first one, seconds."""

    index: int
    time: Fraction
    pixels: Pixels


class Clip(Protocol):
    """Frames that can be gone through as often as needed: `media.VideoSource` is one in a file, `media.FrameBatch` one in memory."""

    size: tuple[int, int]
    """Width, height as displayed."""
    frame_rate: Fraction
    frame_count: int
    """An estimate for progress bars; 0 = unknown."""

    def pictures(self) -> Iterator[Picture]:
        """Every frame in order, anew by each call."""


@dataclass(frozen=True)
class AudioOriginal:
    """The sound as it was given, for muxing: a file (copied where the container allows) or samples of a host.

    Exactly one of `path` and `waveform` is set. `start` and `duration` (seconds, None = to the end) are the part to use.
    """

    path: Path | BinaryIO | None = None
    waveform: np.ndarray | None = None
    """float32 (channels, samples), -1..1, at `sample_rate`."""
    sample_rate: int = 0
    start: float = 0.0
    duration: float | None = None


class Marking(Protocol):
    """Says in a video file that it was altered: `provenance.Mark` is one."""

    def tags(self, suffix: str, there: str = "") -> dict[str, str]:
        """Metadata for a container with that ending; `there` is the comment that it has."""

    def end(self, suffix: str) -> bytes:
        """What follows the container's own content, where it is sent and not written."""

    def finish(self, file: Path, name: str) -> None:
        """Add the rest to a file that is written, and will be called `name`."""


class SoundBlocks(Protocol):
    """A sound that is made as it is read, for muxing."""

    sample_rate: int
    channels: int
    """1 or 2."""

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it in order, anew by each call: float32 (channels, n), -1..1."""


@dataclass(frozen=True)
class Speech:
    """What drives the mouth: float32 mono samples (n,), -1..1 at 16 kHz, and the untouched sound for muxing."""

    samples: np.ndarray
    original: AudioOriginal | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / SPEECH_RATE


@dataclass(frozen=True)
class FaceTrack:
    """One person through the clip. Small enough for an hour of video (about 0.7 KB a frame).

    Row i of every array belongs to frame `frames[i]` of the clip; frames ascend, gaps are frames without this face.
    """

    frames: np.ndarray
    """int64 (n,), indices of frames counted from the first frame of the (trimmed) clip."""
    times: np.ndarray
    """float64 (n,), seconds from the first frame of the (trimmed) clip."""
    boxes: np.ndarray
    """float32 (n, 4), x0, y0, x1, y1 of the face in source pixels."""
    landmarks: np.ndarray
    """float32 (n, 68, 2), iBUG 68-point order, source pixels, smoothed."""
    scores: np.ndarray
    """float32 (n,), confidence of the landmarks, 0..1."""
    pose: np.ndarray
    """float32 (n, 3), yaw, pitch, roll in degrees; yaw > 0 turns to the picture's right, pitch > 0 up, roll > 0 clockwise."""
    activation: np.ndarray
    """float32 (n,), 0..1, how much of the effect the frame gets (confidence, pose, size, covered mouths, ramps at gaps)."""
    track_id: int = 0
    covered: np.ndarray | None = None
    """float32 (n,), 0..1, how little of the person's usual lower face the frame shows (`faces.occlusion`); None = nobody looked."""

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class FaceCrop:
    """Pixels and the affine that made them: `matrix` (2, 3) maps picture coordinates to crop coordinates."""

    pixels: np.ndarray
    """RGB (h, w, 3), uint8 for resampled crops, float32 0..255 for native windows."""
    matrix: np.ndarray
    landmarks: np.ndarray
    """float32 (68, 2), crop coordinates."""
    frame: int = 0


CropRule = Callable[[FaceTrack, int, int], np.ndarray]
"""Track, row, side of the crop in pixels -> affine (2, 3), picture -> crop."""


@dataclass(frozen=True)
class GeneratorSpec:
    """What a generator wants to be given; the pipeline reads it and knows nothing else of the generator."""

    name: str
    crop: str | CropRule = "native"
    """`native` (an integer-aligned window of the source, no resampling), one of `faces.align.CROPS`, or a rule of the generator's own."""
    crop_size: int = 0
    """Side of the square crop in pixels; 0 with 'native'."""
    references: int = 0
    """How many reference crops of the person, chosen for open mouths, `start` wants."""
    batch_size: int = 1


@dataclass(frozen=True)
class Person:
    """Whom a generator animates: the track, and reference crops (mouth open first) with their own landmarks."""

    track: FaceTrack
    references: Sequence[FaceCrop] = ()


@dataclass(frozen=True)
class GeneratorItem:
    """One face of one frame."""

    crop: FaceCrop
    time: float
    """Seconds into the speech at which the frame is shown (offset applied)."""
    row: int
    """Row of the person's track."""
    region: np.ndarray
    """float32 (h, w), 0..1, crop coordinates: where things may move. What is blended back is cut out by compositing's own mask."""
    activation: float = 1.0
    """0..1, how much of the effect this frame gets; at 0 the mask is 0."""


@dataclass(frozen=True)
class GeneratedFace:
    """New pixels of a crop, and how much of each is meant; compositing multiplies that by the region of the lower face."""

    pixels: np.ndarray
    """RGB float32 (h, w, 3), 0..255."""
    mask: np.ndarray
    """float32 (h, w), 0..1. All 0: nothing changes."""


@dataclass(frozen=True)
class Hooks:
    """How a job talks to whoever started it (the command line, a ComfyUI node, nobody)."""

    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    """Called with the stage's name, frames done and frames expected (an estimate; 0 = unknown)."""
    check_interrupt: Callable[[], None] = lambda: None
    """Called at least once a frame; raises to stop the job."""
    warn: Callable[[str], None] = field(default=lambda sentence: None)
    """One sentence that the user should see although the job goes on."""
    show: Callable[[Callable[[int], np.ndarray]], None] = field(default=lambda picture: None)
    """Offered what was just made, for whoever wants to look: called with the longest side in pixels, it is RGB uint8 (h, w, 3). Only then
    does it cost anything, and only within the call."""


@dataclass(frozen=True)
class Drive:
    """How the user wants the mouth driven."""

    strength: float = 1.0
    """Scales the mouth movements: 0 keeps the mouth shut, 1 is natural, 2 is exaggerated."""
    silence: str = "close"
    """What the mouth does while nobody speaks: 'close', 'keep' (the source's own mouth) or 'generate' (the generator decides)."""


class Listener(Protocol):
    """Hears speech that comes piece by piece. A generator may have a `listener(look_ahead)` that gives one of its own, which is told how
    many seconds of speech are known after a moment when that is asked for; `live.listening` has one for all others."""

    until: float
    """Seconds of the stream up to which what was heard is complete; infinity after the last piece."""

    def push(self, samples: np.ndarray, *, last: bool = False) -> None:
        """The next samples (n,) float32 at 16 kHz."""

    def forget(self, before: float) -> None:
        """Nothing before that second of the stream will be asked for."""

    def heard(self) -> tuple[Any, float]:
        """What the generator's `hear` would give of what is remembered, and the second of the stream at which that begins."""


class Generator(Protocol):
    """Makes new faces. Knows no file, no video and no host.

    `hear` makes of a recording whatever the generator draws from, once for all who say it, and perhaps in a thread of its own. `start`
    looks at a person and returns a state of the generator's own; `generate` takes that state explicitly, so that a clip in one batch or in
    ten gives the same pixels.
    `activation` and `Drive` are the generator's to honour, because a mouth that moves back into place looks better than one that fades.
    """

    spec: GeneratorSpec

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> Any: ...

    def start(self, person: Person, heard: Any, drive: Drive, hooks: Hooks | None = None, before: Any = None) -> Any:
        """`heard` is of `hear`. `before`: this person's state a moment ago, in a stream; what was made of the very same references (the
        same list) is taken over from it, and what changes with what is known of the person changes gently."""


    def generate(self, batch: Sequence[GeneratorItem], state: Any) -> list[GeneratedFace]: ...
