"""Frames and sound go in as they come, dubbed frames come out a fixed look-ahead later.

What `dubbing.dub` knows of a whole clip is known here of the last `HISTORY` seconds and of the look-ahead. Every `HOP` of the stream the
tracks are worked out anew from that (smoothing, activation, who is chosen, the person's mouth at rest), by the same functions, and the
frames of the hop are made with them by the same `making.make`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soxr

from ..analysis import references_of
from ..casting import Line, cast
from ..errors import LipSyncError
from ..faces import FaceRule, Tracker
from ..making import Part, make
from ..marks import mark
from ..media import FrameView, SourceFrame
from ..options import DubOptions
from ..passages import bypassed, check_passages
from ..speaker_file import FrameSpeakers
from ..threads import Background
from ..types import SPEECH_RATE, Drive, FaceTrack, Hooks, Person, Speech
from .cast import Choice, Gallery, People, SpeakerStream, VoiceOf
from .listening import listen

SHORTEST, LONGEST = 0.8, 1.0
"""Seconds of look-ahead. The longest is the reference system's 30 frames. With less than the shortest (0.6 s was tried: the ear in windows
of 0.08 s, a hop of 0.1 s) the same work is done so often that 720p on two cores falls behind."""
HISTORY, ROWS = 6.0, 240
"""Seconds, and frames at most, of the past from which tracks are worked out: three of the widths over which a person's own mouth is learned
(`generators.morph.geometry.SHAPE`)."""
HOP = Fraction(1, 5)
"""Seconds: how often tracks are worked out."""
AHEAD = 4
"""Frames that may wait for the thread that follows faces."""
EASE = 1.0
"""How fast a new strength comes, a second."""
CHANGES = ("strength", "silence", "face", "offset_ms", "blending", "batch_size")
"""Options that may change while a stream runs, besides `bypass`."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame that comes out."""

    index: int
    """From 0, in the order in which they went in."""
    time: Fraction
    """As it went in, seconds."""
    frame: av.VideoFrame
    """In the format in which it went in; the very same frame where nothing was changed."""
    dubbed: bool
    """Whether a mouth was changed in it."""

    def rgb(self) -> np.ndarray:
        """RGB uint8 (h, w, 3), as stored (not rotated)."""
        return self.frame.to_ndarray(format="rgb24")


class LiveDubber:
    """Dubs a stream. Not for several threads at once.

        live = LiveDubber(strength=1.1)
        for frame, time in camera:
            live.push_audio(microphone.read(), 48_000)
            live.push_frame(frame, time)
            for out in live.pull():
                show(out.rgb())
        show_all(live.flush())

    Options are those of `dub` that don't need a whole clip: generator and its options, restorer, face, speakers come with the frames,
    strength, silence, offset, face models, smoothing, blending, batch size, bypass (seconds of the stream). `voices`: several people, each
    with a sound of their own (`push_audio(..., voice=1)`): who has which, as `face`; a number is a person's, from the left as they are
    first seen, and a person keeps the voice in later shots.
    `lookahead`: seconds, 0.8 to 1; the shorter one hears a little worse. `rotation` as in `media.VideoInfo`, of the frames. `threaded`:
    faces are followed in a thread of its own, so that `push_frame` returns at once (no more frames a second: `benchmarks/live.py`); use it
    as a context manager then, or `close` it. Else it has no threads. Raises `LipSyncError` for options out of range.
    """

    def __init__(self, options: DubOptions | None = None, *, lookahead: float = LONGEST, voices: Sequence[FaceRule] = (), rotation: int = 0,
                 threaded: bool = False, hooks: Hooks | None = None, **changes: Any) -> None:
        from ..dubbing import generator_of

        self.options = replace(options or DubOptions(), **changes)
        self.options.check()
        if not SHORTEST <= lookahead <= LONGEST:
            raise LipSyncError(f"A look-ahead of {lookahead:g} s is out of range: use {SHORTEST:g} to {LONGEST:g}.")
        if self.options.voices or self.options.speakers is not None:
            raise LipSyncError("A stream takes no files of voices or speaker data: name who says which sound in voices=(0, 1), and give "
                               "speaker data with each frame.")
        self.lookahead, self._rotation, self._hooks = float(lookahead), rotation, hooks or Hooks()
        self._generator = generator_of(self.options)
        self._tracker = Tracker(self.options.faces().create(), smoothing=self.options.smoothing)
        self._choice = Choice(self.options.face)
        self._voices, self._people = [VoiceOf(rule) for rule in voices], People()
        count = len(voices) or 1
        # A frame's worth of sound may come with the next frame.
        self._listeners = [listen(self._generator, self.lookahead - float(HOP) - 0.02) for _ in range(count)]
        self._resamplers: list[tuple[int, soxr.ResampleStream] | None] = [None] * count
        self._ended = [False] * count
        self._waiting: deque[SourceFrame] = deque()
        self._made: deque[LiveFrame] = deque()
        self._count, self._newest = 0, Fraction(-1)
        self._followed = Fraction(-1)
        """Time of the newest frame in which faces were followed."""
        self._following = threading.Lock()
        self._thread = Background(lambda item: self._follow(*item), AHEAD).__enter__() if threaded else None
        self._passages = list(self.options.bypass)
        self._speakers = SpeakerStream()
        self._galleries: dict[int, Gallery] = {}
        self._states: dict[tuple[int, int], Any] = {}
        self._parts: list[Part] = []
        self._planned, self._until = -1, Fraction(-1)
        self._strength: float | None = None
        self._flushing = self._cut = False

    def __enter__(self) -> LiveDubber:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(kind)

    def close(self, kind: type[BaseException] | None = None) -> None:
        """Let go of the thread, if there is one; `kind` is the error because of which nobody wants the rest."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.__exit__(kind)

    # -- in --------------------------------------------------------------------------------------------------------------

    def push_frame(self, frame: av.VideoFrame | np.ndarray, time: float | Fraction, speakers: FrameSpeakers | None = None) -> None:
        """The next frame: a decoded one, or RGB uint8 (h, w, 3), shown `time` seconds after the stream's beginning (its sound's, too).
        `speakers`: who is where and speaks in it. Raises `LipSyncError` for a time that is not after the last one."""
        time = Fraction(time).limit_denominator(1_000_000)
        if time <= self._newest:
            raise LipSyncError(f"Frame {self._count} has the time {float(time):g} s, and the one before it {float(self._newest):g} s: give "
                               "frames in the order in which they are shown.")
        if not isinstance(frame, av.VideoFrame):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        item = SourceFrame(self._count, time, self._count, frame)
        cut, self._cut = self._cut, False
        if self._thread is not None:
            self._thread.put((item, cut))
        else:
            self._follow(item, cut)
        if speakers is not None:
            self._speakers.put(self._count, speakers)
        self._waiting.append(item)
        self._count, self._newest = self._count + 1, time

    def _follow(self, item: SourceFrame, cut: bool) -> None:
        with self._following:
            if cut:
                self._tracker.cut()
            self._tracker.feed(item.index, float(item.time), FrameView(item.frame, self._rotation))
        self._followed = item.time

    def push_audio(self, samples: np.ndarray, rate: int = SPEECH_RATE, voice: int = 0) -> None:
        """The next samples of a voice: float -1..1, (n,) or (channels, n), at `rate` Hz; the first one is heard at 0 s of the stream.
        Where nobody speaks, push silence: frames wait for their sound."""
        samples = np.nan_to_num(np.asarray(samples, np.float32))
        if samples.ndim > 1:
            samples = samples.mean(0)
        if rate != SPEECH_RATE:
            known = self._resamplers[voice]
            if known is None or known[0] != rate:
                known = self._resamplers[voice] = rate, soxr.ResampleStream(rate, SPEECH_RATE, 1, dtype="float32")
            samples = known[1].resample_chunk(samples)
        self._listeners[voice].push(samples)

    def end_audio(self, voice: int | None = None) -> None:
        """A voice (None: every one) has said all: its mouth rests from there on, and frames no longer wait for it."""
        for number in range(len(self._listeners)) if voice is None else (voice,):
            if not self._ended[number]:
                known, rest = self._resamplers[number], np.zeros(0, np.float32)
                if known is not None:
                    rest = known[1].resample_chunk(rest, last=True)
                self._listeners[number].push(rest, last=True)
                self._ended[number] = True

    def change(self, **changes: Any) -> None:
        """Other options for all frames that are not made yet: strength (it comes gently), silence, face, offset_ms, blending, batch_size.
        And `bypass=True` or `False`: whether the source's own mouth shows from the next frame that is pushed on. Raises `LipSyncError`."""
        bypass = changes.pop("bypass", None)
        unknown = [name for name in changes if name not in CHANGES]
        if unknown:
            raise LipSyncError(f"{unknown[0]} can't change while a stream runs: only {', '.join(CHANGES)} and bypass can.")
        options = replace(self.options, **changes)
        options.check()
        self.options = options
        if "face" in changes:
            self._choice = Choice(options.face)
        now, running = float(self._newest) + 1e-3, bool(self._passages) and self._passages[-1][1] == float("inf")
        if bypass and not running:
            self._passages.append((max(now, 0.0), float("inf")))
        elif bypass is False and running:
            begin, _ = self._passages.pop()
            if now > begin:
                self._passages.append((begin, now))

    def reset(self) -> None:
        """The next frame begins a new shot: nobody is followed into it."""
        self._cut = True

    # -- out -------------------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether frames are due that wait for their sound only."""
        return bool(self._waiting) and self._due(self._waiting[0]) and not self._heard(self._until_of(self._waiting[0]))

    def pull(self) -> Iterator[LiveFrame]:
        """The frames that can be made now, in order; each is made when it is asked for, and what is not asked for comes next time."""
        while self._made or self._waiting:
            if self._made:
                yield self._made.popleft()
                continue
            first = self._waiting[0]
            if not self._due(first):
                return
            if first.index > self._planned:
                if not self._heard(self._until_of(first)):
                    return
                self._plan(first)
            # A network gains by several faces at a time, so that a hop's frames come together.
            batch = min(self.options.batch_size, self._generator.spec.batch_size)
            group = []
            while self._waiting and len(group) < batch and self._waiting[0].index <= self._planned:
                group.append(self._waiting.popleft())
            self._made += [LiveFrame(item.index, item.time, frame, changed) for item, frame, changed
                           in make(group, self._parts, self._generator, self._rotation, self.options.blending)]

    def flush(self) -> Iterator[LiveFrame]:
        """All that is left: no more frames and no more sound come."""
        self.end_audio()
        if self._thread is not None:
            self._thread.join()
        self._flushing = True
        yield from self.pull()

    def _due(self, item: SourceFrame) -> bool:
        return self._flushing or self._followed - item.time >= Fraction(self.lookahead).limit_denominator(1000)

    def _until_of(self, item: SourceFrame) -> Fraction:
        """The end of the hop that a frame begins."""
        return self._until if item.index <= self._planned else item.time + HOP

    def _heard(self, until: Fraction) -> bool:
        late = self.options.offset_ms / 1000
        return all(listener.until >= float(until) - late for listener in self._listeners)

    def _plan(self, first: SourceFrame) -> None:
        """Work out who does what in the hop that begins with the frame `first`."""
        self._until = self._until_of(first)
        self._planned = max(item.index for item in self._waiting if item.time < self._until)
        with self._following:
            found, shots = self._tracker.tracks(), list(self._tracker.shot_starts)
            references = {track.track_id: references_of(track, album, self._generator.spec.references) for track, album in found}
            tracks = [track for track, _ in found]
            if self._voices:
                self._people.see(tracks, {track.track_id: album for track, album in found})
        assigned = [voice(tracks, self._people, first.index) for voice in self._voices] or [self._choice(tracks, shots, first.index)]
        marks = None
        if self._speakers:
            everybody = {track.track_id for track in tracks}
            marks = mark(tracks, self._speakers, set().union(*assigned))
            assigned = assigned if self._voices else [everybody]
        lines = [Line(who.rule, Speech(np.zeros(0, np.float32))) for who in self._voices or [self._choice]]
        roles = cast(tracks, lines, assigned, marks, lambda sentence: None)
        drive = Drive(self._eased(), self.options.silence)
        heard = [listener.heard() for listener in self._listeners]
        states, self._parts = {}, []
        for role in roles:
            track = bypassed(role.track, check_passages(self._passages))
            if not self._shows(track, first.index):
                continue
            gallery = self._galleries.setdefault(track.track_id, Gallery())
            gallery.offer(references[track.track_id])
            key = track.track_id, role.lines[0]
            what, begin = heard[role.lines[0]]
            person = Person(track, gallery.references)
            states[key] = self._generator.start(person, what, drive, self._hooks, self._states.get(key))
            self._parts.append(Part(person, states[key], begin + self.options.offset_ms / 1000))
        self._states = {key: state for key, state in self._states.items() if key[0] in references} | states
        self._galleries = {number: gallery for number, gallery in self._galleries.items() if number in references}
        self._forget(first)

    def _shows(self, track: FaceTrack, first: int) -> bool:
        low, high = np.searchsorted(track.frames, [first, self._planned + 1])
        return bool((track.activation[low:high] > 0).any())

    def _eased(self) -> float:
        """The strength of this hop."""
        wanted, most = self.options.strength, EASE * float(HOP)
        self._strength = wanted if self._strength is None else self._strength + float(np.clip(wanted - self._strength, -most, most))
        return self._strength

    def _forget(self, first: SourceFrame) -> None:
        rate = self._count / max(float(self._newest), 1e-3)
        before = float(first.time) - min(HISTORY, ROWS / max(rate, 1e-3))
        with self._following:
            self._tracker.forget(before)
        for listener in self._listeners:
            listener.forget(float(first.time) - self.options.offset_ms / 1000 - 0.5)
        self._speakers.forget(first.index - ROWS)
        self._passages = [passage for passage in self._passages if passage[1] > before]


