"""Is the one who speaks told from those who don't? Dialogues with known turns, put together from real clips of single speakers.

    python benchmarks/speakers.py MEDIA [--constants]

Faces are followed in each clip alone; tracks and sounds are then put side by side, each clip's sound moved by its own lag. Figures are of
people that no constant of `lipsync_core/speaking.py` was chosen on; --constants shows those that they were.

easy        turns of 2 to 5 s; who does not speak is still
hard        the same, but both go on moving their lips all the time, as if both talked and one was heard
listening   the same, who does not speak makes faces (clips of strong expressions)
interview   cuts between the two at every turn; in a third of the turns the listener is shown instead, making faces
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lipsync_core import speaking
from lipsync_core.analysis import analyse
from lipsync_core.audio import load_speech
from lipsync_core.errors import MediaError
from lipsync_core.faces import create_backend
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.media import VideoSource
from lipsync_core.types import SPEECH_RATE, FaceTrack, Hooks

SECONDS = 20.0
RATE = 25.0
CHOSEN_ON = ("edtalk_pose2", "mimictalk_german", "dhlive_demo", "latentsync_demo3", "astorfi_sample", "vretalking_1", "dfrf_french")
"""Clips that the constants were chosen on; all others are reported."""
CONNECTED = 0.35
"""A clip is used whose lips go this well with its own sound: dubbed and late ones have no known truth."""


@dataclass(frozen=True)
class Talker:
    """A clip of one speaker."""

    name: str
    track: FaceTrack
    sound: np.ndarray
    """At 16 kHz, in step with the picture."""

    @property
    def seconds(self) -> float:
        return min(len(self.sound) / SPEECH_RATE, float(self.track.times[-1]))


def load(file: Path, need_sound: bool) -> Talker | None:
    source = VideoSource(file, duration=SECONDS)
    analysis = analyse(source, create_backend(), Hooks())
    if not analysis.tracks or len(analysis.tracks[0]) < 0.9 * analysis.frames:
        return None
    track = replace(analysis.tracks[0], track_id=0)
    if not need_sound:
        return Talker(file.stem, track, np.zeros(round(track.times[-1] * SPEECH_RATE), np.float32))
    try:
        sound = load_speech(file, duration=SECONDS).samples
    except MediaError:
        return None
    times = np.arange(round(min(len(sound) / SPEECH_RATE, track.times[-1]) * RATE)) / RATE
    heard = NetArticulation()(sound, times).opening
    opening = np.interp(times, track.times, speaking.mouth_opening(track.landmarks))
    lags = np.arange(-8, 9)
    fit = [np.corrcoef(opening[8:-8], np.roll(heard, -lag)[8:-8])[0, 1] for lag in lags]
    if max(fit) < CONNECTED:
        return None
    late = round(int(lags[int(np.argmax(fit))]) / RATE * SPEECH_RATE)
    sound = sound[late:] if late > 0 else np.concatenate([np.zeros(-late, np.float32), sound])
    return Talker(file.stem, track, sound)


@dataclass(frozen=True)
class Scene:
    tracks: list[FaceTrack]
    people: list[list[int]]
    sound: np.ndarray
    truth: np.ndarray
    """Who speaks, `RATE` a second."""


def turns_of(rng: np.random.Generator, seconds: float) -> np.ndarray:
    truth, who = [], int(rng.integers(2))
    while len(truth) < seconds * RATE:
        truth += [who] * round(float(rng.uniform(2, 5)) * RATE)
        who = 1 - who
    return np.array(truth[:round(seconds * RATE)])


def scene(kind: str, pair: tuple[Talker, Talker], listener: Talker, rng: np.random.Generator) -> Scene:
    seconds = min(pair[0].seconds, pair[1].seconds)
    truth = turns_of(rng, seconds)
    fine = np.repeat(truth, round(SPEECH_RATE / RATE))
    sound = np.zeros(len(fine), np.float32)
    for who, one in enumerate(pair):
        part = one.sound[:len(fine)]
        sound[:len(part)] += part * (fine == who)[:len(part)] * (0.1 / max(float(np.sqrt((part ** 2).mean())), 1e-4))
    tracks, people = [], []
    shows = [[True] * len(truth)] * 2
    if kind == "interview":
        starts = [0, *(np.flatnonzero(np.diff(truth)) + 1).tolist()]
        seen = truth.copy()
        for begin, end in itertools.pairwise([*starts, len(truth)]):
            if rng.random() < 1 / 3:
                seen[begin:end] = 1 - seen[begin:end]
        shows = [(seen == who).tolist() for who in range(2)]
    for who, one in enumerate(pair):
        rows = np.clip(np.searchsorted(one.track.times, np.arange(len(truth)) / RATE), 0, len(one.track) - 1)
        points = one.track.landmarks[rows].copy()
        quiet = truth != who
        if kind == "easy":
            held = points[0]
            for i in range(len(truth)):
                held = points[i] if not quiet[i] else held
                points[i] = held + rng.normal(0, 0.3, held.shape)
        elif kind in ("listening", "interview"):
            points[quiet] = moved(listener, len(truth))[quiet]
        people.append([])
        here = np.array(shows[who])
        edges = np.flatnonzero(np.diff(here.astype(int))) + 1
        for begin, end in itertools.pairwise([0, *edges.tolist(), len(here)]):
            if here[begin] and end - begin > 2:
                frames = np.arange(begin, end)
                people[-1].append(len(tracks))
                tracks.append(replace(one.track, frames=frames, times=frames / RATE, landmarks=points[begin:end].astype(np.float32),
                                      boxes=one.track.boxes[rows[begin:end]], scores=one.track.scores[rows[begin:end]],
                                      pose=one.track.pose[rows[begin:end]], activation=one.track.activation[rows[begin:end]],
                                      covered=None, track_id=len(tracks)))
    return Scene(tracks, people, sound, truth)


def moved(listener: Talker, count: int) -> np.ndarray:
    """The listener's landmarks, backwards and forwards as long as needed."""
    there = np.concatenate([np.arange(len(listener.track)), np.arange(len(listener.track))[::-1]])
    return listener.track.landmarks[np.resize(there, count)]


def right(one: Scene, said: speaking.Turns) -> tuple[int, int]:
    """Seconds (in frames) that are right, and all in which somebody speaks. Who is not in the picture is right if nobody else is named."""
    count = min(len(one.truth), len(said.speaker))
    good = total = 0
    visible = np.zeros((len(one.people), len(one.truth)), bool)
    for person, numbers in enumerate(one.people):
        for number in numbers:
            visible[person, one.tracks[number].frames] = True
    for moment in range(count):
        if not said.voiced[moment]:
            continue
        total += 1
        who, named = one.truth[moment], said.speaker[moment]
        good += named == who or (not visible[who, moment] and (named < 0 or not visible[named, moment]))
    return good, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--constants", action="store_true", help="the clips that constants were chosen on, instead of the others")
    chosen = parser.parse_args()
    talkers, listeners = clips(chosen.media)
    talkers = [one for one in talkers if (one.name in CHOSEN_ON) == chosen.constants]
    listeners = listeners[::2] if chosen.constants else listeners[1::2]
    sys.stdout.write(f"{len(talkers)} speakers: {', '.join(one.name for one in talkers)}; {len(listeners)} listeners\n")
    for kind in ("easy", "hard", "listening", "interview"):
        rng, shares = np.random.default_rng(4), []
        for i, pair in enumerate(itertools.combinations(talkers, 2)):
            if min(one.seconds for one in pair) < 4:
                continue
            made = scene(kind, pair, listeners[i % len(listeners)], rng)
            said = speaking.turns(made.tracks, made.sound, people=made.people)
            shares.append(right(made, said))
        good, total = np.array(shares).sum(0)
        each = np.array([a / max(b, 1) for a, b in shares])
        sys.stdout.write(f"{kind:10} {good / total:.3f} of {total / RATE:.0f} s right; scenes: median {np.median(each):.2f}, worst tenth "
                         f"{np.quantile(each, 0.1):.2f}\n")


def clips(media: Path) -> tuple[list[Talker], list[Talker]]:
    """Who talks, with sound, and who makes faces."""
    files = [file for file in sorted((media / "talking").iterdir()) if file.suffix in (".mp4", ".mpg") and "grid" not in file.name]
    talkers = [one for file in files if (one := load(file, True)) is not None]
    return talkers, [one for file in sorted((media / "expressions").glob("*.mp4")) if (one := load(file, False)) is not None]


if __name__ == "__main__":
    main()
