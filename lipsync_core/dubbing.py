"""The main job: a video and speech in, the video saying the speech out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import av

from .analysis import Analysis, analyse
from .casting import Line, Role
from .direction import Directed, direct, limit_of, lines_of, tell_lengths
from .errors import MediaError
from .files import state_of
from .generators import create_generator
from .generators.sparing import SparingGenerator
from .heard import Hearing
from .making import Part, make
from .media import FrameView, Origin, SourceFrame, VideoSource, VideoWriter, check_target, longer, plan
from .options import AUTO, DubOptions, Soundtrack, Voice
from .overlay import Overlay
from .passages import bypassed, check_passages
from .provenance.mark import Mark
from .soundtrack import Sound, sound_of
from .speaker_file import load_speakers
from .threads import Background, Prefetch
from .types import Drive, Generator, Hooks, Person, Speech

log = logging.getLogger(__name__)
Writer = TypeVar("Writer", bound=VideoWriter)


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
    people: list[list[int]] = field(default_factory=list)
    """Who was thought to be who: numbers of tracks, a list for each person, from the left; empty where nobody had to know."""
    turns: list[tuple[float, float, int]] = field(default_factory=list)
    """(from, to, person) of `speakers='auto'`: seconds, index in `people`."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"output": str(self.output)}


def dub(video: Path | str | BinaryIO, audio: Path | str | Speech | None, output: Path | str, options: DubOptions | None = None, *,
        hooks: Hooks | None = None, **changes: Any) -> DubReport:
    """Dub `video` (a file, or one that is open for reading; a photo too) with `audio` (a file, or `Speech`) into the file `output`.

    Options come as `DubOptions`, or one by one as keywords (`strength=1.2, face="all"`). With `voices=[Voice(0, "anna.wav"), Voice(1,
    "ben.wav")]` several people have their own recordings, and `audio` is None. Where the audio is shorter than the video or longer, the
    shorter one decides, unless `extend_video` or `extend_audio` says otherwise; a photo lasts as long as the audio. Frames without a usable
    face are the source's own, bit for bit before encoding.
    Memory does not grow with the clip. Raises `LipSyncError` and its kinds; the output appears whole or not at all.
    """
    options = checked(options or DubOptions(), **changes)
    hooks, warnings = collecting(hooks or Hooks())
    generator = generator_of(options)
    inputs = open_inputs(video, audio, output, options)
    source = inputs.source
    hearing = Hearing(generator, hooks)
    with hearing.ahead(inputs.lines[0].speech) if inputs.one_voice else nullcontext():
        analysis, directed = look(inputs, hooks)
        parts = prepare_parts(cast_of(analysis, directed.roles, generator, options, hearing), generator, options, hooks)
    overlay = Overlay(analysis.tracks, directed, parts, source.info.rotation, options.offset_ms / 1000) if options.overlay else None

    dubbed = count = 0
    writer = inputs.writer(analysis.end, hooks)
    with writer, Background(lambda item: writer.write(*item), 2) as encode, Prefetch(source.frames(), 2) as frames:
        for item, frame, changed in made(frames, parts, generator, options, source.info.rotation, analysis.frames, hooks):
            dubbed, count = dubbed + changed, count + 1
            hooks.show(lambda side, frame=frame: FrameView(frame, source.info.rotation).thumbnail(side))
            encode.put((overlay.draw(frame, item, changed) if overlay else frame, item.pts))
        inputs.check_unchanged()
    inputs.sound.tell(hooks)
    return DubReport(inputs.output, count, dubbed, count - dubbed, analysis.end, len(analysis.tracks),
                     [part.person.track.track_id for part in parts], warnings, directed.people, directed.turns)


def checked(options: DubOptions, **changes: Any) -> DubOptions:
    """The same with `changes`, and speaker data read. Raises `LipSyncError` for what can't be."""
    options = dataclasses.replace(options, **changes)
    options.check()
    if isinstance(options.speakers, (str, Path)) and options.speakers != AUTO:
        options = dataclasses.replace(options, speakers=load_speakers(options.speakers))        # what is malformed is said at once
    return options


@dataclass(frozen=True)
class Inputs:
    """What a dub reads and where it goes, opened and checked."""

    video: Path | BinaryIO
    output: Path
    options: DubOptions
    lines: list[Line]
    source: VideoSource
    sound: Sound
    given: list[tuple[str, Path]]
    """Video and speech on paths, each with which of them it is."""
    state: tuple[int, int] | None
    """Of the video's file when it was opened, see `files.state_of`."""

    def check_unchanged(self) -> None:
        """Raise `MediaError` where the video is not what it was: what was seen in one reading does not fit what another one gave."""
        if state_of(self.video) != self.state:
            raise MediaError(f"{self.video} changed while it was read: wait until it is whole, and begin again.")

    @property
    def one_voice(self) -> bool:
        """Whether whoever says something says the one recording."""
        return not self.options.voices and self.options.speakers is None

    @property
    def spoken(self) -> float:
        """Seconds at which the last recording ends."""
        return max(line.end for line in self.lines)

    def writer(self, end: float, hooks: Hooks, kind: type[Writer] = VideoWriter) -> Writer:
        """The result's file, `end` seconds long."""
        options, info = self.options, self.source.info
        return kind(self.output, info, options.encoding, audio=self.sound.track(end), second=self.sound.original,
                    carry=None if info.still else Origin(self.video, options.start, end),
                    mark=Mark(options.sign, self.given) if options.mark else None, warn=hooks.warn)


def open_inputs(video: Path | str | BinaryIO, audio: Path | str | Speech | None, output: Path | str, options: DubOptions) -> Inputs:
    """Raises `LipSyncError` and its kinds for what can't be read or written."""
    output = Path(output)
    video = Path(video) if isinstance(video, (str, Path)) else video
    state = state_of(video)
    lines = lines_of(audio, options)
    source = source_of(video, options, max(line.end for line in lines))
    check_target(output, _given(video, audio, options))
    if options.sign is not None:
        options.sign.check(output)
    plan(options.encoding, source.info, output, lambda sentence: None)            # what can't be encoded is said at once
    return Inputs(video, output, options, lines, source, sound_of(video, lines, options, source.info),
                  _read(video, audio, options), state)


def source_of(video: Path | str | BinaryIO, options: DubOptions, spoken: float) -> VideoSource:
    """The frames of a dub whose last recording ends at `spoken` seconds."""
    return longer(video, options.extend_video, spoken, tail=options.extend_seconds, start=options.start, duration=options.duration,
                  fps=options.fps, deinterlace=options.deinterlace)


def look(inputs: Inputs, hooks: Hooks) -> tuple[Analysis, Directed]:
    """Who is where in the clip, and who says what."""
    options, source, spoken = inputs.options, inputs.source, inputs.spoken
    if source.info.interlaced and not options.deinterlace:
        hooks.warn("The video is interlaced: its lines are kept as they are, and a mouth that moves between them may show combs "
                   "(deinterlace makes whole frames of it).")
    analysis = analyse(source, options.faces().create(), hooks, limit=limit_of(options, spoken), smoothing=options.smoothing)
    directed = direct(inputs.video, analysis, inputs.lines, options, source, hooks)
    tell_lengths(analysis, spoken, options, hooks)
    return analysis, directed


def made(frames: Iterable[SourceFrame], parts: Sequence[Part], generator: Generator, options: DubOptions, rotation: int, end: int,
         hooks: Hooks) -> Iterator[tuple[SourceFrame, av.VideoFrame, bool]]:
    """The frames before number `end`, what they became, and whether something did, as `making.make` gives them."""
    for group in _groups(frames, min(options.batch_size, generator.spec.batch_size), end):
        hooks.check_interrupt()
        yield from make(group, parts, generator, rotation, options.blending)
        hooks.progress("generate", group[-1].index + 1, end)


def generator_of(options: DubOptions) -> Generator:
    """The generator that is asked for, with its restorer."""
    generator = options.generator
    if isinstance(generator, (str, Path)):
        generator = create_generator(generator, options.generator_options)
    if options.restore is not None and options.restore_strength > 0:
        from .generators.restorers import with_restorer

        generator = with_restorer(generator, options.restore, options.restore_strength)
    return SparingGenerator(generator) if generator.spec.batch_size > 1 else generator


def _read(video: object, audio: object, options: DubOptions) -> list[tuple[str, Path]]:
    """Video and speech that are files, for those who want to know what a result was made from."""
    files = [("video", video), ("speech", audio), *(("speech", voice.speech) for voice in options.voices)]
    return [(role, Path(file)) for role, file in files if isinstance(file, (str, Path))]


def _given(*inputs: object) -> list[Path]:
    """The files that are read: the result must be none of them."""
    *inputs, options = inputs
    sound = options.soundtrack
    inputs = [*inputs, *(voice.speech for voice in options.voices), sound.file, sound.background, options.speakers]
    return [Path(item) for item in inputs if isinstance(item, (str, Path))]


def cast_of(analysis: Analysis, roles: Sequence[Role], generator: Generator, options: DubOptions,
            hearing: Hearing) -> list[tuple[Person, Any]]:
    """Everybody who says something, and what the generator heard of it."""
    passages = check_passages(options.bypass)
    # A face in a passage is as good a reference as any.
    return [(Person(bypassed(role.track, passages, options.start), analysis.references(role.track, generator.spec.references)),
             hearing(role.speech)) for role in roles]


def prepare_parts(people: Iterable[tuple[Person, Any]], generator: Generator, options: DubOptions, hooks: Hooks) -> list[Part]:
    """Let the generator see each person once."""
    drive = Drive(options.strength, options.silence)
    return [Part(person, generator.start(person, heard, drive, hooks), options.offset_ms / 1000) for person, heard in people]


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


def collecting(hooks: Hooks) -> tuple[Hooks, list[str]]:
    """The same hooks, warnings also kept in a list and sent to the log."""
    sentences: list[str] = []

    def warn(sentence: str) -> None:
        sentences.append(sentence)
        log.info(sentence)
        hooks.warn(sentence)

    return dataclasses.replace(hooks, warn=warn), sentences


__all__ = ["DubOptions", "DubReport", "Soundtrack", "Voice", "dub"]
