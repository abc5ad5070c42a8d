"""When picture and sound of a file begin and end, and why frames were passed through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from ..faces.activation import CONFIDENCE, COVERED, HEIGHT, PITCH, YAW
from ..media import open_media
from .landmarks import Person

REASONS = ("no face", "unsure", "turned", "tilted", "small", "at the border", "covered", "fading")


@dataclass(frozen=True)
class Timing:
    """Seconds, as a player sees them (edit lists and encoder delay applied). Sound is None where there is none."""

    video_start: float
    audio_start: float | None
    video_seconds: float
    audio_seconds: float | None

    @property
    def offset(self) -> float:
        """Start of the sound after the start of the picture, seconds; 0 without sound.

        0 is good, and within 20 ms is right for formats that count in packets. Fooled by nothing in the file, but a
        sound that begins late inside its own track is not seen here (see `best_lag`)."""
        return 0.0 if self.audio_start is None else self.audio_start - self.video_start

    def as_dict(self) -> dict[str, float | None]:
        def rounded(value: float | None) -> float | None:
            return None if value is None else round(value, 4)

        difference = None if self.audio_seconds is None else self.audio_seconds - self.video_seconds
        return {"video_start_s": rounded(self.video_start), "audio_start_s": rounded(self.audio_start),
                "video_s": rounded(self.video_seconds), "audio_s": rounded(self.audio_seconds),
                "audio_minus_video_s": rounded(difference),
                "audio_offset_ms": None if self.audio_start is None else round(1000 * self.offset, 1)}


def timing_of(file: Path) -> Timing:
    """Starts from the first decoded frames, ends from the packets (nothing else is decoded)."""
    starts, ends = {}, {}
    for kind in ("video", "audio"):
        with open_media(file) as container:
            streams = [s for s in getattr(container.streams, kind) if s.codec_context is not None]
            if not streams:
                continue
            try:
                for frame in container.decode(streams[0]):
                    if frame.pts is not None:
                        starts[kind] = float(frame.pts * frame.time_base)
                        break
            except FFmpegError:
                continue
    with open_media(file) as container:
        chosen = {s[0].index: kind for kind in ("video", "audio") if (s := getattr(container.streams, kind)) and kind in starts}
        for packet in container.demux([container.streams[index] for index in chosen]):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                kind = chosen[packet.stream.index]
                rate = getattr(packet.stream, "average_rate", None) if kind == "video" else None
                duration = float(packet.duration * packet.time_base) if packet.duration else (float(1 / rate) if rate else 0.0)
                ends[kind] = max(ends.get(kind, 0.0), float(stamp * packet.time_base) + duration)
    lengths = {kind: max(0.0, ends.get(kind, start) - start) for kind, start in starts.items()}
    return Timing(starts.get("video", 0.0), starts.get("audio"), lengths.get("video", 0.0), lengths.get("audio"))


def passed_through(person: Person, picture: tuple[int, int]) -> dict[str, int]:
    """Number of frames of the source, a picture of (w, h), whose activation is 0, by reason (`REASONS`; the first that holds).

    None at all is good; which of them are right is for the eye to judge. Fooled by a face that the built-in models do not find.
    """
    counts = dict.fromkeys(REASONS, 0)
    limit = np.array(picture) - 1
    for item, shape in zip(person.track_rows, person.mouths.points):
        if item is None:
            counts["no face"] += 1
            continue
        track, row = item
        if track.activation[row] > 0:
            continue
        yaw, pitch = np.abs(track.pose[row, :2])
        height = float(track.boxes[row, 3] - track.boxes[row, 1])
        checks = (("unsure", track.scores[row] <= CONFIDENCE[0]), ("turned", yaw >= YAW[1]), ("tilted", pitch >= PITCH[1]),
                  ("small", height <= HEIGHT[0]), ("at the border", ((shape[48:60] >= 0) & (shape[48:60] <= limit)).all(1).mean() <= 0.7),
                  ("covered", track.covered is not None and track.covered[row] >= COVERED[1]))
        counts[next((name for name, holds in checks if holds), "fading")] += 1
    return counts
