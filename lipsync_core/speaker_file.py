"""Speaker data: who is where in each frame and whether they speak, in the JSON that NVIDIA's LipSync clients read and write.

    {"frames": [{"speakers": [{"bbox": [x, y, w, h], "speaker_id": 1, "is_speaking": true}], "bypass": false}, ...]}

One entry a frame, in order, of the whole video. Boxes are in pixels of the picture as displayed, origin top left. A frame without
speakers, or with a box of zeros that speaks, says: find the face yourself. `face_tracker_id` stands in for `speaker_id`; unknown keys
are ignored. Ours beyond that: `bypass` may be a number 0..1 (how much of the source shows), and a speaker may have a `voice`, the name
of one of several recordings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LipSyncError
from .files import check_file

LARGEST_FILE = 1 << 30
"""Bytes: a day of video with several people. Beyond that the file is something else."""
LARGEST_ID = 2**31 - 1
"""Ids are int32 in the interface."""


@dataclass(frozen=True)
class Speaker:
    """One person in one frame."""

    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels; None: wherever the face is."""
    speaker_id: int | None = None
    speaking: bool = True
    voice: str = ""
    """Which of several recordings the person has; '' = nothing is said of it."""


@dataclass(frozen=True)
class FrameSpeakers:
    """What the data says of one frame. Without speakers: find the face yourself."""

    speakers: tuple[Speaker, ...] = ()
    bypass: float = 0.0
    """0..1, how much of the source shows; 1 = the frame as it was."""


SpeakerData = Sequence[FrameSpeakers]
"""One entry a frame, from the first frame of the video."""


def load_speakers(file: Path | str) -> list[FrameSpeakers]:
    """Read a file. Raises `MediaError` where there is none, `LipSyncError` with the frame where it is malformed."""
    file = Path(file)
    check_file(file, "speaker data")
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise LipSyncError(f"{file} is too large for speaker data: give a JSON file with one entry a frame.")
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LipSyncError(f"{file} is no text in UTF-8: give speaker data as JSON.") from error
    except OSError as error:
        raise LipSyncError(f"{file} can't be read ({error.strerror}): check its rights.") from error
    return parse_speakers(text, str(file))


def parse_speakers(text: str, name: str = "The speaker data") -> list[FrameSpeakers]:
    """Speaker data from the JSON itself; `name` stands in error sentences. Raises `LipSyncError` that names the frame (from 0)."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise LipSyncError(f"{name} is no JSON ({error.msg} in line {error.lineno}, column {error.colno}): write "
                           '{"frames": [...]} with one entry a frame.') from error
    except (ValueError, RecursionError) as error:                     # numbers of thousands of digits, brackets without end
        raise LipSyncError(f"{name} is JSON that can't be read: write {{\"frames\": [...]}} with one entry a frame.") from error
    frames = data.get("frames") if isinstance(data, Mapping) else None
    if not isinstance(frames, list):
        raise LipSyncError(f'{name} has no list "frames": write {{"frames": [...]}} with one entry a frame.')
    return [_frame(entry, f"{name}, frame {index}:") for index, entry in enumerate(frames)]


def _frame(entry: Any, where: str) -> FrameSpeakers:
    if entry is None:                                                 # a frame of which nothing is known
        return FrameSpeakers()
    if not isinstance(entry, Mapping):
        raise LipSyncError(f'{where} an entry must be an object such as {{"speakers": [...], "bypass": false}}, not {_shown(entry)}.')
    speakers = entry.get("speakers")
    if speakers is None:
        speakers = []
    if not isinstance(speakers, list):
        raise LipSyncError(f'{where} "speakers" must be a list, not {_shown(speakers)}.')
    return FrameSpeakers(tuple(_speaker(item, f"{where[:-1]}, speaker {i}:") for i, item in enumerate(speakers)), _bypass(entry, where))


def _bypass(entry: Mapping[str, Any], where: str) -> float:
    value = entry.get("bypass")
    if value is None or isinstance(value, bool):
        return float(bool(value))
    if not _is_number(value) or not 0 <= value <= 1:
        raise LipSyncError(f'{where} "bypass" must be true, false or a number from 0 to 1, not {_shown(value)}.')
    return float(value)


def _speaker(item: Any, where: str) -> Speaker:
    if not isinstance(item, Mapping):
        raise LipSyncError(f'{where} a speaker must be an object such as {{"bbox": [x, y, w, h], "is_speaking": true}}, not '
                           f"{_shown(item)}.")
    speaking = item.get("is_speaking")
    if not (speaking is None or isinstance(speaking, bool)):
        raise LipSyncError(f'{where} "is_speaking" must be true or false, not {_shown(speaking)}.')
    voice = item.get("voice")
    if not (voice is None or isinstance(voice, str)):
        raise LipSyncError(f'{where} "voice" must be a name in quotes, not {_shown(voice)}.')
    return Speaker(_box(item.get("bbox"), where), _id(item, where), speaking is not False, (voice or "").strip())


def _box(value: Any, where: str) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    sound = isinstance(value, list) and len(value) == 4 and all(_is_number(number) for number in value)
    if sound and not any(value):
        return None
    if not sound or value[2] <= 0 or value[3] <= 0:
        raise LipSyncError(f'{where} "bbox" must be four numbers x, y, width, height with a width and a height above 0 (or four zeros: '
                           f"find the face yourself), not {_shown(value)}.")
    x, y, width, height = (float(number) for number in value)
    return x, y, width, height


def _id(item: Mapping[str, Any], where: str) -> int | None:
    value = item.get("speaker_id")
    if value is None:
        value = item.get("face_tracker_id")
    if value is None:
        return None
    if not _is_number(value) or value != int(value) or abs(value) > LARGEST_ID:
        raise LipSyncError(f'{where} "speaker_id" must be a whole number, not {_shown(value)}.')
    return int(value)


def _is_number(value: Any) -> bool:
    """A finite number that a float can hold; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e9 if isinstance(value, int) else math.isfinite(value) and abs(value) < 1e9


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, (int, float, str, type(None))) else type(value).__name__
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def speakers_text(data: Iterable[FrameSpeakers]) -> str:
    """The JSON of speaker data, which the reader above and NVIDIA's client take: a line a frame."""
    lines = ",\n".join(json.dumps(_entry(frame), ensure_ascii=False) for frame in data)
    return f'{{"frames": [\n{lines}\n]}}\n'


def _entry(frame: FrameSpeakers) -> dict[str, Any]:
    speakers = []
    for one in frame.speakers:
        box = [round(number, 1) for number in one.box or ()]
        entry: dict[str, Any] = {"bbox": [*box[:2], *(max(size, 0.1) for size in box[2:])] or [0.0] * 4}
        if one.speaker_id is not None:
            entry["speaker_id"] = one.speaker_id
        entry["is_speaking"] = one.speaking
        if one.voice:
            entry["voice"] = one.voice
        speakers.append(entry)
    whole = frame.bypass in (0.0, 1.0)
    return {"speakers": speakers, "bypass": bool(frame.bypass) if whole else round(frame.bypass, 3)}
