"""What shows between the lips: teeth, tongue and dark, from the person's own open-mouth frames, else learned from others'.

Upper teeth belong to the skull and lower teeth and tongue to the jaw. So a reference picture's upper half is laid in place by
the nose and eyes, whatever the lips do, and its lower half follows the lower lip; where a reference ends, the learned
interior (interior_net.py) goes on. Slits are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...array_pixels import cubic, each_channel
from .interior_net import Colours, learned, skin_colour
from .opening import Opening, opening_of, smoothstep, visible

TOOTH_REST = 0.018
"""How far the upper incisors reach below the lip line of a mouth at rest (about 2 mm)."""

LEARNED_FROM = (0.025, 0.07)
"""Openings (canonical) between which the drawn interior gives way to the learned one: a slit is too little for the network's
pixels, and a dark line with a hint of teeth reads better there."""

DEEP = 0.45
"""Share of the light that the back of a wide mouth loses: the people that the network was taught on faced their lamps."""

MAX_STRETCH = 1.3
"""How much longer a row of teeth that fills the reference's mouth may be made to fill a wider one."""

SURE = 0.25
"""Share of an opening's bulge that a reference is trusted to show: mouths differ, and a lip taken for teeth is a pink rim in the mouth."""

SLIT = (0.05, 0.1)
"""Openings (canonical) between which a reference's lower half comes in."""

UNLIKE = 0.13
"""Difference from the lips' colour, over its brightness, from which a pixel between them is teeth or dark."""


@dataclass(frozen=True)
class Reference:
    """A picture of the person's open mouth: R, G and B (h, w) float32, canonical -> pixels z = a c + b, its opening."""

    planes: Sequence[np.ndarray]
    a: complex
    b: complex
    opening: Opening
    brightness: np.ndarray
    """RGB mean of the lips, to bring the reference to the light of another frame."""
    lower: float
    """0..1: how sure it is that the lower half shows what belongs to the jaw. Teeth from lip to lip are the upper ones' all
    the way as far as anybody can tell, and moved with the jaw they would be seen twice."""
    shown: float
    """0..1: whether there is the inside of a mouth at all, and not lips that landmarks took for open."""


def lip_colour(pixels: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Mean RGB of the lips themselves (not of what is between them); lips (20,) complex pixels. float32 (3,)."""
    outer, inner = (np.rint(np.stack([part.real, part.imag], -1)).astype(np.int32) for part in (lips[:12], lips[12:]))
    corner = np.maximum(outer.min(0), 0)
    around = pixels[corner[1]:max(outer[:, 1].max() + 1, 0), corner[0]:max(outer[:, 0].max() + 1, 0)]
    mask = np.zeros(around.shape[:2], np.uint8)
    if mask.size:
        cv2.fillPoly(mask, [outer - corner], 1)
        cv2.fillPoly(mask, [inner - corner], 0)
    return np.array(cv2.mean(around, mask)[:3], np.float32) if mask.any() else np.full(3, 110, np.float32)


def colours_of(pixels: np.ndarray, lips: np.ndarray, jaw: np.ndarray) -> Colours:
    """Of an RGB crop; lips (20,), jaw (17,) complex pixels."""
    return Colours(lip_colour(pixels, lips), skin_colour(pixels, lips, jaw))


def make_reference(pixels: np.ndarray, a: complex, b: complex, lips: np.ndarray) -> Reference:
    """`lips` (20,) complex canonical; `pixels` any RGB array; a, b map canonical to its pixels."""
    pixels = np.asarray(pixels, np.float32)
    opening = visible(opening_of(lips, SURE))
    middle = np.abs(opening.x - opening.centre) < 0.5 * opening.half_width
    x, top, bottom = opening.x[middle], opening.top[middle], opening.bottom[middle]
    z = a * (x + 1j * (top + np.linspace(0.15, 0.85, 11)[:, None] * (bottom - top))) + b
    inner = cv2.remap(pixels, z.real.astype(np.float32), z.imag.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rows = inner.mean((1, 2))
    bright, dark = (rows[:4].mean(), rows[7:].mean()), max(float(rows[2:9].min()), 1.0)
    lip = lip_colour(pixels, a * lips + b)
    # Bright below is the lower row of teeth where dark parts it from what is above, if it is brighter than the lip itself.
    row = float(rows[7:].max())
    teeth = float(smoothstep(row / dark, 1.5, 2.2) * smoothstep(row / max(float(lip.mean()), 1.0), 0.95, 1.25))
    jaws = max(1 - float(smoothstep(bright[1] / max(bright[0], 1.0), 0.75, 0.95)), teeth)
    lower = float(smoothstep(opening.gap, 0.05, 0.11)) * jaws
    unlike = np.abs(inner - lip).mean(-1) > UNLIKE * float(lip.mean())
    # Of a face that may be large only the mouth is kept, with what is beside it.
    pad, z = 0.15 * abs(a), a * lips + b
    x0, y0 = (int(np.clip(v.min() - pad, 0, limit - 1)) for v, limit in ((z.real, pixels.shape[1]), (z.imag, pixels.shape[0])))
    mouth = pixels[y0:max(int(z.imag.max() + pad) + 1, y0 + 1), x0:max(int(z.real.max() + pad) + 1, x0 + 1)]
    return Reference(cv2.split(mouth), a, b - complex(x0, y0), opening, lip, lower,
                     float(smoothstep(float(unlike.mean()), 0.1, 0.35)))


def _cavity(u: np.ndarray, above: np.ndarray, below: np.ndarray, gap: np.ndarray, colour: np.ndarray,
            teeth: np.ndarray | None) -> np.ndarray:
    """The drawn mouth: dark, a tongue low in the middle, upper teeth where `teeth` (canonical depth below their edge) says.

    `u` -1..1 across the mouth; `above`, `below`: canonical distance to the upper and the lower edge. (h, w, 3) float32.
    """
    light = float(np.clip(colour.mean(), 12, 200))
    # Wet red flesh, whatever the lips' paint: hue fixed, light from the lips.
    dark = np.array([0.23, 0.10, 0.09], np.float32) * light
    flesh = np.array([0.86, 0.44, 0.41], np.float32) * light
    raised = (1 - np.clip(np.abs(u), 0, 1) ** 2.2) * smoothstep(gap, 0.06, 0.14)
    picture = dark + each_channel((1 - smoothstep(below, 0.0, 0.13)) * raised) * ((flesh - dark) * np.float32(0.5))
    # The lower lip turns inwards: its inner side is lit from above and hides the dark.
    rim = each_channel(0.85 * (1 - smoothstep(below, 0.0, 0.055)))
    picture = picture + rim * (colour * np.float32(0.74) - picture)
    if teeth is not None:
        enamel = np.array([1.0, 0.92, 0.82], np.float32) * min(1.5 * light, 225.0)
        # Six teeth across, each a little rounded below and parted from the next by a soft shadow.
        phase = np.abs(np.mod(np.sign(u) * np.abs(u) ** 0.9 * 3.4, 1.0) - 0.5) * 2
        edge = smoothstep(teeth - 0.008 * phase**4, -0.007, 0.009)
        parted = 1 - 0.16 * smoothstep(phase, 0.78, 1.0)
        side = np.clip(1 - 0.85 * np.abs(u) ** 1.8, 0, 1)
        shade = 0.66 + 0.34 * smoothstep(above, 0.0, 0.03)
        weight = each_channel(edge * smoothstep(side, 0.1, 0.55))
        picture = picture + weight * (enamel * each_channel(side * shade * parted) - picture)
    return picture


def paint(x: np.ndarray, y: np.ndarray, target: Opening, references: list[tuple[Reference, float]], colours: Colours,
          seam_y: float, learn: bool = True, softness: float = 0.0) -> np.ndarray:
    """The inner mouth at canonical points x, y (h, w), float32: RGB float32 (h, w, 3).

    `references` with weights 0..1, painted in order over a learned mouth (a drawn one without `learn`); `colours` are
    the frame's own, which set the light; `seam_y` the canonical height of the lip line at rest, where the teeth hang from;
    `softness` the sigma, in points, of the edges of what is learned or drawn (references have their own).
    """
    colour = colours.lips
    top, bottom = target.edges(x)
    above, below, gap = y - top, bottom - y, np.maximum(bottom - top, 1e-4)
    u = (x - target.centre) / target.half_width
    # The lips' shadow, and the darkness of the corners.
    shade = each_channel((0.72 + 0.28 * smoothstep(above, 0.0, 0.03)) * (1 - 0.45 * np.clip(np.abs(u), 0, 1) ** 4))
    have = max((weight for _, weight in references), default=0.0)
    sure = float(smoothstep(target.gap, *LEARNED_FROM)) if learn else 0.0
    picture = np.zeros((*x.shape, 3), np.float32)
    if sure < 1:
        teeth = (seam_y + TOOTH_REST - 0.03 * u**2) - y if have < 0.5 else None
        picture += (1 - sure) * (_cavity(u, above, below, gap, colour, teeth) * shade)
    if sure > 0:
        # The wider the mouth, the less light finds its way behind the teeth.
        deep = DEEP * float(smoothstep(target.gap, 0.08, 0.2)) * smoothstep(y - seam_y, 0.02, 0.09) * smoothstep(below, 0.0, 0.07)
        picture += sure * learned(x, y, target, seam_y, colours) * each_channel(1 - deep)
    if softness > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), softness)
    for reference, weight in references:
        if weight <= 0:
            continue
        own = reference.opening
        stretch = min(1.0, own.half_width / target.half_width)
        xr = own.centre + (x - target.centre) * stretch * 0.97
        top_r, bottom_r = own.edges(xr)
        inset = 0.006
        # Skull-fixed, but a reference whose upper lip hangs lower has nothing to show above it. Teeth from lip to lip give a
        # little, so that they don't end in a dark line just above a lip that is a little lower.
        give = np.clip((bottom_r - 2 * inset - top_r) / np.maximum(bottom - top_r, 1e-4), 1 / MAX_STRETCH, 1)
        give = 1 - (1 - reference.lower) * (1 - give)
        y_upper = np.maximum(top_r + (y - top_r) * give, top_r + inset)
        y_lower = bottom_r - 3 * inset - below * 0.98
        # In a slit, lower teeth are a white thread on the lip.
        share = smoothstep(above / gap, 0.5, 0.8) * float(smoothstep(target.gap, *SLIT))
        upper_ok = (1 - share * reference.lower) * smoothstep(bottom_r - y_upper, inset, inset + 0.025)
        lower_ok = share * reference.lower * smoothstep(y_lower - top_r, 0.0, 0.02)
        gain = np.clip(colour / np.maximum(reference.brightness, 1), 0.6, 1.6)
        parts = []
        for yr in (y_upper, y_lower):
            a, b = reference.a, reference.b
            parts.append(cubic(reference.planes, cv2.merge([a.real * xr - a.imag * yr + b.real, a.imag * xr + a.real * yr + b.imag])))
        total = np.clip(upper_ok + lower_ok, 1e-6, None)
        mixed = (parts[0] * each_channel(upper_ok / total) + parts[1] * each_channel(lower_ok / total)) * gain
        # Towards its corners a reference shows lips that touch: there the picture below is the mouth's inside.
        beside = 1 - smoothstep(np.abs(u), 0.6, 0.95)
        alpha = np.clip(upper_ok + lower_ok, 0, 1) * weight * beside
        picture = picture + each_channel(alpha) * (mixed * shade - picture)
    return np.clip(picture, 0, 255)
