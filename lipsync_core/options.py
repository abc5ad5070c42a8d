"""What may be chosen for a dub; the defaults are what most people want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .compositing import Blending
from .errors import LipSyncError
from .faces import FaceBackend, FaceRule
from .media import EXTEND, FPS, REVERSE, TAIL, Encoding
from .passages import check_passages
from .provenance.credentials import Credentials
from .speaker_file import SpeakerData
from .stages import FaceOptions
from .types import Generator, Speech

if TYPE_CHECKING:
    from .generators.restored import Restorer

SILENCE = ("close", "keep", "generate")
EXTEND_AUDIO = ("off", "silence")
LATEST = 1e7
"""Seconds, a third of a year: no recording is longer, and no number that is none gets by."""
MOST_OFFSET = 10_000.0
"""Milliseconds between mouth and sound at most: more is another sound."""
AUTO = "auto"
"""Speaker data that are told from the source: from lips and sound."""
SOURCE = "source"
"""A background that is the video's own sound."""


@dataclass(frozen=True)
class Voice:
    """Who says which recording."""

    who: FaceRule
    """A person: an index from the left (`analyze` shows who is who), a point (x, y) in pixels, tracks by number ('#2', '#2+#5'), 'S1' for a
    speaker's id in speaker data, or a name that speaker data give as a `voice`. The same person is meant in later shots, too."""
    speech: Speech | Path | str
    """A file, or what was loaded already."""
    offset: float = 0.0
    """Seconds into the result at which it begins; below 0 its beginning is left out."""


@dataclass(frozen=True)
class Soundtrack:
    """What is heard beside the voices, or instead of them."""

    file: Path | str | None = None
    """Another sound for the result, instead of the voices: a finished mix."""
    background: Path | str | None = None
    """Mixed under the voices: a file, or 'source' for the video's own sound."""
    background_volume: float = 0.5
    """0..1."""
    loop: bool = True
    """A background that is shorter than the result begins again; the video's own sound never does."""
    duck: bool = False
    """Lower the background while somebody speaks."""
    keep_original: bool = False
    """Add the video's own sound as a second, labelled track."""

    def check(self) -> None:
        """Raise `LipSyncError` for a value out of range."""
        if not 0 <= self.background_volume <= 1:
            raise LipSyncError(f"A background volume of {self.background_volume:g} is out of range: use 0 (silent) to 1 (as it is).")


@dataclass(frozen=True)
class DubOptions:
    """See the fields; any of them may be given to `dub` as a keyword."""

    generator: str | Path | Generator = "morph"
    """A built-in generator, a checkpoint file, or a generator that is set up already."""
    generator_options: Mapping[str, str] = field(default_factory=dict)
    """What a generator that a name sets up is told, by its own names (`generators.create_generator`)."""
    restore: str | Path | Restorer | None = None
    """A face restorer for what the generator makes: a file of GFPGAN, CodeFormer or RestoreFormer, or one that is set up already."""
    restore_strength: float = 0.5
    """0..1, how much of what the restorer changes is taken."""
    face: FaceRule = "largest"
    """'largest', 'all', an index from the left, a point (x, y) in pixels, or tracks by number ('#2'); with `voices` not used."""
    voices: Sequence[Voice] = ()
    """Several people, each with their own recording, in place of the one `audio`."""
    speakers: SpeakerData | Path | str | None = None
    """Who is where and speaks when: speaker data, a file of them, or 'auto': the source's own turns, told from its lips and sound."""
    strength: float = 1.0
    """0..2, how far the mouth moves; 0 keeps it shut."""
    silence: str = "close"
    """'close', 'keep' (the source's own mouth) or 'generate'."""
    offset_ms: float = 0.0
    """Milliseconds that the mouth moves later (> 0) or earlier than the sound."""
    backend: str | FaceBackend = "builtin"
    """Face models: 'builtin', 'face-alignment', or one that is set up already."""
    device: str = "cpu"
    """Torch device of the face models that a name sets up."""
    smoothing: float = 1.0
    """0..3, multiplies how long landmarks are smoothed over."""
    blending: Blending = field(default_factory=Blending)
    """How the new mouth is put back: feather, growth of the mask, colour match."""
    batch_size: int = 8
    """Faces that a network is given at a time, at most; generators that gain nothing from it take one."""
    start: float = 0.0
    """Seconds of the video to skip."""
    duration: float | None = None
    """Seconds of the video to dub; None = to the end."""
    extend_video: str = "off"
    """Speech that is longer than the picture: 'off' (the result ends with the picture), 'hold' (its last frame stays), 'forward' (its last
    seconds again and again) or 'bounce' (backwards and forwards; 'reverse' is the same)."""
    extend_seconds: float = TAIL
    """How many of the last seconds 'forward' and 'bounce' repeat; `math.inf` = all."""
    extend_audio: str = "off"
    """A picture that is longer than the speech: 'off' (the result ends with the speech) or 'silence' (it goes on, the mouth at rest)."""
    deinterlace: bool = False
    """Make whole frames of interlaced ones, as television has them, before anything else is done."""
    fps: float = FPS
    """Frames a second of a photo, which is held in any case."""
    audio_start: float = 0.0
    """Seconds of the audio to skip."""
    bypass: Sequence[tuple[float, float]] = ()
    """Passages in which the source's own mouth shows: (from, to) in seconds of the video, before `start` is skipped."""
    require_face: bool = False
    """Fail where no face is found, instead of passing the video through."""
    overlay: bool = False
    """Draw into the picture what was found and done, to look at."""
    soundtrack: Soundtrack = field(default_factory=Soundtrack)
    """What is heard beside the voices: a background, another mix, the original as a second track."""
    encoding: Encoding = field(default_factory=Encoding)
    mark: bool = True
    """Say in the file's metadata that a mouth was altered, and by what; nothing shows in the picture."""
    sign: Credentials | None = None
    """Sign the file with C2PA content credentials."""

    def check(self) -> None:
        """Raise `LipSyncError` for a value out of range."""
        if self.silence not in SILENCE:
            raise LipSyncError(f"{self.silence!r} is no way to treat silence: use {', '.join(SILENCE)}.")
        if not 0 <= self.strength <= 2:
            raise LipSyncError(f"A strength of {self.strength:g} is out of range: use 0 (shut) to 2 (exaggerated).")
        if not 0 <= self.restore_strength <= 1:
            raise LipSyncError(f"A restorer's strength of {self.restore_strength:g} is out of range: use 0 (off) to 1 (all of it).")
        if self.batch_size < 1:
            raise LipSyncError(f"A batch of {self.batch_size} is none: use 1 or more.")
        if not (0 <= self.start <= LATEST and 0 <= self.audio_start <= LATEST
                and (self.duration is None or 0 < self.duration <= LATEST)):
            raise LipSyncError("Start times can't be negative and a duration must be above 0 (seconds): check --start, --duration and "
                               "--audio-start.")
        if not abs(self.offset_ms) <= MOST_OFFSET:
            raise LipSyncError(f"An offset of {self.offset_ms:g} ms is out of range: use {-MOST_OFFSET:g} to {MOST_OFFSET:g}.")
        if self.generator_options and not isinstance(self.generator, (str, Path)):
            raise LipSyncError("A generator that is set up already takes no options: give them where it is set up.")
        if self.voices and self.speakers == AUTO:
            raise LipSyncError("The speakers' turns are for one recording: give either voices or speakers auto.")
        self._check_lengths()
        check_passages(self.bypass)
        self.blending.check()
        self.soundtrack.check()
        self.faces().check()
        if self.sign is not None:
            if not self.mark:
                raise LipSyncError("What is signed is marked, too: give either sign or no-mark.")
            self.sign.check()

    def _check_lengths(self) -> None:
        if self.extend_video not in (*EXTEND, REVERSE):
            raise LipSyncError(f"{self.extend_video!r} is no way to extend a video: use {', '.join(EXTEND)}.")
        if self.extend_audio not in EXTEND_AUDIO:
            raise LipSyncError(f"{self.extend_audio!r} is no way to extend a recording: use {' or '.join(EXTEND_AUDIO)}.")
        if not self.extend_seconds > 0:
            raise LipSyncError(f"{self.extend_seconds:g} s can't be repeated: use more than 0, or all.")
        if not 1 <= self.fps <= 240:
            raise LipSyncError(f"{self.fps:g} frames a second are out of range: use 1 to 240.")

    def faces(self) -> FaceOptions:
        return FaceOptions(self.face, self.backend, self.device, self.smoothing)
