"""What a file says of how it was made."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..media import open_media
from .credentials import TYPES
from .mark import BOXES, TAG, XMP_BOX
from .words import INPUTS, SOFTWARE

MOST_XMP = 4 << 20
"""Bytes of an XMP box that are read."""
ALTERED = ("compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia",
           "algorithmicallyEnhanced")
"""IPTC's digital source types of what was made or altered by a program that learned, or may have been."""


@dataclass
class Known:
    """What is known of a file."""

    comment: str = ""
    source_type: str = ""
    """The last part of IPTC's address, from XMP, a tag, or words in the comment."""
    software: str = ""
    credentials: dict[str, Any] | None = None
    """What C2PA's reader says, as JSON."""
    state: str = ""
    """'Trusted', 'Valid' (the signer is not on the reader's list) or 'Invalid'."""
    notes: list[str] = field(default_factory=list)

    @property
    def altered(self) -> bool:
        """Whether something says so."""
        return self.source_type in ALTERED or self.credentials is not None and _type_of(json.dumps(self.credentials)) in ALTERED

    def words(self) -> list[str]:
        """Lines for people."""
        lines = []
        if self.source_type:
            lines.append(f"metadata: {_meaning(self.source_type)}" + (f", made with {self.software}" if self.software else ""))
        if self.credentials is not None:
            lines += self._signed()
        lines += self.notes
        if not self.source_type and self.credentials is None:
            lines.append("no mark: that does not say that nothing was altered; marks are lost where a file is converted or sent on")
        return lines

    def _signed(self) -> list[str]:
        """The credentials in words; strangers wrote them."""
        try:
            active = self.credentials["manifests"][self.credentials["active_manifest"]]
            signer = active.get("signature_info") or {}
            holds = {"Trusted": "the signature holds, and the signer is on the list of those who are trusted",
                     "Valid": "the signature holds; the signer is on no list of this program"}
            lines = [f"content credentials: signed by {signer.get('common_name') or signer.get('issuer') or 'somebody'}; "
                     + holds.get(self.state, "THE SIGNATURE DOES NOT HOLD: the file was changed since")]
            for assertion in active.get("assertions", []):
                if assertion["label"].startswith("c2pa.actions"):
                    for action in assertion["data"].get("actions", []):
                        said = action.get("description") or _meaning(_type_of(action.get("digitalSourceType", "")))
                        lines.append(f"  {action['action'].removeprefix('c2pa.')}" + (f": {said}" if said else ""))
                if assertion["label"] == INPUTS:
                    lines += [f"  from the {one['role']} {one['name']}, sha256 {one['hash']}" for one in assertion["data"]["inputs"]]
            return lines
        except (KeyError, TypeError, AttributeError):
            return ["content credentials: they are there, but not as the specification has them"]


def known_of(file: Path) -> Known:
    """Raises `MediaError` for what is no media file."""
    with open_media(file, "video") as source:
        tags = {key.lower(): value for key, value in source.metadata.items()}
    known = Known(comment=tags.get("comment", ""))
    known.source_type = _type_of(tags.get(TAG.lower(), "")) or _type_of(known.comment)
    known.software = _found(rf"{SOFTWARE} [\w.+-]+", known.comment) or tags.get("software", "")
    if file.suffix.lower() in BOXES:
        for text in _xmp(file):
            known.source_type = _type_of(_found(r"DigitalSourceType[=>\"'\s]+([^\"'<]+)", text)) or known.source_type
            known.software = _found(r"CreatorTool[=>\"'\s]+([^\"'<]+)", text) or known.software
    if file.suffix.lower() in TYPES:
        _read_credentials(file, known)
    return known


def _read_credentials(file: Path, known: Known) -> None:
    try:
        import c2pa
    except ImportError:
        known.notes.append("content credentials were not looked for: pip install -r requirements-sign.txt")
        return
    try:
        reader = c2pa.Reader(str(file))
    except c2pa.C2paError as error:
        if "ManifestNotFound" not in type(error).__name__ + str(error) and "no JUMBF" not in str(error):
            known.notes.append(f"content credentials are there, but can't be read ({str(error).splitlines()[0]})")
        return
    known.credentials, known.state = json.loads(reader.json()), str(reader.get_validation_state())


def _xmp(file: Path) -> Iterator[str]:
    """XMP in the boxes of an MP4 or MOV file, outermost only."""
    with open(file, "rb") as source:
        for kind, size in _boxes(source):
            if kind == b"uuid" and size <= MOST_XMP and source.read(16) == XMP_BOX:
                yield source.read(size - 16).decode("utf-8", "replace")


def _boxes(source: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and bytes of each box, the file at its content."""
    end = source.seek(0, 2)
    at = 0
    while at + 8 <= end:
        source.seek(at)
        size, kind = struct.unpack(">I4s", source.read(8))
        head = 8
        if size == 1:
            wide = source.read(8)
            size, head = (struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0), 16
        elif size == 0:
            size = end - at
        if size < head:
            return
        yield kind, size - head
        at += size


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[found.lastindex or 0].strip() if found else ""


def _type_of(text: str) -> str:
    """The last part of an IPTC address in `text`."""
    return _found(r"cv\.iptc\.org/newscodes/digitalsourcetype/(\w+)", text)


def _meaning(kind: str) -> str:
    return {"compositeWithTrainedAlgorithmicMedia": "a recording, parts of which were made by a program that learned",
            "trainedAlgorithmicMedia": "made by a program that learned", "digitalCapture": "a recording", "": ""}.get(kind, kind)

