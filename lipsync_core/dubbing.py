"""The main job: a video and a speech recording in, the video saying the speech out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .analysis import Analysis, analyse, collect_references
from .audio import load_speech
from .compositing import lower_face_box, lower_face_mask, match_colour
from .errors import FaceError, LipSyncError
from .faces import FaceRule, choose, create_backend
from .faces.align import native_crop
from .generators import create_generator
from .media import Encoding, FrameView, SourceFrame, VideoSource, VideoWriter, check_target, own_frame, plan
from .threads import Background, Prefetch
from .types import Drive, FaceTrack, Generator, GeneratorItem, Hooks, Person, Speech

log = logging.getLogger(__name__)
SILENCE = ("close", "keep", "generate")


@dataclass(frozen=True)
class DubOptions:
    """What may be chosen; the defaults are what most people want."""

    generator: str | Path = "morph"
    """A built-in generator or a checkpoint file."""
    face: FaceRule = "largest"
    """'largest', 'all', an index from the left, or a point (x, y) in pixels."""
    strength: float = 1.0
    """0..2, how far the mouth moves; 0 keeps it shut."""
    silence: str = "close"
    """'close', 'keep' (the source's own mouth) or 'generate'."""
    offset_ms: float = 0.0
    """Milliseconds that the mouth moves later (> 0) or earlier than the sound."""
    backend: str = "builtin"
    """Face models: 'builtin' or 'face-alignment'."""
    device: str = "cpu"
    """Torch device of the face models."""
    start: float = 0.0
    """Seconds of the video to skip."""
    duration: float | None = None
    """Seconds of the video to dub; None = to the end."""
    audio_start: float = 0.0
    """Seconds of the audio to skip."""
    require_face: bool = False
    """Fail where no face is found, instead of passing the video through."""
    encoding: Encoding = field(default_factory=Encoding)

    def check(self) -> None:
        """Raise `LipSyncError` for a value out of range."""
        if self.silence not in SILENCE:
            raise LipSyncError(f"{self.silence!r} is no way to treat silence: use {', '.join(SILENCE)}.")
        if not 0 <= self.strength <= 2:
            raise LipSyncError(f"A strength of {self.strength:g} is out of range: use 0 (shut) to 2 (exaggerated).")
        if self.start < 0 or self.audio_start < 0 or (self.duration is not None and self.duration <= 0):
            raise LipSyncError("Start times can't be negative and a duration must be above 0: check --start, --duration and "
                               "--audio-start.")


@dataclass(frozen=True)
class DubReport:
    """What was done. `frames` = `dubbed` + `passed`."""

    output: Path
    frames: int
    dubbed: int
    """Frames in which at least one mouth was changed."""
    passed: int
    """Frames that are the source's own."""
    seconds: float
    tracks: int
    chosen: list[int]
    """Track numbers that were dubbed."""
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"output": str(self.output)}


def dub(video: Path | str, audio: Path | str | Speech, output: Path | str, options: DubOptions | None = None, *,
        hooks: Hooks | None = None, **changes: Any) -> DubReport:
    """Dub `video` with `audio` (a file, or `Speech`) into the file `output`.

    Options come as `DubOptions`, or one by one as keywords (`strength=1.2, face="all"`). Where the audio is shorter than the
    video or longer, the shorter one decides. Frames without a usable face are the source's own, bit for bit before encoding.
    Memory does not grow with the clip. Raises `LipSyncError` and its kinds; the output appears whole or not at all.
    """
    options = dataclasses.replace(options or DubOptions(), **changes)
    options.check()
    hooks, warnings = _collecting(hooks or Hooks())
    video, output = Path(video), Path(output)
    given = [video] if isinstance(audio, Speech) else [video, Path(audio)]
    generator = create_generator(options.generator)
    source = VideoSource(video, start=options.start, duration=options.duration)
    speech = audio if isinstance(audio, Speech) else load_speech(audio, start=options.audio_start)
    check_target(output, given)
    plan(options.encoding, source.info, output, lambda sentence: None)            # what can't be encoded is said at once
    backend = create_backend(options.backend, options.device)

    analysis = analyse(source, backend, hooks, limit=speech.duration)
    chosen = _choose(analysis, options, hooks, video)
    _tell_lengths(analysis, speech, hooks)
    parts = prepare_parts(source, chosen, generator, speech, options, hooks)

    dubbed = 0
    writer = VideoWriter(output, source.info, options.encoding, audio=speech.original, warn=hooks.warn)
    with writer, Background(lambda item: writer.write(*item), 2) as encode, Prefetch(source.frames(), 2) as frames:
        for item in frames:
            hooks.check_interrupt()
            if item.index >= analysis.frames:
                break
            frame, changed = dub_frame(item, parts, generator, source.info.rotation, options.offset_ms / 1000)
            dubbed += changed
            encode.put((frame, item.pts))
            hooks.progress("generate", item.index + 1, analysis.frames)
    return DubReport(output, analysis.frames, dubbed, analysis.frames - dubbed, analysis.end, len(analysis.tracks),
                     [part.person.track.track_id for part in parts], warnings)


@dataclass
class Part:
    """One person who is dubbed: the track, the generator's state, and where in the track the clip is."""

    person: Person
    state: Any

    def row(self, frame: int) -> int | None:
        """The track's row of a frame, None where the face is away or off."""
        frames = self.person.track.frames
        row = int(np.searchsorted(frames, frame))
        found = row < len(frames) and frames[row] == frame
        return row if found and self.person.track.activation[row] > 0 else None


def prepare_parts(source: VideoSource, chosen: Sequence[FaceTrack], generator: Generator, speech: Speech, options: DubOptions,
                  hooks: Hooks) -> list[Part]:
    """Let the generator see each person once."""
    drive = Drive(options.strength, options.silence)
    parts = []
    for track in chosen:
        person = Person(track, collect_references(source, track, generator.spec.references, hooks))
        parts.append(Part(person, generator.start(person, speech, drive)))
    return parts


def dub_frame(item: SourceFrame, parts: Sequence[Part], generator: Generator, rotation: int,
              offset: float) -> tuple[av.VideoFrame, bool]:
    """One frame through crop, generator and compositing; the frame that comes back is the given one where nothing changed."""
    view: FrameView | None = None
    for part in parts:
        if (row := part.row(item.index)) is None:
            continue
        view = view or FrameView(own_frame(item.frame), rotation)
        landmarks = part.person.track.landmarks[row]
        box = lower_face_box(landmarks, (view.width, view.height))
        if box is None:
            continue
        crop = native_crop(view, landmarks, box, item.index)
        region = lower_face_mask(crop.landmarks, (box[2] - box[0], box[3] - box[1]))
        face = generator.generate([GeneratorItem(crop, float(item.time) - offset, row, region,
                                                 float(part.person.track.activation[row]))], part.state)[0]
        if not face.mask.any():
            continue
        new = match_colour(face.pixels, crop.pixels, face.mask)
        view.add(box, (new - crop.pixels) * face.mask[..., None])
    return (item.frame, False) if view is None else (view.frame, True)


def _choose(analysis: Analysis, options: DubOptions, hooks: Hooks, video: Path) -> list[FaceTrack]:
    chosen = choose(analysis.tracks, options.face, analysis.shot_starts)
    if not chosen:
        found = f"{len(analysis.tracks)} face(s), but none at {options.face!r}" if analysis.tracks else "no face"
        sentence = f"There is {found} in {video}"
        if options.require_face:
            raise FaceError(f"{sentence}: choose another --face or another part of the clip, or leave out --require-face.")
        hooks.warn(f"{sentence}: the picture is passed through as it is.")
    return chosen


def _tell_lengths(analysis: Analysis, speech: Speech, hooks: Hooks) -> None:
    spoken = speech.duration
    if not analysis.complete:
        hooks.warn(f"The audio is the shorter one: the result ends with it, at {spoken:.2f} s.")
    elif spoken > analysis.end + float(Fraction(1, 10)):
        hooks.warn(f"The video is the shorter one: of {spoken:.2f} s of audio the first {analysis.end:.2f} s are used.")


def _collecting(hooks: Hooks) -> tuple[Hooks, list[str]]:
    """The same hooks, warnings also kept in a list and sent to the log."""
    sentences: list[str] = []

    def warn(sentence: str) -> None:
        sentences.append(sentence)
        log.info(sentence)
        hooks.warn(sentence)

    return dataclasses.replace(hooks, warn=warn), sentences


__all__ = ["DubOptions", "DubReport", "dub"]
