"""People through a clip: detected on key frames, followed by their landmarks in between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..rows import Rows
from ..types import FaceTrack, Pixels
from .activation import activation
from .album import Album, trim
from .backend import FaceBackend
from .builtin import overlap
from .occlusion import MESH, Seen, covered, look
from .pose import estimate_pose
from .smoothing import smooth_landmarks

KEY_INTERVAL = 12
"""Frames between detections while everybody is being followed."""
SEARCH_INTERVAL = 4
"""Frames between detections while nobody is."""
FOUND, LOST = 0.6, 0.35
"""Landmark confidence that a new face needs, and below which a followed one is lost."""
JOIN_GAP = 1.0
"""Seconds that a person may be away and still be the same track, if they come back near where they were."""
CUT = (25.0, 0.45)
"""A new shot is suspected where tiny pictures differ by over 25 of 255 in over 45 % of their area."""


LOOK_BYTES = 3 * len(MESH)
SHOTS = 64
"""Beginnings of shots that a stream remembers."""
JUMP = (5.5, 2.5)
"""Levels, and times the last change, by which the colours of a lower face change at least where a cut puts another one in its place (of 45
pairs of people the nearest: 6; within clips: 2, at most 4 to 20). Then the embedding is asked."""
STRANGER = 0.65
"""Distance of two embeddings from which a face after a cut is another person's, though it is where the old one was (see
`faces.embedding`; one person's are up to 0.4 apart, seen the same way)."""


@dataclass
class _Live:
    """A face being followed."""

    number: int = 0
    """In order of appearance."""
    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    shapes: Rows = field(default_factory=lambda: Rows((68, 2)))
    scores: list[float] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    looks: bytearray = field(default_factory=bytearray)
    """What `occlusion.look` saw, one frame after the other: 144 bytes each."""
    album: Album = field(default_factory=Album)
    unseen: int = 0
    known: tuple[int, np.ndarray] | None = None
    """Frame of a portrait, and its embedding."""

    def box(self) -> np.ndarray:
        return _box(self.shapes[-1])

    def predicted(self) -> np.ndarray:
        """Where the landmarks should be next: the head goes on as it went, by half."""
        if len(self.shapes) < 2 or self.frames[-1] - self.frames[-2] > 2:
            return self.shapes[-1]
        return self.shapes[-1] + 0.5 * (self.shapes[-1] - self.shapes[-2]).mean(0)

    def is_stranger(self, picture: Pixels, shape: np.ndarray) -> bool:
        """Whether the face of a new picture is somebody else's: interviews cut from one face to another at the same place."""
        if not self.album.portraits:
            return False
        from .embedding import SIDE, chip, chip_matrix, describe  # a network that clips without such cuts never need

        last = max(self.album.portraits, key=lambda portrait: portrait.frame)
        if self.known is None or self.known[0] != last.frame:
            row = self.frames.index(last.frame)
            self.known = last.frame, describe([chip(last.pixels, self.shapes[row] - last.corner)])[0]
        now = describe([picture.warp(chip_matrix(shape), (SIDE, SIDE))])[0]
        return float(np.linalg.norm(self.known[1] - now)) > STRANGER

    def jumps(self, seen: np.ndarray) -> bool:
        """Whether the colours of the lower face, `occlusion.look`, change as they do from one person to another."""
        size = seen.nbytes
        if len(self.looks) < 2 * size:
            return False
        last, before = (np.frombuffer(self.looks, np.uint8, size, len(self.looks) - i * size).astype(np.int16) for i in (1, 2))
        step = np.abs(seen.ravel().astype(np.int16) - last).mean()
        return bool(step > JUMP[0] and step > JUMP[1] * np.abs(last - before).mean())

    def add(self, frame: int, time: float, shape: np.ndarray, score: float, shot: int, picture: Pixels,
            seen: np.ndarray | None = None) -> None:
        self.frames.append(frame)
        self.times.append(time)
        self.shapes.append(shape)
        self.scores.append(score)
        self.shots.append(shot)
        self.looks += (look(picture, shape) if seen is None else seen).tobytes()
        if score >= FOUND:
            self.album.offer(frame, time, shape, picture)

    def forget(self, before: float) -> None:
        """Let go of what was seen before that time, seconds."""
        count = int(np.searchsorted(self.times, before))
        if not count:
            return
        for name in ("frames", "times", "scores", "shots"):
            del getattr(self, name)[:count]
        self.shapes.drop(count)
        del self.looks[:count * LOOK_BYTES]
        self.album.forget(before)


def _box(shape: np.ndarray) -> np.ndarray:
    return np.concatenate([shape.min(0), shape.max(0)])


def _size(shape: np.ndarray) -> float:
    return max(float(np.ptp(shape, axis=0).max()), 1.0)


class Tracker:
    """Fed every frame of a clip in order, keeps tracks, and of every person's pixels no more than an album.

    `feed` returns the landmarks found in the frame, so that a caller can look at the pixels while they are there. Of a clip `finish` gives
    the tracks; of a stream `tracks` does again and again, and `forget` keeps it from growing.
    """

    def __init__(self, backend: FaceBackend, *, max_faces: int = 8, smoothing: float = 1.0) -> None:
        self.backend, self.max_faces, self.smoothing = backend, max_faces, smoothing
        self._live: list[_Live] = []
        self._done: list[_Live] = []
        self._count = 0
        self._tiny: np.ndarray | None = None
        self._since_key = 10**9
        self._shot = 0
        self._last = -1
        self._size: tuple[int, int] = (1, 1)
        self.shot_starts: list[int] = [0]
        """Frames that begin a shot."""
        self.albums: list[Album] = []
        """Once finished: a person's most open mouths, in the order of `FaceTrack.track_id`."""

    def feed(self, frame: int, time: float, picture: Pixels) -> list[tuple[np.ndarray, float]]:
        """One frame: its landmarks (68, 2) and confidences, largest face first."""
        self._last, self._size = frame, (picture.width, picture.height)
        self.backend.begin(frame)
        cut = self._looks_cut(picture)
        lost, swapped = self._follow(frame, time, picture, cut)
        if (cut and lost) or swapped:
            # New picture and nobody where they were: a new shot. A flash or a pan leaves the faces in place.
            self._shot += 1
            self.shot_starts.append(frame)
        self._since_key += 1
        due = KEY_INTERVAL if self._live else SEARCH_INTERVAL
        if cut or lost or self._since_key >= due:
            self._detect(frame, time, picture)
            self._since_key = 0
            trim([live.album for live in self._done + self._live])
        now = [(live.shapes[-1], live.scores[-1]) for live in self._live if live.frames[-1] == frame]
        return sorted(now, key=lambda item: -_size(item[0]))

    def cut(self) -> None:
        """The next frame begins a new shot, whatever it looks like."""
        self._done += self._live
        self._live, self._tiny, self._since_key = [], None, 10**9
        if self._last >= 0:
            self._shot += 1
            self.shot_starts.append(self._last + 1)

    def _looks_cut(self, picture: Pixels) -> bool:
        tiny = picture.thumbnail(48).astype(np.float32).mean(-1)
        before, self._tiny = self._tiny, tiny
        return before is not None and before.shape == tiny.shape and float((np.abs(tiny - before) > CUT[0]).mean()) > CUT[1]

    def _follow(self, frame: int, time: float, picture: Pixels, cut: bool) -> tuple[bool, bool]:
        """Move every live face on: whether one was lost, and whether all of them have become other people."""
        if not self._live:
            return cut, False
        guesses = [live.predicted() for live in self._live]
        views = [Seen(picture) for _ in guesses]
        shapes, scores = self.backend.landmarks(views, guesses)
        kept: list[_Live] = []
        lost, swapped = False, 0
        for live, view, guess, shape, score in zip(self._live, views, guesses, shapes, scores):
            moved = float(np.linalg.norm(shape.mean(0) - guess.mean(0))) / _size(guess)
            grown = _size(shape) / _size(guess)
            twin = any(overlap(_box(shape), other.box()) > 0.55 for other in kept)
            gone = score < LOST or moved > (0.15 if cut else 0.4) or not 0.6 < grown < 1.6 or twin
            seen = None if gone else look(view, shape)
            stranger = not gone and (cut or live.jumps(seen)) and live.is_stranger(view, shape)
            swapped += stranger
            if gone or stranger:
                self._done.append(live)
                lost = True
                continue
            live.add(frame, time, shape, float(score), self._shot, view, seen)
            kept.append(live)
        self._live = kept
        return lost, bool(guesses) and swapped == len(guesses)

    def _detect(self, frame: int, time: float, picture: Pixels) -> None:
        found = self.backend.detect([picture])[0][:self.max_faces]
        for live in self._live:
            seen = any(overlap(live.box(), face.box) > 0.25 for face in found)
            live.unseen = 0 if seen else live.unseen + 1
        gone = [live for live in self._live if live.unseen >= 3 and live.scores[-1] < 0.9]
        self._done += gone
        self._live = [live for live in self._live if live not in gone]
        fresh = [face for face in found if all(overlap(face.box, live.box()) < 0.25 for live in self._live)]
        if not fresh:
            return
        views = [Seen(picture) for _ in fresh]
        shapes, _ = self.backend.landmarks(views, [face.box for face in fresh])
        # A second look, at a crop that the first one centred and turned upright.
        shapes, scores = self.backend.landmarks(views, list(shapes))
        for view, shape, score in zip(views, shapes, scores):
            if score >= FOUND and all(overlap(_box(shape), live.box()) < 0.4 for live in self._live):
                live = self._known(time, shape) or self._new()
                live.add(frame, time, shape, float(score), self._shot, view)
                self._live.append(live)

    def _new(self) -> _Live:
        self._count += 1
        return _Live(self._count - 1)

    def _known(self, time: float, shape: np.ndarray) -> _Live | None:
        """Who was lost a moment ago and is found again: soon, in the same shot, near and of like size."""
        for earlier in sorted(self._done, key=lambda live: live.frames[0]):
            size = _size(earlier.shapes[-1])
            away = float(np.linalg.norm(shape.mean(0) - earlier.shapes[-1].mean(0))) / size
            if 0 < time - earlier.times[-1] <= JOIN_GAP and earlier.shots[-1] == self._shot and away < 0.7 \
                    and 0.6 < _size(shape) / size < 1.6:
                self._done.remove(earlier)
                earlier.unseen = 0
                return earlier
        return None

    def finish(self) -> list[FaceTrack]:
        """All tracks, longest and largest first; their numbers are those of `albums`."""
        tracks = self.tracks()
        tracks.sort(key=lambda item: -float(((item[0].boxes[:, 2:] - item[0].boxes[:, :2]).prod(1)).sum()))
        self.albums = [album for _, album in tracks]
        self._done, self._live = [], []
        return [replace(track, track_id=i) for i, (track, _) in enumerate(tracks)]

    def tracks(self) -> list[tuple[FaceTrack, Album]]:
        """Everybody who is remembered, with jitter removed, pose and activation worked out; numbers are in order of appearance and stay
        what they are in a stream. Pictures are what is there now: copy what you keep."""
        known = sorted(self._done + self._live, key=lambda live: live.frames[0])
        good = [live for live in known if (len(live.frames) >= 3 or self._last < 3) and np.mean(live.scores) > 0.5]
        return [(self._track(live), live.album) for live in good]

    def forget(self, before: float) -> None:
        """Let go of everything seen before that time, seconds: of those who are followed some rows stay, of those who are gone nothing."""
        self._done = [live for live in self._done if live.times[-1] >= before]
        for live in self._done + self._live:
            live.forget(before)
        del self.shot_starts[:-SHOTS]

    def _track(self, live: _Live) -> FaceTrack:
        frames, times = np.array(live.frames, np.int64), np.array(live.times)
        shots = np.array(live.shots)
        landmarks = smooth_landmarks(live.shapes.array(), times, np.flatnonzero(np.diff(shots)) + 1, self.smoothing)
        boxes = np.concatenate([landmarks.min(1), landmarks.max(1)], 1)
        scores = np.array(live.scores, np.float32)
        pose = estimate_pose(landmarks)
        # A track that ends where its shot ends was not lost: nothing to fade.
        ends = int(frames[-1]) + 1 in self.shot_starts
        last = int(frames[-1]) if ends else self._last
        hidden = covered(np.frombuffer(live.looks, np.uint8).reshape(len(frames), -1, 3))
        effect = activation(frames, times, boxes, landmarks, scores, pose, self._size, shots, last, hidden)
        return FaceTrack(frames, times, boxes, landmarks, scores, pose, effect, live.number, hidden)
