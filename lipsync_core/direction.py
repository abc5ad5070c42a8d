"""Who speaks when in a dub: from what the user wants and what was found in the clip to roles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .analysis import Analysis
from .audio import load_speech
from .casting import Line, Role, cast, on_time, people_of, shown, tracks_of
from .errors import FaceError, LipSyncError, MediaError
from .faces import choose
from .marks import Marks, as_speakers, mark
from .media import VideoSource
from .options import AUTO, DubOptions
from .speaker_file import FrameSpeakers
from .types import SPEECH_RATE, Hooks, Speech

if TYPE_CHECKING:
    from .speaking import Turns

REST = 0.5
"""Seconds of silence after a recording that ends before the picture: the mouth comes to rest in them."""
LEEWAY = 0.1
"""Seconds by which the lengths of speech and picture may differ without a word."""


@dataclass(frozen=True)
class Directed:
    """Who says what in a clip."""

    roles: list[Role]
    people: list[list[int]] = field(default_factory=list)
    """Numbers of tracks, a list for each person, from the left; empty where nobody had to know."""
    turns: list[tuple[float, float, int]] = field(default_factory=list)
    """(from, to, person): the source's own turns, where they were asked for."""
    marks: Mapping[int, Marks] | None = None
    """What speaker data say of each track, by its number."""


def lines_of(audio: Path | str | Speech | None, options: DubOptions) -> list[Line]:
    """What is said: the one recording, or those of `options.voices`. Raises `LipSyncError`."""
    if options.voices and audio is not None:
        raise LipSyncError("There are both a recording and voices: give one recording for everybody, or a voice for each person.")
    if not options.voices and audio is None:
        raise LipSyncError("There is nothing to say: give a recording, or a voice for each person.")
    if not options.voices:
        speech = audio if isinstance(audio, Speech) else load_speech(audio, start=options.audio_start)
        return [Line(options.face, _rested(speech, options), "the recording", 0.0, speech.duration)]
    lines = []
    for voice in options.voices:
        speech = voice.speech if isinstance(voice.speech, Speech) else load_speech(voice.speech)
        name = voice.speech if isinstance(voice.speech, (str, Path)) else "a recording"
        lines.append(Line(voice.who, _rested(on_time(speech, voice.offset), options), f"the voice {shown(voice.who)} ({name})",
                          voice.offset, speech.duration + voice.offset))
        if lines[-1].end <= 0:
            raise LipSyncError(f"Nothing is left of {lines[-1].name}: it is shorter than the {-voice.offset:g} s that are left out.")
        if not isinstance(voice.who, (int, tuple)) and voice.who not in ("largest", "all") and not voice.who.startswith("#") \
                and options.speakers is None:
            raise LipSyncError(f"Nothing says who {voice.who!r} is: give speaker data that name this speaker, or choose a person by a "
                               "number from the left, a point, or tracks such as #2.")
    return lines


def _rested(speech: Speech, options: DubOptions) -> Speech:
    """With a little silence at its end, where the picture goes on after it."""
    if not options.voices and options.extend_audio == "off":
        return speech
    return dataclasses.replace(speech, samples=np.concatenate([speech.samples, np.zeros(round(REST * SPEECH_RATE), np.float32)]))


def limit_of(options: DubOptions, spoken: float) -> float | None:
    """Seconds at which the result ends at the latest; None where the picture decides."""
    return None if options.extend_audio == "silence" else spoken


def direct(video: object, analysis: Analysis, lines: Sequence[Line], options: DubOptions, source: VideoSource, hooks: Hooks) -> Directed:
    """Roles for a clip that was analysed. Raises `FaceError` with `require_face`, and `LipSyncError` for unusable speaker data."""
    tracks = analysis.tracks
    if not options.voices and options.speakers is None:
        chosen = choose(tracks, options.face, analysis.shot_starts)
        if not chosen:
            _nobody(f"none at {options.face!r}", analysis, options, hooks, video)
        return Directed([Role(track, lines[0].speech, (0,)) for track in chosen])
    people = people_of(analysis)
    found: list[tuple[float, float, int]] = []
    first, data = round(options.start * float(source.frame_rate)), options.speakers
    if data == AUTO:
        said = turns_of(video, options.start, analysis, people, hooks)
        found, data, first = said.spans(), speakers_of(analysis, people, source.size, said), 0
    if options.voices:
        assigned = [tracks_of(line.who, tracks, people) for line in lines]
        default = set().union(*assigned)
    else:
        assigned = [{track.track_id for track in tracks}]
        default = {track.track_id for track in choose(tracks, options.face, analysis.shot_starts)}
    marks = None if data is None else mark(tracks, data, default, first, hooks.warn)
    roles = cast(tracks, lines, assigned, marks, hooks.warn if tracks and options.voices else lambda sentence: None)
    if not roles:
        _nobody("nobody who speaks", analysis, options, hooks, video)
    return Directed(roles, people, found, marks)


def turns_of(video: object, start: float, analysis: Analysis, people: Sequence[Sequence[int]], hooks: Hooks) -> Turns:
    """Who speaks when in the clip itself. Raises `MediaError` where it has no sound."""
    from .speaking import turns

    try:
        sound = load_speech(video, start=start)
    except MediaError as error:
        raise MediaError(f"Who speaks when can't be told without the video's own sound: {error}") from error
    return turns(analysis.tracks, sound.samples, people=people, check=hooks.check_interrupt)


def speakers_of(analysis: Analysis, people: Sequence[Sequence[int]], size: tuple[int, int], said: Turns | None) -> list[FrameSpeakers]:
    """The clip as speaker data; without turns everybody speaks."""
    return as_speakers(analysis.tracks, people, analysis.frames, size, (lambda person, time: True) if said is None else said.speaks)


def _nobody(what: str, analysis: Analysis, options: DubOptions, hooks: Hooks, video: object) -> None:
    found = f"{len(analysis.tracks)} face(s), but {what}" if analysis.tracks else "no face"
    sentence = f"There is {found} in {video if isinstance(video, Path) else 'this video'}"
    if options.require_face:
        raise FaceError(f"{sentence}: choose another --face or another part of the clip, or leave out --require-face.")
    hooks.warn(f"{sentence}: the picture is passed through as it is.")


def tell_lengths(analysis: Analysis, spoken: float, options: DubOptions, hooks: Hooks) -> None:
    """One line where speech or picture is cut off."""
    if not analysis.complete:
        hooks.warn(f"The audio is the shorter one: the result ends with it, at {spoken:.2f} s (extend-audio silence keeps the whole "
                   "picture).")
    elif options.extend_video == "off" and spoken > analysis.end + LEEWAY:
        hooks.warn(f"The video is the shorter one: of {spoken:.2f} s of audio the first {analysis.end:.2f} s are used (extend-video hold, "
                   "forward or bounce goes on with the picture).")
