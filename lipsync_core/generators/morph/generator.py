"""The built-in generator: moves the source's own lips and jaw to the speech, at the source's own resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...array_pixels import cubic, each_channel
from ...types import SPEECH_RATE, Drive, FaceCrop, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Listener, Person, Speech
from .articulation import Articulation, NetArticulation
from .geometry import FrameMouth, PersonMouth, locate, place, study_person
from .interior import Opening, Reference, colours_of, lip_colour, make_reference, opening_of, paint, smoothstep, visible
from .live_ear import LiveEar
from .softness import softness_of
from .warp import above_lips, solve

CURVE_RATE = 100.0
"""Mouth shapes a second; frames read between them, so that any frame rate, constant or not, is exact to a few ms."""

LINE = 0.016
"""Half the width of the shadow between lips that meet, canonical; it is a Gaussian's, and ends at three times that."""
ROUND_SHADE = np.array([0.62, 0.76, 0.78], np.float32)
"""Share of the light (RGB) that rounded lips keep from the mouth's inside: u and w show a dark hole, and what light comes in is red."""


@dataclass(frozen=True)
class MorphState:
    """What `start` found out; nothing in it changes afterwards."""

    mouth: PersonMouth
    curve: np.ndarray
    """float32 (7, m): the rows of `MouthShape` at `CURVE_RATE`."""
    reference: Reference | None
    drive: Drive
    references: Sequence[FaceCrop] = ()
    """Those that `reference` was chosen from."""

    def shape_at(self, time: float) -> np.ndarray:
        """The values of `MouthShape` (7,) at `time` seconds into the speech; the ends hold."""
        position = min(max(time * CURVE_RATE, 0.0), self.curve.shape[1] - 1.0)
        i = min(int(position), self.curve.shape[1] - 2)
        return self.curve[:, i] + (position - i) * (self.curve[:, i + 1] - self.curve[:, i])


Sheet = Callable[[tuple[int, int]], np.ndarray]
"""First row and the row after the last -> those rows of a picture, float32 (n, w, 3)."""


class MorphGenerator:
    """See `types.Generator`. Needs no GPU; `articulation` turns speech into mouth shapes (default: the bundled networks)."""

    spec = GeneratorSpec(name="morph", crop="native", references=3, batch_size=1)

    def __init__(self, articulation: Articulation | None = None) -> None:
        self.articulation = articulation or NetArticulation()

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> np.ndarray:
        """`MorphState.curve`."""
        times = np.arange(int(len(speech.samples) / SPEECH_RATE * CURVE_RATE) + 2) / CURVE_RATE
        return self.articulation(speech.samples, times, (hooks or Hooks()).check_interrupt).stack()

    def listener(self, look_ahead: float) -> Listener:
        """See `types.Listener`; of the bundled networks, whatever `articulation` is."""
        return LiveEar(look_ahead, CURVE_RATE)

    def start(self, person: Person, heard: np.ndarray, drive: Drive, hooks: Hooks | None = None,
              before: MorphState | None = None) -> MorphState:
        track = person.track
        mouth = study_person(track.landmarks, track.times, track.frames, None if before is None else before.mouth)
        kept = before is not None and before.references is person.references
        reference = before.reference if kept else _best_reference(person, mouth)
        return MorphState(mouth, heard, reference, drive, person.references)

    def generate(self, batch: Sequence[GeneratorItem], state: MorphState) -> list[GeneratedFace]:
        return [self._one(item, state) for item in batch]

    def _one(self, item: GeneratorItem, state: MorphState) -> GeneratedFace:
        crop = item.crop
        source = np.asarray(crop.pixels, np.float32)
        frame, amount = self.aim(item, state)
        if frame is None:
            return GeneratedFace(source, np.broadcast_to(np.float32(0), source.shape[:2]))
        pixels = render(source, crop.landmarks, frame, item.region, state.mouth, item.row, state.reference)
        return GeneratedFace(pixels, np.broadcast_to(shown(amount), source.shape[:2]))

    def aim(self, item: GeneratorItem, state: MorphState) -> tuple[FrameMouth | None, float]:
        """Where the lips of a frame go, and 0..1 how much of it is meant; None where nothing moves."""
        *moves, activity = (float(v) for v in state.shape_at(item.time))
        drive = state.drive
        amount = item.activation
        if drive.silence == "keep":
            amount *= activity
        elif drive.silence == "close":
            moves = [move * activity for move in moves]
        if amount <= 0:
            return None, 0.0
        opening, width, jaw, closure, tuck, rounded = moves
        strength = drive.strength
        soft = min(strength, 1.0)
        frame = place(item.crop.landmarks, item.row, state.mouth, opening=opening * strength, jaw=jaw * strength,
                      width=float(np.clip(width * strength, -1, 1)), closure=closure, tuck=tuck * soft, rounded=rounded * soft,
                      amount=amount)
        return frame, amount


def shown(amount: float) -> np.float32:
    """How much of a face shows: with the geometry back in place there is nothing left to show, and the mask may go unseen."""
    return np.float32(smoothstep(amount, 0.0, 0.15))


def _best_reference(person: Person, mouth: PersonMouth) -> Reference | None:
    """The reference crop that shows most of the inner mouth without being an extreme, or None if the mouth never opens."""
    best, best_score = None, 0.02
    for crop in person.references:
        a, b, lips, gaps = locate(crop.landmarks, mouth)
        found = make_reference(crop.pixels, a, b, lips)
        score = min(float(gaps[2]), mouth.range) * found.shown
        if score > best_score:
            best, best_score = found, score
    return best


def render(source: np.ndarray, landmarks: np.ndarray, frame: FrameMouth, region: np.ndarray, mouth: PersonMouth, row: int,
           reference: Reference | None) -> np.ndarray:
    """The crop (h, w, 3) float32 with lips and jaw moved from `frame`'s source to its target points, inside `region`."""
    size = source.shape[1], source.shape[0]
    fields = solve(frame, np.asarray(landmarks, np.float64), size).held(region)
    planes = cv2.split(source)

    def sampled(field: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        return cubic(planes, fields.grid.sources(field, box))

    whole, moving = np.clip(source, 0, 255), fields.moving()
    box = _mouth_box(frame, size)
    hole = (0, 0, 0, 0)
    if box is not None:
        x0, y0, x1, y1 = box
        x, y = frame.canonical_pixels(box)
        part = _two_sheets(above_lips(frame, x, y), lambda rows: sampled(fields.upper, (x0, y0 + rows[0], x1, y0 + rows[1])),
                           lambda rows: sampled(fields.lower, (x0, y0 + rows[0], x1, y0 + rows[1])))
        part = _open(part, x, y, source, frame, mouth, row, reference)
        # The box's own rim melts into the whole, which is needed only around what the box covers.
        border = max(2, round(0.05 * frame.scale))
        hole = (min(x0 + border, x1), min(y0 + border, y1), max(x1 - border, x0), max(y1 - border, y0))
    for strip in _around(hole, moving):
        whole[strip[1]:strip[3], strip[0]:strip[2]] = sampled(fields.blended, strip)
    if box is not None:
        beside = whole[y0:y1, x0:x1]
        beside += each_channel(_box_fade(part.shape[:2], border)) * (part - beside)
    return np.clip(whole, 0, 255, out=whole)


def _two_sheets(above: np.ndarray, upper: Sheet, lower: Sheet) -> np.ndarray:
    """The upper sheet where `above` (h, w) is 1, the lower one where it is 0; each is asked for the rows that show some of it."""
    height = len(above)
    down = int(np.flatnonzero((above > 0).any(1))[-1]) + 1 if above.any() else 0
    up = int(np.flatnonzero((above < 1).any(1))[0]) if (above < 1).any() else height
    top = upper((0, down)) if down else np.empty((0, *above.shape[1:2], 3), np.float32)
    bottom = lower((up, height)) if up < height else np.empty((0, *above.shape[1:2], 3), np.float32)
    below = bottom[:down - up]
    mixed = below + each_channel(above[up:down]) * (top[up:] - below) if up < down else below
    return np.concatenate([top[:up], mixed, bottom[down - up:]])


def _around(hole: tuple[int, int, int, int], box: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1) that cover `box` but for `hole`; both may be empty."""
    left, top, right, bottom = box
    x0, x1 = (min(max(v, left), right) for v in (hole[0], hole[2]))
    y0, y1 = (min(max(v, top), bottom) for v in (hole[1], hole[3]))
    strips = [box] if x1 <= x0 or y1 <= y0 else [(left, top, right, y0), (left, y1, right, bottom), (left, y0, x0, y1), (x1, y0, right, y1)]
    return [strip for strip in strips if strip[0] < strip[2] and strip[1] < strip[3]]


def _open(part: np.ndarray, x: np.ndarray, y: np.ndarray, source: np.ndarray, frame: FrameMouth, mouth: PersonMouth, row: int,
          reference: Reference | None) -> np.ndarray:
    """Paint the inner mouth where the lips are apart into `part` (h, w, 3), whose pixels have the canonical coordinates x, y (h, w)."""
    target = visible(opening_of(frame.to_canonical(frame.target_lips)), frame.rounded)
    top, bottom = target.edges(x)
    _lip_line(part, x, y, (top, bottom), target, frame, lip_colour(source, frame.source_lips))
    if target.gap * frame.scale < 0.7:
        return part
    # The rim of what is drawn is as soft as the picture's own edges, whatever its resolution.
    softness = softness_of(source[_around_mouth(frame, source.shape)])
    soft = 0.5 / frame.scale
    inside = np.clip((y - top) / (2 * soft) + 0.5, 0, 1) * np.clip((bottom - y) / (2 * soft) + 0.5, 0, 1)
    inside *= smoothstep((bottom - top) * frame.scale, 0.4, 1.8)
    inside *= (x > target.x[0]) & (x < target.x[-1])
    # Towards the corners of a mouth that is no wider open than the source's the two sheets carry what it shows already.
    wider = float(smoothstep(frame.target_gap, 1.2 * frame.source_gap + 0.01, 1.8 * frame.source_gap + 0.03))
    u = np.abs(x - target.centre) / target.half_width
    inside *= 1 - (1 - wider) * smoothstep(u, 0.45, 0.8)
    inside = cv2.GaussianBlur(inside, (0, 0), softness)
    # Most of the box is lips and skin: the inside is made for the rows and columns that show some of it.
    some = inside > 0.002
    rows, columns = np.flatnonzero(some.any(1)), np.flatnonzero(some.any(0))
    if not len(rows):
        return part
    seen = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    colours = colours_of(source, frame.source_lips, frame.source_jaw)
    references = [(reference, reference.shown)] if reference is not None else []
    # The frame's own teeth are the best lit there are, wherever it shows enough of them.
    own = float(smoothstep(frame.source_gap / max(frame.target_gap, 1e-3), 0.25, 0.55)
                * smoothstep(frame.source_gap, 0.03, 0.06))
    if own > 0:
        mine = make_reference(source, frame.a, frame.b, frame.to_canonical(frame.source_lips))
        references.append((mine, own * mine.shown))
    base = mouth.base[row]
    inner = paint(x[seen], y[seen], target, references, colours, float((base[14].imag + base[18].imag) / 2), softness=softness)
    # Lips that are pushed forward put teeth and all in their shadow, until the hole is wide.
    inner *= 1 - ROUND_SHADE * frame.rounded * (1 - float(smoothstep(target.gap, 0.05, 0.11)))
    part[seen] += each_channel(inside[seen].astype(np.float32)) * (inner - part[seen])
    return part


def _lip_line(part: np.ndarray, x: np.ndarray, y: np.ndarray, edges: tuple[np.ndarray, np.ndarray], target: Opening, frame: FrameMouth,
              colour: np.ndarray) -> None:
    """Where an open mouth was closed, the soft shadow between lips, which also covers what stuck to their rims; `edges` (h, w) are those
    of `target`."""
    top, bottom = edges
    away = y - (top + bottom) / 2
    rows = np.flatnonzero((np.abs(away) < 3 * LINE).any(1))
    if not len(rows):
        return
    near = np.s_[rows[0]:rows[-1] + 1]
    u = np.clip((x[near] - target.centre) / target.half_width, -1.2, 1.2)
    width = LINE * (1 - 0.5 * u**2)
    alpha = 0.75 * np.exp(-(away[near] / width) ** 2) * (1 - smoothstep(np.abs(u), 0.85, 1.05))
    alpha *= 0.35 + 0.65 * float(smoothstep(frame.source_gap, 0.005, 0.035)) * (1 - smoothstep((bottom - top)[near], 0.0, 0.02))
    part[near] += each_channel(alpha.astype(np.float32)) * (colour * np.float32(0.62) - part[near])


def _mouth_box(frame: FrameMouth, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Integer box around the target's lips, inside the crop; None where the mouth is outside the picture."""
    lips = frame.target_lips
    pad = 0.14 * frame.scale
    x0, x1 = int(lips.real.min() - pad), int(lips.real.max() + pad) + 1
    y0, y1 = int(lips.imag.min() - pad), int(lips.imag.max() + pad) + 1
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(size[0], x1), min(size[1], y1)
    return (x0, y0, x1, y1) if x1 - x0 > 4 and y1 - y0 > 4 else None


def _around_mouth(frame: FrameMouth, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a crop of `shape` (h, w, ...) with the source's lips and some skin."""
    lips, pad = frame.source_lips, 0.1 * frame.scale
    x0, y0 = max(0, int(lips.real.min() - pad)), max(0, int(lips.imag.min() - pad))
    return np.s_[min(y0, shape[0] - 8):int(lips.imag.max() + pad) + 1, min(x0, shape[1] - 8):int(lips.real.max() + pad) + 1]


def _box_fade(shape: tuple[int, int], border: int) -> np.ndarray:
    """1 inside, falling linearly to 0 over `border` pixels at the rim. float32 (h, w)."""
    height, width = shape
    y = np.minimum(np.arange(height), np.arange(height)[::-1])[:, None]
    x = np.minimum(np.arange(width), np.arange(width)[::-1])[None, :]
    return np.clip(np.minimum(x, y) / border, 0, 1).astype(np.float32)
