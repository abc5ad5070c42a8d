"""The main job: a video and a speech recording in, the video saying the speech out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av

from .analysis import Analysis, analyse
from .audio import load_speech
from .compositing import Blending
from .errors import FaceError, LipSyncError
from .faces import FaceBackend, FaceRule, choose
from .generators import create_generator
from .media import FPS, Encoding, FrameView, HeldSource, SourceFrame, VideoSource, VideoWriter, check_target, own_frame, plan
from .passages import bypassed, check_passages
from .stages import FaceOptions, Work, changes, row_of, work_of
from .threads import Background, Prefetch
from .types import Drive, FaceTrack, GeneratedFace, Generator, Hooks, Person, Speech

if TYPE_CHECKING:
    from .generators.restored import Restorer

log = logging.getLogger(__name__)
SILENCE = ("close", "keep", "generate")
EXTEND = ("off", "hold")


@dataclass(frozen=True)
class DubOptions:
    """What may be chosen; the defaults are what most people want."""

    generator: str | Path | Generator = "morph"
    """A built-in generator, a checkpoint file, or a generator that is set up already."""
    generator_options: Mapping[str, str] = field(default_factory=dict)
    """What a generator that a name sets up is told, by its own names (`generators.create_generator`)."""
    restore: str | Path | Restorer | None = None
    """A face restorer for what the generator makes: a file of GFPGAN, CodeFormer or RestoreFormer, or one that is set up already."""
    restore_strength: float = 0.5
    """0..1, how much of what the restorer changes is taken."""
    face: FaceRule = "largest"
    """'largest', 'all', an index from the left, or a point (x, y) in pixels."""
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
    """Speech that is longer than the picture: 'off' (the result ends with the picture) or 'hold' (its last frame stays)."""
    fps: float = FPS
    """Frames a second of a photo, which is held in any case."""
    audio_start: float = 0.0
    """Seconds of the audio to skip."""
    bypass: Sequence[tuple[float, float]] = ()
    """Passages in which the source's own mouth shows: (from, to) in seconds of the video, before `start` is skipped."""
    require_face: bool = False
    """Fail where no face is found, instead of passing the video through."""
    encoding: Encoding = field(default_factory=Encoding)

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
        if self.start < 0 or self.audio_start < 0 or (self.duration is not None and self.duration <= 0):
            raise LipSyncError("Start times can't be negative and a duration must be above 0: check --start, --duration and "
                               "--audio-start.")
        if self.generator_options and not isinstance(self.generator, (str, Path)):
            raise LipSyncError("A generator that is set up already takes no options: give them where it is set up.")
        if self.extend_video not in EXTEND:
            raise LipSyncError(f"{self.extend_video!r} is no way to extend a video: use {' or '.join(EXTEND)}.")
        if not 1 <= self.fps <= 240:
            raise LipSyncError(f"{self.fps:g} frames a second are out of range: use 1 to 240.")
        check_passages(self.bypass)
        self.blending.check()
        self.faces().check()

    def faces(self) -> FaceOptions:
        return FaceOptions(self.face, self.backend, self.device, self.smoothing)


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


def dub(video: Path | str | BinaryIO, audio: Path | str | Speech, output: Path | str, options: DubOptions | None = None, *,
        hooks: Hooks | None = None, **changes: Any) -> DubReport:
    """Dub `video` (a file, or one that is open for reading; a photo too) with `audio` (a file, or `Speech`) into the file `output`.

    Options come as `DubOptions`, or one by one as keywords (`strength=1.2, face="all"`). Where the audio is shorter than the
    video or longer, the shorter one decides, unless `extend_video` says otherwise; a photo lasts as long as the audio. Frames
    without a usable face are the source's own, bit for bit before encoding.
    Memory does not grow with the clip. Raises `LipSyncError` and its kinds; the output appears whole or not at all.
    """
    options = dataclasses.replace(options or DubOptions(), **changes)
    options.check()
    hooks, warnings = _collecting(hooks or Hooks())
    output = Path(output)
    video = Path(video) if isinstance(video, (str, Path)) else video
    given = [Path(item) for item in (video, audio) if isinstance(item, (str, Path))]
    generator = options.generator
    if isinstance(generator, (str, Path)):
        generator = create_generator(generator, options.generator_options)
    if options.restore is not None and options.restore_strength > 0:
        from .generators.restorers import with_restorer

        generator = with_restorer(generator, options.restore, options.restore_strength)
    source = VideoSource(video, start=options.start, duration=options.duration)
    speech = audio if isinstance(audio, Speech) else load_speech(audio, start=options.audio_start)
    if source.info.still or options.extend_video == "hold":
        source = HeldSource(video, speech.duration, start=options.start, duration=options.duration, fps=options.fps)
    check_target(output, given)
    plan(options.encoding, source.info, output, lambda sentence: None)            # what can't be encoded is said at once
    backend = options.faces().create()

    analysis = analyse(source, backend, hooks, limit=speech.duration, smoothing=options.smoothing)
    chosen = _choose(analysis, options, hooks, video)
    _tell_lengths(analysis, speech, hooks)
    parts = prepare_parts(analysis, chosen, generator, speech, options, hooks)

    dubbed = 0
    writer = VideoWriter(output, source.info, options.encoding, audio=speech.original, warn=hooks.warn)
    with writer, Background(lambda item: writer.write(*item), 2) as encode, Prefetch(source.frames(), 2) as frames:
        for group in _groups(frames, min(options.batch_size, generator.spec.batch_size), analysis.frames):
            hooks.check_interrupt()
            for item, frame, changed in dub_frames(group, parts, generator, source.info.rotation, options):
                dubbed += changed
                encode.put((frame, item.pts))
            hooks.progress("generate", group[-1].index + 1, analysis.frames)
    return DubReport(output, analysis.frames, dubbed, analysis.frames - dubbed, analysis.end, len(analysis.tracks),
                     [part.person.track.track_id for part in parts], warnings)


@dataclass
class Part:
    """One person who is dubbed: the track, the generator's state, and where in the track the clip is."""

    person: Person
    state: Any


def prepare_parts(analysis: Analysis, chosen: Sequence[FaceTrack], generator: Generator, speech: Speech, options: DubOptions,
                  hooks: Hooks) -> list[Part]:
    """Let the generator see each person once."""
    drive, passages = Drive(options.strength, options.silence), check_passages(options.bypass)
    parts = []
    for track in chosen:
        # A face in a passage is as good a reference as any.
        person = Person(bypassed(track, passages, options.start), analysis.references(track, generator.spec.references))
        parts.append(Part(person, generator.start(person, speech, drive, hooks)))
    return parts


def _groups(frames: Iterable[SourceFrame], size: int, count: int) -> Iterator[list[SourceFrame]]:
    """The first `count` frames, at most `size` at a time."""
    group: list[SourceFrame] = []
    for item in frames:
        if item.index >= count:
            break
        group.append(item)
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group


def dub_frames(group: Sequence[SourceFrame], parts: Sequence[Part], generator: Generator, rotation: int,
               options: DubOptions) -> Iterator[tuple[SourceFrame, av.VideoFrame, bool]]:
    """Frames through crop, generator and compositing: each with what it became, the given frame itself where nothing changed."""
    views: dict[int, FrameView] = {}
    done: list[tuple[Work, GeneratedFace]] = []
    for part in parts:
        track = part.person.track
        mine: list[Work] = []
        for item in group:
            if (row := row_of(track, item.index)) is None:
                continue
            if item.index not in views:
                views[item.index] = FrameView(own_frame(item.frame), rotation)
            time = float(item.time) - options.offset_ms / 1000
            if (work := work_of(views[item.index], track, row, item.index, time, generator.spec)) is not None:
                mine.append(work)
        if mine:
            done += zip(mine, generator.generate([work.item for work in mine], part.state))
    changed: set[int] = set()
    for work, face in done:
        difference = changes(work, face, options.blending)
        if difference is not None:
            views[work.frame].add(work.box, difference)
            changed.add(work.frame)
    for item in group:
        yield item, views[item.index].frame if item.index in changed else item.frame, item.index in changed


def _choose(analysis: Analysis, options: DubOptions, hooks: Hooks, video: object) -> list[FaceTrack]:
    chosen = choose(analysis.tracks, options.face, analysis.shot_starts)
    if not chosen:
        found = f"{len(analysis.tracks)} face(s), but none at {options.face!r}" if analysis.tracks else "no face"
        sentence = f"There is {found} in {video if isinstance(video, Path) else 'this video'}"
        if options.require_face:
            raise FaceError(f"{sentence}: choose another --face or another part of the clip, or leave out --require-face.")
        hooks.warn(f"{sentence}: the picture is passed through as it is.")
    return chosen


def _tell_lengths(analysis: Analysis, speech: Speech, hooks: Hooks) -> None:
    spoken = speech.duration
    if not analysis.complete:
        hooks.warn(f"The audio is the shorter one: the result ends with it, at {spoken:.2f} s.")
    elif spoken > analysis.end + float(Fraction(1, 10)):
        hooks.warn(f"The video is the shorter one: of {spoken:.2f} s of audio the first {analysis.end:.2f} s are used "
                   "(extend-video hold would keep the last picture for the rest).")


def _collecting(hooks: Hooks) -> tuple[Hooks, list[str]]:
    """The same hooks, warnings also kept in a list and sent to the log."""
    sentences: list[str] = []

    def warn(sentence: str) -> None:
        sentences.append(sentence)
        log.info(sentence)
        hooks.warn(sentence)

    return dataclasses.replace(hooks, warn=warn), sentences


__all__ = ["DubOptions", "DubReport", "dub"]
