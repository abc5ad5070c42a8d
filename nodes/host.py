"""What touches ComfyUI's `comfy.*` and `folder_paths`, beside `host_models` and `progress`: pictures, sound, files."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ..lipsync_core.types import Clip, Speech
from .progress import hooks

log = logging.getLogger(__name__)


# -- pictures and sound ------------------------------------------------------------------------------------------------------


def picture_batch(pictures: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """RGB uint8 pictures of one size -> IMAGE."""
    return output(torch.from_numpy(np.stack(pictures)).float().div_(255))


def output(tensor: torch.Tensor) -> torch.Tensor:
    """An IMAGE or MASK where the host wants it."""
    dtype = getattr(comfy.model_management, "intermediate_dtype", lambda: torch.float32)()
    return tensor.to(comfy.model_management.intermediate_device(), dtype)


def clip_of(images: torch.Tensor, frame_rate: Fraction) -> Clip:
    """IMAGE (n, h, w, c) float 0..1 as a clip; pixels are converted one frame at a time."""
    from ..lipsync_core.media import FrameBatch

    count, height, width = images.shape[:3]
    return FrameBatch(lambda i: images[i].float().cpu().numpy(), count, (width, height), frame_rate)


def rate_of(fps: float) -> Fraction:
    """23.976, 29.97 and 59.94 are 1001ths; other rates are what they say."""
    for whole in (24, 30, 48, 60, 120):
        if abs(fps - whole * 1000 / 1001) < 0.004:
            return Fraction(whole * 1000, 1001)
    return Fraction(fps).limit_denominator(1000)


def samples_of(audio: Mapping[str, Any] | None, node: str) -> tuple[np.ndarray, int]:
    """AUDIO {"waveform": (1, channels, n), "sample_rate"} -> float32 (channels, n) and the rate; raises a sentence where there is none."""
    if audio is None:
        raise ValueError(f"{node} got no audio (a video without a sound track gives none): connect a recording with speech in it.")
    waveform = audio["waveform"]
    if waveform.shape[0] > 1:
        log.warning("%s: of %d recordings in the batch the first is used.", node, waveform.shape[0])
    return waveform[0].float().cpu().numpy(), int(audio["sample_rate"])


def speech_of(audio: Mapping[str, Any] | None, node: str) -> Speech:
    """AUDIO as speech; raises a sentence where there is none."""
    from ..lipsync_core.audio import speech_from_samples

    return speech_from_samples(*samples_of(audio, node))


@dataclass(frozen=True)
class GivenVoice:
    """What Voice gives: AUDIO, who says it, and when it begins, seconds."""

    audio: Mapping[str, Any]
    who: str | int
    offset: float


def voices_of(given: Sequence[GivenVoice]) -> list[Any]:
    """As `lipsync_core.options.Voice`."""
    from ..lipsync_core.faces import parse_face_rule
    from ..lipsync_core.options import Voice

    def who(text: str | int) -> Any:
        try:
            return text if isinstance(text, int) else parse_face_rule(text)
        except ValueError:
            return text                                               # an id or a name, which speaker data explain

    return [Voice(who(one.who), speech_of(one.audio, "Voice"), one.offset) for one in given]


def told_speakers(faces: Any, audio: Mapping[str, Any] | None) -> tuple[Any, str]:
    """Speaker data of found faces, by their lips and the video's own sound, and the turns in words."""
    from ..lipsync_core.marks import as_speakers
    from ..lipsync_core.speaking import turns

    said = turns(faces.tracks, speech_of(audio, "Who Speaks").samples, people=faces.groups, check=hooks(look=1).check_interrupt)
    data = as_speakers(faces.tracks, faces.groups, faces.count, faces.size, said.speaks)
    return data, turns_text(said.spans())


def turns_text(spans: Sequence[tuple[float, float, int]]) -> str:
    """A line for each turn."""
    return "\n".join(f"{begin:.2f} to {end:.2f} s: person {person}" for begin, end, person in spans)


def audio_of(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """float32 (channels, n) or (n,) -> AUDIO."""
    return {"waveform": torch.from_numpy(np.atleast_2d(samples).copy())[None], "sample_rate": int(rate)}


# -- video -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoFile:
    """A VIDEO that can be streamed: a path or an open file, and the part of it that is meant."""

    file: Any
    start: float
    duration: float | None


def file_of(video: Input.Video) -> VideoFile | None:
    """None for a VIDEO whose frames are in memory, or that has edits which its stream does not show."""
    if isinstance(video, InputImpl.VideoFromComponents) or getattr(video, "has_pending_frame_edits", lambda: False)():
        return None
    start, duration = video.get_active_trim_window()
    return VideoFile(video.get_stream_source(), float(start), float(duration) or None)


def stored(video: Input.Video, files: list[Path]) -> Path:
    """A VIDEO whose frames are in memory as a file (8 bits, 4:4:4 in BT.709, nothing else lost), with its sound; put into `files`."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    from ..lipsync_core.media import Encoding, VideoInfo, VideoWriter
    from ..lipsync_core.types import AudioOriginal

    parts = video.get_components()
    files.append(temp_file(".mkv"))
    height, width = parts.images.shape[1:3]
    rate = Fraction(parts.frame_rate)
    info = VideoInfo(width, height, "yuv444p", rate, 1 / rate, 0, Fraction(1), 1, 1, 1, 1, len(parts.images),
                     float(len(parts.images) / rate),
                     "rawvideo")
    sound = None
    if parts.audio is not None:
        samples, frequency = samples_of(parts.audio, "Dub Video")
        sound = AudioOriginal(waveform=samples, sample_rate=frequency)
    with VideoWriter(files[-1], info, Encoding("ffv1"), audio=sound) as writer:
        for i, image in enumerate(parts.images):
            comfy.model_management.throw_exception_if_processing_interrupted()
            pixels = (image[..., :3].float().cpu().numpy() * 255).round().clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
                format="yuv444p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            frame.colorspace, frame.color_range = 1, 1
            writer.write(frame, i)
    return files[-1]


def video_path(video: Input.Video) -> tuple[Path, bool]:
    """A file that shows what the VIDEO shows, and whether it was made for this purpose (and is to be deleted)."""
    found = file_of(video)
    if found is not None and isinstance(found.file, (str, os.PathLike)) and not found.start and not found.duration:
        return Path(found.file), False
    path = temp_file(".mp4")
    try:
        video.save_to(str(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, True


@contextmanager
def temporary() -> Iterator[list[Path]]:
    """Files put into the list are deleted at the end."""
    files: list[Path] = []
    try:
        yield files
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def temp_file(suffix: str) -> Path:
    """A new name in ComfyUI's temp folder, which is emptied when ComfyUI starts and ends."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"openlipsync_{uuid.uuid4().hex[:12]}{suffix}"


def output_file(prefix: str, suffix: str) -> Path:
    """A new name in ComfyUI's output folder, numbered as Save Video does."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    return Path(folder, f"{name}_{counter:05}_{suffix}")


# -- input files -------------------------------------------------------------------------------------------------------------


def media_files() -> list[str]:
    """Names of the sound and video files in the input folder."""
    folder = folder_paths.get_input_directory()
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()] if os.path.isdir(folder) else []
    return sorted(folder_paths.filter_files_content_types(names, ["audio", "video"]))


def json_files() -> list[str]:
    """Names of the .json files in the input folder."""
    folder = folder_paths.get_input_directory()
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name.lower().endswith(".json")) \
        if os.path.isdir(folder) else []


def input_exists(name: str) -> bool:
    return folder_paths.exists_annotated_filepath(name)


def input_path(name: str) -> Path:
    """Raises where a name points out of ComfyUI's folders."""
    return Path(folder_paths.get_annotated_filepath(name))


def face_rule(face: str, number: int, x: int, y: int) -> Any:
    """What the face inputs say, as `lipsync_core.faces.FaceRule`."""
    if face == "number":
        return number
    return (float(x), float(y)) if face == "point" else face

