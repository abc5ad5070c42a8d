"""Hands, microphones, cups before the mouth: found as change against the person's own mouth.

The landmark network can't tell: its confidence stays near 1 under a drawn hand, cup or microphone, for it was taught to guess what it
can't see. What does change is the pattern of colours over lips and skin. Of every frame 48 colours are kept, at points that move with
the landmarks, so that an open mouth is still skin, lip, lip, skin; a frame whose pattern no longer goes with the person's usual one is
covered. Hands in the person's own skin colour are found too: lips are redder than the skin around them, and a hand has none. Light that
grows, fades or changes colour falls on the whole face and leaves the pattern as it is.

What it can't know: a cover that stays for the whole track is taken for the person, because nothing changes (one that stays for most of
it is found, see `_shows_mouth`). A track of one frame is never covered. A hand at the chin that leaves the lips free is not looked for.
In black-and-white pictures only brightness is left: covers as bright as skin are found less surely, and 1 in 200 frames is doubted. Lips
pressed in until they are gone reach the limit (0.42), and a face burnt out to white is no face to it.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..types import Pixels
from .align import STEADY, similarity
from .pose import _TEMPLATE

SIDE = 32
"""Side of the crop that colours are read from where nobody has made one, pixels: 25 to an outer-eye distance, a lip is 2 to 3 thick.
Covers are told apart as well as with 48 pixels."""
_CORNER, _SPAN = np.array([-0.65, -0.05]), 1.3
"""The crop's top left corner and its side, outer-eye distances from the middle of the eyes: from the eyes down to the chin."""
_STEADY_AT = (_TEMPLATE[STEADY, :2] - _CORNER) * (SIDE / _SPAN) - 0.5

MESH = (
    # Skin above the upper lip.
    (31, 48, 0.5), (31, 49, 0.6), (32, 50, 0.6), (33, 51, 0.6), (34, 52, 0.6), (35, 53, 0.6), (35, 54, 0.5),
    # The upper lip's edge and the middle of its thickness; the lower lip's middle and edge.
    (49, 49, 0.0), (50, 50, 0.0), (51, 51, 0.0), (52, 52, 0.0), (53, 53, 0.0),
    (49, 60, 0.5), (50, 61, 0.5), (51, 62, 0.5), (52, 63, 0.5), (53, 64, 0.5),
    (59, 60, 0.4), (58, 67, 0.4), (57, 66, 0.4), (56, 65, 0.4), (55, 64, 0.4),
    (59, 59, 0.0), (58, 58, 0.0), (57, 57, 0.0), (56, 56, 0.0), (55, 55, 0.0),
    # Skin just under the lower lip, and half way to the chin.
    (59, 6, 0.2), (58, 7, 0.2), (57, 8, 0.2), (56, 9, 0.2), (55, 10, 0.2),
    (59, 6, 0.5), (58, 7, 0.5), (57, 8, 0.5), (56, 9, 0.5), (55, 10, 0.5),
    # The corners and the skin beside and below them; the foot of the nose.
    (48, 48, 0.0), (54, 54, 0.0), (48, 54, -0.2), (54, 48, -0.2), (48, 4, 0.4), (54, 12, 0.4),
    (31, 31, 0.0), (32, 31, 0.5), (33, 33, 0.0), (34, 35, 0.5), (35, 35, 0.0))
"""The points whose colours are kept: (a, b, share) is the share of the way from landmark a to landmark b. Teeth, tongue and the gap
between the lips are left out, because they come and go with speech."""
_FROM, _TO = (np.array([point[i] for point in MESH]) for i in (0, 1))
_SHARE = np.array([point[2] for point in MESH])[:, None]

_AT = _TEMPLATE[_FROM, :2] + _SHARE * (_TEMPLATE[_TO, :2] - _TEMPLATE[_FROM, :2])
HALVES = (np.flatnonzero(_AT[:, 0] < 0.01), np.flatnonzero(_AT[:, 0] > -0.01))
"""The points of the picture's left and right half of a face, the middle in both. A hand that comes from the side covers one of them
whole when it covers half of the mouth."""

_RED = np.zeros(len(MESH), np.float32)
_RED[12:22], _RED[7:12], _RED[22:27], _RED[37:39] = 1.0, 0.6, 0.6, 0.6
_RED -= _RED.mean()
_RED /= np.linalg.norm(_RED)
"""Where any mouth is redder than its surroundings: the lips. (n points,), mean 0, length 1."""
CHANNELS = (0.3, 1.0, 0.5)
"""Weights of brightness, red over green and blue over green, all logarithmic. Brightness moves with light, pose and open mouths, but it
is all that black-and-white pictures have."""
DARK = 12.0
"""Added to 0..255 before the logarithm: noise in the dark is no colour."""
FAINT = 0.1
"""Patterns shorter than this (people: 0.3 to 1.5) are mostly noise and can't agree with anything."""
LESS = 0.35
"""Frames whose lips are less red than those of the person's better frames, by so much in correlation, don't say what is usual."""
SPREADS = 10.0
"""Where correlations spread (noise, dark, grey), 1 stands for this many of their spreads: with noise of 6 of 255 in the stored colours
0.2 % of uncovered frames would lose their effect, not 11 %."""
LAMP = 1.4
"""How much more a frame must stand off where light is let fall off across the face, to be covered all the same: at 1 half of a dark
hand passes for a shadow."""
ROWS = 4096
"""Frames that are worked on at a time, and that the usual pattern is taken from: an hour costs no more memory than minutes."""


class Seen:
    """`Pixels` that remember the last crop taken of them: the one that the landmark network was shown. To read colours from it costs
    0.07 ms a face, a crop of its own 0.5 ms of a 1080p frame."""

    def __init__(self, picture: Pixels) -> None:
        self.picture, self.width, self.height = picture, picture.width, picture.height
        self.crop: np.ndarray | None = None
        self.matrix = np.eye(2, 3)

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        self.crop, self.matrix = self.picture.warp(matrix, size), matrix
        return self.crop

    def thumbnail(self, max_side: int) -> np.ndarray:
        return self.picture.thumbnail(max_side)

    def region(self, box: tuple[int, int, int, int]) -> np.ndarray:
        return self.picture.region(box)


def look(picture: Pixels, shape: np.ndarray) -> np.ndarray:
    """The colours of `MESH`, RGB uint8 (48, 3), in a picture with landmarks (68, 2): means over about 1/11 outer-eye distance
    (at 1/18 lips that are pressed together look covered, at 1/8 half a mouth goes unnoticed)."""
    points = np.asarray(shape, np.float64)
    seen = picture if isinstance(picture, Seen) else Seen(picture)
    if seen.crop is None:
        seen.warp(similarity(points[STEADY], _STEADY_AT), (SIDE, SIDE))
    points = points @ seen.matrix[:, :2].T + seen.matrix[:, 2]
    at = (points[_FROM] + _SHARE * (points[_TO] - points[_FROM])).astype(np.float32)
    # The template is 1.56 outer-eye distances high, and unlike them the height of a face stays when it turns.
    width = max(1, round(float(np.ptp(points[:, 1])) / 1.56 / 11)) | 1
    crop = cv2.blur(seen.crop, (width, width)) if width > 1 else seen.crop
    return cv2.remap(crop, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]


def covered(looks: np.ndarray) -> np.ndarray:
    """float32 (n,) 0..1 for a track's looks, uint8 (n, 48, 3): how little of the person's usual lower face a frame shows.

    0 is the usual face, 1 has nothing to do with it: the correlation with the usual pattern, taken from its usual value, over the half
    of the face where that is more. Measured on the clips of ../shared/media (10,500 frames), and with drawn covers (a hand of the
    person's skin colour, a microphone, a cup) over at least half of the mouth (1,600 frames; see `benchmarks/occlusion.py`): of the
    uncovered frames half are at 0.00, 99 % at most at 0.22, 99.8 % at 0.33, all at 0.42; of the covered ones 95 % are at least at 0.73
    (hand over all of the mouth), 0.41 (hand over half of it), 0.63 (cup) and 0.95 (microphone).
    """
    if len(looks) < 2:
        return np.zeros(len(looks), np.float32)
    sample = looks[np.linspace(0, len(looks) - 1, min(len(looks), ROWS)).round().astype(int)]
    sample = sample[_shows_mouth(sample)]
    halves = [np.minimum(_apart(looks, sample, half, False), LAMP * _apart(looks, sample, half, True)) for half in HALVES]
    return np.clip(np.maximum(*halves), 0, 1)


def _apart(looks: np.ndarray, sample: np.ndarray, half: np.ndarray, lit: bool) -> np.ndarray:
    """float32 (n,): how far the looks' correlations with the pattern of `sample` (m, 48, 3) are below the sample's own.

    With `lit`, light may also fall off evenly across the face, so that a lamp from the side is no cover. That costs what tells turned
    heads apart, hence a frame counts as covered if it is so with and without.
    """
    patterns = _pattern(sample, half, lit)
    usual = _unit(np.median(patterns, axis=0))
    own = _unit(patterns) @ usual
    middle = max(float(np.median(own)), FAINT)
    spread = 1.4826 * float(np.median(np.abs(own - middle)))
    found = [_unit(_pattern(looks[i:i + ROWS], half, lit)) @ usual for i in range(0, len(looks), ROWS)]
    return (middle - np.concatenate(found)) / max(middle, SPREADS * spread)


def _shows_mouth(looks: np.ndarray) -> np.ndarray:
    """bool (n,): frames whose lips are not much less red than in the track's better frames. What is usual is taken from these.

    Without that choice a hand that stays for more than half of the track would be the usual, and the face the exception.
    """
    red = _unit(_pattern(looks, np.arange(len(MESH)), False).reshape(len(looks), len(MESH), 3)[..., 1]) @ _RED
    return red >= np.quantile(red, 0.9) - LESS


def _pattern(looks: np.ndarray, points: np.ndarray, lit: bool) -> np.ndarray:
    """float32 (n, 3 k): what tells k points apart, without the light that falls on all of them (`lit`: or falls off across them)."""
    log = np.log(looks[:, points].astype(np.float32) + DARK)
    green = log[..., 1]
    channels = np.stack([green, log[..., 0] - green, log[..., 2] - green], 1)
    light = np.hstack([np.ones((len(points), 1)), _AT[points]])[:, :3 if lit else 1]
    basis = np.linalg.qr(light)[0].astype(np.float32)
    channels -= channels @ basis @ basis.T
    return (channels.transpose(0, 2, 1) * np.array(CHANNELS, np.float32)).reshape(len(looks), -1)


def _unit(patterns: np.ndarray) -> np.ndarray:
    return patterns / np.maximum(np.linalg.norm(patterns, axis=-1, keepdims=True), FAINT)
