"""Is the one who speaks told from those who don't? Dialogues with known turns, put together from real clips of single speakers.

    python benchmarks/speakers.py MEDIA [--constants]

Faces are followed in each clip alone (and kept in the folder for temporary files, since that takes longest); tracks and sounds are then put
side by side, each clip's sound moved by its own lag. Figures are of people that no constant of `lipsync_core/speaking.py` was chosen on;
--constants shows those that they were. Turns change in the middle of a word, which nobody does: most of what is wrong lies within a third
of a second of a change.

easy        turns of 2 to 5 s; who does not speak is still
hard        the same, but both go on moving their lips all the time, as if both talked and one was heard
listening   the same, who does not speak makes faces (clips of strong expressions)
late        hard, and all the sound 0.16 s late
interview   cuts between the two at every turn; in a third of the turns the listener is shown instead, making faces
narrator    a third one speaks, who is not seen; the two in the picture are still
commentary  the same, the two make faces
alone       one face, and the sound is its own
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from lipsync_core import speaking
from lipsync_core.analysis import analyse
from lipsync_core.audio import load_speech
from lipsync_core.errors import MediaError
from lipsync_core.faces import create_backend
from lipsync_core.faces.geometry import mouth_opening
from lipsync_core.generators.morph.articulation import NetArticulation
from lipsync_core.media import VideoSource
from lipsync_core.types import SPEECH_RATE, FaceTrack, Hooks

SECONDS = 20.0
RATE = 25.0
STEP = round(SPEECH_RATE / RATE)
SHORTEST = 2.5
"""Seconds of a clip at least."""
PAIRS = 70
"""Pairs of people, so that a first run stays below four minutes."""
LATE = 0.16
EDGE = 8
"""Frames before and after a change that count as its own."""
CHOSEN_ON = ("edtalk_pose2", "mimictalk_german", "dhlive_demo", "latentsync_demo3", "astorfi_sample", "vretalking_1", "dfrf_french")
"""Clips that the constants were chosen on; all others are reported."""
LEFT_OUT = ("dhlive_000001", "testonly_vretalking_3")
"""Maybe the same person as dhlive_demo (0.44 apart by `faces.identity`), and the same as testonly_wda_AlexandriaOcasioCortez (0.15)."""
CONNECTED = 0.35
"""A clip is used whose lips go this well with its own sound: dubbed and late ones have no known truth."""
TWO_FACES = "testonly_two_faces.avi"


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


@dataclass(frozen=True)
class Scene:
    tracks: list[FaceTrack]
    people: list[list[int]]
    sound: np.ndarray
    truth: np.ndarray
    """Who speaks, `RATE` a second; -1 = nobody who is ever seen."""


# -- clips -------------------------------------------------------------------------------------------------------------------


def followed(file: Path) -> list[FaceTrack]:
    """The faces of a clip's first seconds."""
    mark = hashlib.sha256(f"{file.resolve()} {file.stat().st_size} {SECONDS}".encode()).hexdigest()[:16]
    kept = Path(tempfile.gettempdir()) / f"openlipsync_speakers_{mark}.npz"
    names = [entry.name for entry in fields(FaceTrack) if entry.name not in ("track_id", "covered")]
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return [FaceTrack(**{name: stored[f"{name}{i}"] for name in names}, track_id=i) for i in range(int(stored["count"]))]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass                                                          # not there, or half of it
    tracks = analyse(VideoSource(file, duration=SECONDS), create_backend(), Hooks()).tracks
    np.savez(kept, count=len(tracks), **{f"{name}{i}": getattr(track, name) for i, track in enumerate(tracks) for name in names})
    return tracks


def load(file: Path, need_sound: bool) -> Talker | None:
    tracks = followed(file)
    if len(tracks) != 1 or len(tracks[0]) < 0.9 * (tracks[0].frames[-1] + 1):
        return None
    track = tracks[0]
    if not need_sound:
        return Talker(file.stem, track, np.zeros(round(track.times[-1] * SPEECH_RATE), np.float32))
    try:
        sound = load_speech(file, duration=SECONDS).samples
    except MediaError:
        return None
    times = np.arange(round(min(len(sound) / SPEECH_RATE, track.times[-1]) * RATE)) / RATE
    heard = NetArticulation()(sound, times).opening
    opening = np.interp(times, track.times, mouth_opening(track.landmarks))
    lags = np.arange(-8, 9)
    fit = [np.corrcoef(opening[8:-8], np.roll(heard, -lag)[8:-8])[0, 1] for lag in lags]
    if not max(fit) >= CONNECTED:
        return None
    late = int(lags[int(np.argmax(fit))]) * STEP
    sound = sound[late:] if late > 0 else np.concatenate([np.zeros(-late, np.float32), sound])
    return Talker(file.stem, track, sound)


def clips(media: Path) -> tuple[list[Talker], list[Talker]]:
    """Who talks, with sound, and who makes faces."""
    files = [file for file in sorted((media / "talking").iterdir()) if file.suffix in (".mp4", ".mpg") and file.stem not in LEFT_OUT]
    talkers = [one for file in files if (one := load(file, True)) is not None and one.seconds >= SHORTEST]
    return talkers, [one for file in sorted((media / "expressions").glob("*.mp4")) if (one := load(file, False)) is not None]


# -- scenes ------------------------------------------------------------------------------------------------------------------


def turns_of(rng: np.random.Generator, seconds: float) -> np.ndarray:
    truth, who = [], int(rng.integers(2))
    while len(truth) < seconds * RATE:
        truth += [who] * round(float(rng.uniform(2, 5)) * RATE)
        who = 1 - who
    return np.array(truth[:round(seconds * RATE)])


def dialogue(pair: tuple[Talker, Talker], truth: np.ndarray) -> np.ndarray:
    """Both voices, as loud as each other, each in its own turns."""
    fine = np.repeat(truth, STEP)
    sound = np.zeros(len(fine), np.float32)
    for who, one in enumerate(pair):
        part = one.sound[:len(fine)]
        sound[:len(part)] += part * (fine == who)[:len(part)] * (0.1 / max(float(np.sqrt((part ** 2).mean())), 1e-4))
    return sound


def scene(kind: str, pair: tuple[Talker, Talker], listeners: tuple[Talker, Talker], truth: np.ndarray, sound: np.ndarray,
          rng: np.random.Generator) -> Scene:
    shown = np.ones((2, len(truth)), bool)
    if kind == "interview":
        starts = [0, *(np.flatnonzero(np.diff(truth)) + 1).tolist()]
        seen = truth.copy()
        for begin, end in itertools.pairwise([*starts, len(truth)]):
            if rng.random() < 1 / 3:
                seen[begin:end] = 1 - seen[begin:end]
        shown = np.stack([seen == who for who in range(2)])
    tracks, people = [], []
    for who, one in enumerate(pair):
        rows = np.clip(np.searchsorted(one.track.times, np.arange(len(truth)) / RATE), 0, len(one.track) - 1)
        points = one.track.landmarks[rows].copy()
        quiet = truth != who
        if kind in ("easy", "narrator"):
            held = points[0]
            for i in range(len(truth)):
                held = points[i] if not quiet[i] else held
                points[i] = held + rng.normal(0, 0.3, held.shape)
        elif kind in ("listening", "interview", "commentary"):
            points[quiet] = moved(listeners[who], len(truth))[quiet]
        people.append([])
        edges = np.flatnonzero(np.diff(shown[who].astype(int))) + 1
        for begin, end in itertools.pairwise([0, *edges.tolist(), len(truth)]):
            if shown[who, begin] and end - begin > 2:
                frames = np.arange(begin, end)
                people[-1].append(len(tracks))
                tracks.append(replace(one.track, frames=frames, times=frames / RATE, landmarks=points[begin:end].astype(np.float32),
                                      boxes=one.track.boxes[rows[begin:end]], scores=one.track.scores[rows[begin:end]],
                                      pose=one.track.pose[rows[begin:end]], activation=one.track.activation[rows[begin:end]],
                                      covered=None, track_id=len(tracks)))
    if kind == "late":
        sound = np.concatenate([np.zeros(round(LATE * SPEECH_RATE), np.float32), sound])
    return Scene(tracks, people, sound, truth)


def moved(listener: Talker, count: int) -> np.ndarray:
    """The listener's landmarks, forwards and backwards as long as needed, at `RATE`."""
    rows = np.searchsorted(listener.track.times, np.arange(round(listener.track.times[-1] * RATE)) / RATE)
    return listener.track.landmarks[np.resize(np.concatenate([rows, rows[::-1]]), count)]


# -- figures -----------------------------------------------------------------------------------------------------------------


def right(one: Scene, said: speaking.Turns) -> tuple[int, int, int]:
    """Frames in which somebody speaks and the right one is named, all in which somebody speaks, and those wrong at a change. Where the
    speaker is not in the picture, it is right to name nobody who is."""
    count = min(len(one.truth), len(said.speaker))
    visible = np.zeros((len(one.people) + 1, count), bool)            # the last row: nobody
    for person, numbers in enumerate(one.people):
        for number in numbers:
            visible[person, one.tracks[number].frames[one.tracks[number].frames < count]] = True
    moments, truth, named = np.arange(count), one.truth[:count], said.speaker[:count]
    good = np.where(visible[truth, moments], named == truth, ~visible[named, moments])
    edge = np.zeros(count, bool)
    for change in np.flatnonzero(np.diff(truth)) + 1:
        edge[max(0, change - EDGE):change + EDGE] = True
    voiced = said.voiced[:count]
    return int((good & voiced).sum()), int(voiced.sum()), int((~good & voiced & edge).sum())


def show(kind: str, shares: list[tuple[int, int, int]]) -> None:
    good, total, edge = np.array(shares).sum(0)
    each = np.array([a / max(b, 1) for a, b, _ in shares])
    sys.stdout.write(f"{kind:10} {good / total:.3f} of {total / RATE:.0f} s right ({edge / total:.3f} wrong at changes); "
                     f"{len(each)} scenes: median {np.median(each):.2f}, worst tenth {np.quantile(each, 0.1):.2f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--constants", action="store_true", help="the clips that constants were chosen on, instead of the others")
    chosen = parser.parse_args()
    talkers, listeners = clips(chosen.media)
    talkers = [one for one in talkers if (one.name in CHOSEN_ON) == chosen.constants]
    listeners = listeners[::2] if chosen.constants else listeners[1::2]
    sys.stdout.write(f"{len(talkers)} speakers: {', '.join(one.name for one in talkers)}; {len(listeners)} listeners\n")
    pairs = list(itertools.combinations(talkers, 2))
    pairs = [pairs[i] for i in sorted(np.random.default_rng(0).permutation(len(pairs))[:PAIRS])]
    ear, shares = NetArticulation(), {}
    for i, pair in enumerate(pairs):
        rng = np.random.default_rng([4, i])
        truth = turns_of(rng, min(one.seconds for one in pair))
        sound = dialogue(pair, truth)
        third = next(one for one in talkers[i % len(talkers):] + talkers if one not in pair)
        faces = listeners[i % len(listeners)], listeners[(i + 1) % len(listeners)]
        for kind in ("easy", "hard", "listening", "late", "interview", "narrator", "commentary"):
            unseen = kind in ("narrator", "commentary")
            length = min(len(truth), round(third.seconds * RATE)) if unseen else len(truth)
            made = scene(kind, pair, faces, np.full(length, -1) if unseen else truth, third.sound[:length * STEP] if unseen else sound, rng)
            shares.setdefault(kind, []).append(right(made, speaking.turns(made.tracks, made.sound, people=made.people, articulation=ear)))
    for one in talkers:
        made = Scene([one.track], [[0]], one.sound[:round(one.seconds * SPEECH_RATE)], np.zeros(int(one.seconds * RATE), int))
        made = replace(made, tracks=scene("hard", (one, one), faces, made.truth, made.sound, rng).tracks[:1])
        shares.setdefault("alone", []).append(right(made, speaking.turns(made.tracks, made.sound, articulation=ear)))
    for kind, found in shares.items():
        show(kind, found)
    file = chosen.media / "talking" / TWO_FACES
    if file.exists() and not chosen.constants:
        said = speaking.turns(followed(file), load_speech(file).samples, articulation=ear)
        sys.stdout.write(f"{TWO_FACES}: two debaters on a split screen who talk at once, for six seconds and without a pause, so "
                         f"that there is no truth. Confidence {said.confidence[said.voiced].mean():.2f}; "
                         + "; ".join(f"{begin:.2f} to {end:.2f} s #{person}" for begin, end, person in said.spans()) + "\n")


if __name__ == "__main__":
    main()
