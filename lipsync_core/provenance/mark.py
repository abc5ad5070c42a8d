"""The mark in a file's own metadata.

The European Union's AI Act (Regulation 2024/1689, article 50) asks that altered pictures are marked so that machines can tell. IPTC has a
word for what a dub is, its digital source type `compositeWithTrainedAlgorithmicMedia`. It goes where each container keeps such things: MP4
and MOV in XMP (Adobe XMP specification, part 3: a `uuid` box), Matroska and WebM in a tag; and, because programs that copy files keep the
comment if anything, into the comment, with words around it.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .credentials import Credentials
from .words import SENTENCE, SOFTWARE, SOURCE_TYPE, VERSION, comment

XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
BOXES, TAGS = (".mp4", ".m4v", ".mov"), (".mkv", ".webm")
TAG = "DIGITAL_SOURCE_TYPE"


@dataclass(frozen=True)
class Mark:
    """What `media.VideoWriter` puts into a result."""

    credentials: Credentials | None = None
    """Sign it, too."""
    inputs: Sequence[tuple[str, Path]] = ()
    """What it was made from, for the credentials: ('video' or 'speech', file)."""

    def tags(self, suffix: str, there: str = "") -> dict[str, str]:
        """Metadata of the container; `there` is the comment that the source brought."""
        text = there if SENTENCE in there else f"{there}\n{comment()}".strip()
        found = {"comment": text}
        if suffix in TAGS:
            found |= {TAG: SOURCE_TYPE, "SOFTWARE": f"{SOFTWARE} {VERSION}"}
        return found

    def end(self, suffix: str) -> bytes:
        """What stands behind the container's own content."""
        return xmp_box() if suffix in BOXES else b""

    def finish(self, file: Path, name: str) -> None:
        """Add what is not the container's metadata to a file that is written, which will be called `name`. Raises `LipSyncError`."""
        with open(file, "ab") as out:
            out.write(self.end(Path(name).suffix.lower()))
        if self.credentials is not None:
            self.credentials.sign(file, name, self.inputs)


def xmp_box() -> bytes:
    """A box for the end of an MP4 or MOV file."""
    text = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool="{SOFTWARE} {VERSION}" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{SENTENCE}.</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()
    return struct.pack(">I4s", 24 + len(text), b"uuid") + XMP_BOX + text
