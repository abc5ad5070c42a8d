"""Where the CPU seconds of a dub go, each kind of work by itself: `shares` for other benchmarks, which print it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lipsync_core import DubOptions, Encoding, Hooks
from lipsync_core.analysis import analyse
from lipsync_core.audio import load_speech
from lipsync_core.casting import Role
from lipsync_core.dubbing import cast_of, prepare_parts
from lipsync_core.faces import choose
from lipsync_core.generators import create_generator
from lipsync_core.heard import Hearing
from lipsync_core.making import make
from lipsync_core.media import VideoSource, VideoWriter

T = TypeVar("T")
AT_ONCE = 25
"""Frames that are decoded before they are worked on, so that the decoder's own threads stand still meanwhile."""


class _Timed:
    """A generator that adds up the CPU seconds of `generate`."""

    def __init__(self, inner: object) -> None:
        self.inner, self.spec, self.spent = inner, inner.spec, 0.0

    def generate(self, batch: list, state: object) -> list:
        made, _, spent = timed(lambda: self.inner.generate(batch, state))
        self.spent += spent
        return made


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it gives, its seconds, and its CPU seconds."""
    begin, spent = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - begin, time.process_time() - spent


def shares(clip: Path, speech: Path, work: Path, encoding: Encoding) -> dict[str, float]:
    """CPU seconds, all threads: decode (twice in a dub), detect and follow, hear, generate, blend (crops too), encode."""
    source, options, found = VideoSource(clip), DubOptions(), {}
    *_, decode = timed(lambda: sum(1 for _ in source.frames()))
    analysis, _, spent = timed(lambda: analyse(source, options.faces().create(), Hooks()))
    found |= {"decode, twice": 2 * decode, "detect and follow": spent - decode}
    generator = create_generator()
    chosen = choose(analysis.tracks, options.face, analysis.shot_starts)
    roles = [Role(track, said, (0,)) for said in [load_speech(speech)] for track in chosen]
    hearing = Hearing(generator, Hooks())
    parts, _, found["hear"] = timed(lambda: prepare_parts(cast_of(analysis, roles, generator, options, hearing), generator, options,
                                                          Hooks()))
    counted, all_of_it, frames = _Timed(generator), 0.0, source.frames()
    while group := list(itertools.islice(frames, AT_ONCE)):
        *_, spent = timed(lambda group=group: [list(make([item], parts, counted, source.info.rotation, options.blending))
                                               for item in group])
        all_of_it += spent
    found |= {"generate": counted.spent, "blend": all_of_it - counted.spent}

    def encode() -> None:
        with VideoWriter(work / "shares.mp4", source.info, encoding) as writer:
            for item in source.frames():
                writer.write(item.frame, item.pts)

    *_, spent = timed(encode)
    return found | {"encode": spent - decode}
