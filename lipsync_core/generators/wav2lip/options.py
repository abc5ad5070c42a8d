"""What of Wav2Lip may be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..choices import number, one_of, refuse_unknown, yes_or_no

REFERENCES = ("same", "open")
MOST_OFFSET = 500.0
MOST_FACES = 1024


@dataclass(frozen=True)
class Wav2LipOptions:
    """The defaults are what its checkpoints are best known with, but for the crop, which follows the smoothed track."""

    upstream_crop: bool = False
    """Crop as the authors' program does: the mean of this and the next four frames' boxes, and 10 pixels below the chin whatever the
    face's size. Off: the box around the smoothed landmarks of the frame itself."""
    reference: str = "same"
    """Which picture of the person is copied from: 'same', the frame itself, as the authors' program does, or 'open', one frame of the clip
    with the mouth open, as in training: teeth are always in view, but the light may be another."""
    offset_ms: float = 0.0
    """Milliseconds that the mouth moves later (> 0) or earlier. In training windows of sound began 40 ms earlier than in the authors'
    program for using it (architectures, 1.8): 0 is the program's, 40 the training's."""
    batch: int = 32
    """Faces at a time at most."""

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Wav2LipOptions:
        """From words (`OPTIONS`); those of loading are left alone. Raises `LipSyncError`."""
        refuse_unknown("Wav2Lip", options, OPTIONS)
        usual = cls()
        return cls(yes_or_no("upstream_crop", options.get("upstream_crop", "no")),
                   one_of("reference", options.get("reference", usual.reference), REFERENCES),
                   number("offset_ms", options.get("offset_ms", str(usual.offset_ms)), -MOST_OFFSET, MOST_OFFSET),
                   int(number("batch", options.get("batch", str(usual.batch)), 1, MOST_FACES, whole=True)))


OPTIONS = {
    "upstream_crop": "yes: crop as the authors' program does (no)",
    "reference": "which picture of the person is copied from: same, the frame itself, or open, one with the mouth open (same)",
    "offset_ms": "milliseconds that the mouth moves later, -500 to 500; 40 is how it was taught (0)",
    "batch": "faces at a time at most, 1 to 1024 (32)",
    "precision": "auto (fp16 on a GPU, else fp32), fp32, fp16 or bf16",
    "device": "torch device that the network is put on (cpu); a host that moves it itself leaves it out",
}
"""What `create` may be told, and the values."""
