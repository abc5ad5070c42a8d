"""The stages between sound and picture, one function each, for frames that are in memory: find faces, make new ones, blend them back.

`making.make` does the same to one group of frames at a time; both use `work_of` and `in_window`, so that both give the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import cv2
import numpy as np

from .analysis import analyse
from .array_pixels import WindowPixels
from .casting import Line, Role, cast, people_of, tracks_of
from .compositing import Blending, difference, lower_face_box, region_of
from .errors import LipSyncError
from .faces import FaceBackend, FaceRule, choose, create_backend
from .faces.align import crop, crop_matrix, invert, native_crop, whole_face_box
from .heard import Hearing
from .marks import mark
from .passages import bypassed, check_passages
from .speaker_file import SpeakerData
from .types import (
    Clip,
    Drive,
    FaceCrop,
    FaceTrack,
    GeneratedFace,
    Generator,
    GeneratorItem,
    GeneratorSpec,
    Hooks,
    Person,
    Picture,
    Pixels,
    Speech,
)

Box = tuple[int, int, int, int]
REFERENCES = 5
"""Reference crops that are kept of every person, for generators that want some: the field's own use 1 to 5."""


@dataclass(frozen=True)
class FaceOptions:
    """Whose face, and how it is found."""

    face: FaceRule = "largest"
    """'largest', 'all', an index from the left, or a point (x, y) in pixels."""
    backend: str | FaceBackend = "builtin"
    """Face models: 'builtin', 'face-alignment', or one that is set up already."""
    device: str = "cpu"
    """Torch device of the face models that a name sets up."""
    smoothing: float = 1.0
    """Multiplies how long landmarks are smoothed over; 0 = not at all, 3 = for shaky detections."""

    def check(self) -> None:
        """Raise `LipSyncError` for a value out of range."""
        if not 0 <= self.smoothing <= 3:
            raise LipSyncError(f"A smoothing of {self.smoothing:g} is out of range: use 0 (none) to 3 (heavy).")

    def create(self) -> FaceBackend:
        return create_backend(self.backend, self.device) if isinstance(self.backend, str) else self.backend


@dataclass(frozen=True)
class CroppedFace:
    """One person in one frame: the pixels that any generator may want, of which the lower face may change."""

    frame: int
    row: int
    """Row of the person's track."""
    box: Box
    """x0, y0, x1, y1 of the lower face in the frame."""
    corner: tuple[int, int]
    """Where `pixels` begin in the frame."""
    pixels: np.ndarray
    """RGB (h, w, 3) 0..255 of the whole face, uint8 where that holds them exactly, else float32."""
    size: tuple[int, int]
    """Width, height of the frame."""

    def view(self) -> WindowPixels:
        return WindowPixels(self.pixels, self.corner, self.size)


@dataclass(frozen=True)
class PersonFrames:
    """One person through the frames."""

    person: Person
    crops: list[CroppedFace]
    """In order of frames; those in which the person can't be dubbed are missing."""
    generated: list[GeneratedFace] | None = None
    """Beside `crops`, once there are new faces; in the pixels of `CroppedFace.box`."""


@dataclass(frozen=True)
class Faces:
    """What the stages hand on. Nothing in it changes after it is made."""

    size: tuple[int, int]
    """Width, height of the frames."""
    count: int
    """Frames."""
    frame_rate: Fraction
    people: list[PersonFrames]
    """Those who are dubbed."""
    tracks: list[FaceTrack] = field(default_factory=list)
    """Everybody who was found, for looking."""
    groups: list[list[int]] = field(default_factory=list)
    """Who is who: numbers of tracks, a list for each person, from the left."""
    shot_starts: list[int] = field(default_factory=lambda: [0])
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """One face of one frame on its way: what the generator is given, and the native window that its answer goes into."""

    frame: int
    box: Box
    window: FaceCrop
    """The lower face in native pixels."""
    region: np.ndarray
    """float32 (h, w), 0..1: where the window may change."""
    item: GeneratorItem


def work_of(view: Pixels, track: FaceTrack, row: int, frame: int, time: float, spec: GeneratorSpec) -> Work | None:
    """A face of a frame at `time` seconds into the speech; None where nothing of the lower face is in the picture."""
    landmarks = track.landmarks[row]
    box = lower_face_box(landmarks, (view.width, view.height))
    if box is None:
        return None
    window = native_crop(view, landmarks, box, frame)
    region = region_of(window)
    given, where = window, region
    if spec.crop != "native":
        given = crop(view, landmarks, crop_matrix(spec.crop, track, row, spec.crop_size), spec.crop_size, frame)
        where = region_of(given)
    return Work(frame, box, window, region, GeneratorItem(given, time, row, where, float(track.activation[row])))


def in_window(face: GeneratedFace, work: Work) -> GeneratedFace:
    """What the generator made, in the pixels of the native window."""
    if work.item.crop is work.window:
        return face
    height, width = work.window.pixels.shape[:2]
    back = invert(work.item.crop.matrix)
    back[:, 2] -= work.box[:2]
    larger = abs(np.linalg.det(back[:, :2])) > 1
    pixels = cv2.warpAffine(face.pixels, back, (width, height), flags=cv2.INTER_CUBIC if larger else cv2.INTER_AREA,
                            borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.ascontiguousarray(face.mask, np.float32), back, (width, height), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_CONSTANT)
    return GeneratedFace(np.clip(pixels, 0, 255), mask)


def changes(work: Work, face: GeneratedFace, blending: Blending) -> np.ndarray | None:
    """What is added to the window of `work`, see `compositing.difference`; `face` is the generator's answer."""
    region = region_for(work.window, work.region, blending)
    return difference(work.window, in_window(face, work), region, blending.colour_match)


def region_for(window: FaceCrop, usual: np.ndarray, blending: Blending) -> np.ndarray:
    """The region of a window; the usual one, which is known already, where nothing else is wanted."""
    same = Blending(colour_match=blending.colour_match) == blending
    return usual if same else region_of(window, blending)


def detect_faces(clip: Clip, options: FaceOptions, hooks: Hooks, look: Callable[[Picture, FaceTrack, int], None] | None = None) -> Faces:
    """Find and follow faces, choose whose mouth is to move, and cut out the windows that may change.

    `look` is shown every frame with each chosen track in it, and the track's row, while its pixels are at hand.
    """
    options.check()
    analysis = analyse(clip, options.create(), hooks, smoothing=options.smoothing)
    chosen = choose(analysis.tracks, options.face, analysis.shot_starts)
    warnings = ()
    if not chosen:
        found = f"{len(analysis.tracks)} face(s), but none at {options.face!r}" if analysis.tracks else "no face"
        warnings = (f"There is {found} in these {analysis.frames} frames: they are passed through as they are.",)
        hooks.warn(warnings[0])
    crops: list[list[CroppedFace]] = [[] for _ in chosen]
    for picture in clip.pictures():
        hooks.check_interrupt()
        for track, mine in zip(chosen, crops):
            row = row_of(track, picture.index)
            box = None if row is None else lower_face_box(track.landmarks[row], clip.size)
            if row is None or box is None:
                continue
            whole = whole_face_box(track.landmarks[row], clip.size, box)
            mine.append(CroppedFace(picture.index, row, box, whole[:2], _packed(picture.pixels.region(whole)), clip.size))
            if look is not None:
                look(picture, track, row)
        hooks.progress("crop", picture.index + 1, clip.frame_count)
    people = [PersonFrames(Person(track, analysis.references(track, REFERENCES)), mine) for track, mine in zip(chosen, crops)]
    return Faces(clip.size, analysis.frames, clip.frame_rate, people, analysis.tracks, people_of(analysis), analysis.shot_starts, warnings)


def row_of(track: FaceTrack, frame: int) -> int | None:
    """The track's row of a frame, None where the face is away or off."""
    row = int(np.searchsorted(track.frames, frame))
    found = row < len(track.frames) and track.frames[row] == frame
    return row if found and track.activation[row] > 0 else None


def _packed(pixels: np.ndarray) -> np.ndarray:
    """uint8 where that holds float32 pixels exactly, a quarter of the memory; else a copy of them."""
    small = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return small if np.array_equal(small, pixels) else pixels.copy()


def cast_faces(faces: Faces, lines: Sequence[Line], data: SpeakerData | None, bypass: Sequence[tuple[float, float]],
               hooks: Hooks) -> list[Role]:
    """Who of the cut-out people says which of `lines`, and when: by speaker data if there are some, and nobody in the passages of
    `bypass`, seconds."""
    tracks = [one.person.track for one in faces.people]
    assigned = [tracks_of(line.who, tracks, faces.groups) for line in lines]
    marks = None if data is None else mark(tracks, data, set().union(*assigned), 0, hooks.warn)
    roles = cast(tracks, lines, assigned, marks, hooks.warn if len(lines) > 1 else lambda sentence: None)
    return [replace(role, track=bypassed(role.track, check_passages(bypass))) for role in roles]


def generate_faces(faces: Faces, generator: Generator, roles: Sequence[Role] | Speech, drive: Drive, hooks: Hooks, *, offset: float = 0.0,
                   batch: int = 1) -> Faces:
    """New faces for all frames of those who have a role; with one `Speech` everybody says it. `offset` seconds that the mouth moves later
    than the sound, `batch` faces at a time at most."""
    if isinstance(roles, Speech):
        roles = [Role(one.person.track, roles, (0,)) for one in faces.people]
    cut = {one.person.track.track_id: one for one in faces.people}
    cast_people = []
    for role in roles:
        one = cut[role.track.track_id]
        crops = [item for item in one.crops if role.track.activation[item.row] > 0]
        cast_people.append((PersonFrames(replace(one.person, track=role.track), crops), role.speech))
    total, done, people, hearing = sum(len(one.crops) for one, _ in cast_people), 0, [], Hearing(generator, hooks)
    for one, speech in cast_people:
        wanted = Person(one.person.track, one.person.references[:generator.spec.references])
        state = generator.start(wanted, hearing(speech), drive, hooks)
        made: list[GeneratedFace] = []
        for group in grouped(one.crops, min(batch, generator.spec.batch_size)):
            hooks.check_interrupt()
            works = [_work(one, item, float(item.frame / faces.frame_rate) - offset, generator.spec) for item in group]
            answers = generator.generate([work.item for work in works], state)
            made += [in_window(answer, work) for answer, work in zip(answers, works)]
            done += len(group)
            hooks.progress("generate", done, total)
        people.append(replace(one, generated=made))
    return replace(faces, people=people)


def _work(one: PersonFrames, item: CroppedFace, time: float, spec: GeneratorSpec) -> Work:
    work = work_of(item.view(), one.person.track, item.row, item.frame, time, spec)
    if work is None:                                                  # it was something when the face was cropped
        raise LipSyncError(f"The face of frame {item.frame} is not in its picture: detect faces again.")
    return work


def window_of(one: PersonFrames, item: CroppedFace) -> FaceCrop:
    """The lower face of a frame in native pixels."""
    return native_crop(item.view(), one.person.track.landmarks[item.row], item.box, item.frame)


def grouped(items: Sequence, size: int) -> Iterator[Sequence]:
    """`items` in pieces of at most `size`."""
    size = max(1, size)
    for first in range(0, len(items), size):
        yield items[first:first + size]


@dataclass(frozen=True)
class Change:
    """What is to be added to a frame."""

    frame: int
    box: Box
    difference: np.ndarray
    """RGB float32 (h, w, 3), units of 0..255; whole ones where the frame was of 8 bits, rounded as `media.FrameView.add` rounds, so that
    every way of adding them gives the pixels of `dub`."""
    mask: np.ndarray
    """float32 (h, w), 0..1: where."""


def blend_faces(faces: Faces, blending: Blending, hooks: Hooks, size: tuple[int, int] | None = None) -> Iterator[Change]:
    """The changes that the new faces make, frame by frame; for frames of `size` (w, h) if they were resized since.

    Raises `LipSyncError` where there are no new faces yet, or the frames have another shape.
    """
    blending.check()
    if any(one.generated is None for one in faces.people):
        raise LipSyncError("These faces are as they were found: connect them to Generate Lip Sync first.")
    scale = _scale(faces.size, size or faces.size)
    total, done = sum(len(one.crops) for one in faces.people), 0
    for one in faces.people:
        for item, face in zip(one.crops, one.generated or ()):
            hooks.check_interrupt()
            window = window_of(one, item)
            region = region_of(window, blending)
            change = difference(window, face, region, blending.colour_match)
            if change is not None:
                if item.pixels.dtype == np.uint8 and scale == (1.0, 1.0):
                    change = np.rint(change)
                mask = face.mask * region
                yield (Change(item.frame, item.box, change, mask) if scale == (1.0, 1.0) else
                       _resized(item, change, mask, scale, size or faces.size))
            done += 1
            hooks.progress("blend", done, total)


def _scale(old: tuple[int, int], new: tuple[int, int]) -> tuple[float, float]:
    x, y = new[0] / old[0], new[1] / old[1]
    if abs(x / y - 1) > 0.02:
        raise LipSyncError(f"Faces were found in frames of {old[0]}x{old[1]}, and these are {new[0]}x{new[1]}: blend into frames of the "
                           f"same shape (scaled as a whole they may be, cropped they may not).")
    return x, y


def _resized(item: CroppedFace, change: np.ndarray, mask: np.ndarray, scale: tuple[float, float], size: tuple[int, int]) -> Change:
    """The change of a frame that was scaled by `scale` (x, y) to `size` (w, h)."""
    (sx, sy), (x0, y0, x1, y1) = scale, item.box
    box = (int(x0 * sx), int(y0 * sy), min(size[0], int(np.ceil(x1 * sx))), min(size[1], int(np.ceil(y1 * sy))))
    # Pixel centres: target = (source + 0.5) * s - 0.5.
    matrix = np.array([[sx, 0, (x0 + 0.5) * sx - 0.5 - box[0]], [0, sy, (y0 + 0.5) * sy - 0.5 - box[1]]])
    shape = (box[2] - box[0], box[3] - box[1])
    flags = cv2.INTER_CUBIC if sx > 1 else cv2.INTER_AREA
    new, soft = (cv2.warpAffine(np.ascontiguousarray(part), matrix, shape, flags=flags, borderMode=cv2.BORDER_CONSTANT)
                 for part in (change, mask))
    return Change(item.frame, box, new, np.clip(soft, 0, 1))
