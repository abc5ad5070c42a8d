"""What the network of the inner mouth is told, and in which units."""

from __future__ import annotations

UNIT = 0.0065
"""Canonical units of a pixel (0.6 mm; an upper incisor is some 14 pixels wide)."""
MAPS = 5
"""Planes of `describe`: distance to the upper and the lower edge, inside, across, down."""
ACROSS, DOWN = 0.25, 0.15
"""Canonical units in which the planes across and down count."""
CONDITIONS = 9
"""Numbers of `describe`: gap, half width, rise of the upper lip; of `tones`: brightness and two hues of the skin, the lips
beside it."""
SHAPES = 3
"""Those of them that are the shape's."""
