"""What every mark says."""

from __future__ import annotations

from .. import __version__

SOFTWARE, VERSION = "OpenLipSync", __version__
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a recording of which a part was made by a program that learned."""
SENTENCE = "The mouth of a person in this video was altered to say other speech"
INPUTS = "org.openlipsync.inputs"
"""Label of our own statement in content credentials: which files a result was made from."""


def comment() -> str:
    return f"{SENTENCE} (made with {SOFTWARE} {VERSION}; digital source type {SOURCE_TYPE})."
