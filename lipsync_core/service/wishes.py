"""What a request's config asks for, in the words of `dub`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from ..media import Encoding
from ..speaker_file import FrameSpeakers, Speaker
from . import messages
from .spool import UploadError

LOSSY = (30, 8)
"""Megabits a second, and frames from one key frame to the next, where lossy encoding says nothing else; as the reference system."""
PRESET = "veryfast"
"""Of x264, where a request says nothing of it: far less work than its usual preset for somewhat larger files, which on a CPU decides
whether a stream is made as fast as it is shown."""
KEY_FRAMES = 50
"""The same where nothing is said of the encoding."""
SLOW, FAST = 1.5, 0.6
"""Smoothing of landmarks for heads that move slowly and fast; else 1."""
VOLUME = 0.5
ALIASES = {"bitrate": "b", "bitrate_bps": "b", "idr_interval": "g", "idrinterval": "g", "gop": "g", "keyint": "g"}
"""Names of other encoders for options of x264's."""


@dataclass(frozen=True)
class Wishes:
    """A config, understood."""

    encoding: Encoding
    speakers: bool = False
    """Whether speaker data come."""
    extend_audio: str = "off"
    extend_video: str = "off"
    smoothing: float = 1.0
    background: bool = False
    """Whether a background comes."""
    volume: float = VOLUME

    def whole(self) -> bool:
        """Whether the whole video must be known first."""
        return self.extend_video != "off"


def wishes_of(config: Any) -> Wishes:
    """Raises `UploadError` with a sentence for what is not supported."""
    sound = {0: "opus", messages.AUDIO_OPUS: "opus", messages.AUDIO_MP3: "mp3"}.get(config.output_audio_codec)
    if sound is None:
        raise UploadError("output_audio_codec must be AUDIO_CODEC_OPUS or AUDIO_CODEC_MP3: an MP4 file holds no other of the interface's.")
    if not 0 <= config.input_audio_codec <= 3:
        raise UploadError(f"input_audio_codec {config.input_audio_codec} is none of the interface's.")
    for name, most in (("extend_audio", 1), ("extend_video", 2)):
        if not 0 <= getattr(config, name) <= most:
            raise UploadError(f"{name} {getattr(config, name)} is none of the interface's: use 0 to {most}.")
    background = config.background_audio_config
    volume = background.audio_volume if background.HasField("audio_volume") else VOLUME
    if not 0 <= volume <= 1:
        raise UploadError(f"audio_volume {volume:g} is out of range: use 0 (silent) to 1 (as it is).")
    speed = config.head_movement_speed
    if speed > 1:
        raise UploadError(f"head_movement_speed {speed} is out of range: use 0 (slow) or 1 (fast).")
    smoothing = (FAST if speed else SLOW) if config.HasField("head_movement_speed") else 1.0
    return Wishes(encoding=encoding_of(config.output_video_encoding, sound), speakers=config.is_speaker_info_provided,
                  extend_audio="silence" if config.extend_audio == messages.EXTEND_SILENCE else "off",
                  extend_video={messages.EXTEND_FORWARD: "forward", messages.EXTEND_REVERSE: "bounce"}.get(config.extend_video, "off"),
                  smoothing=smoothing, background=background.is_background_audio_provided, volume=volume)


def encoding_of(wanted: Any, sound: str) -> Encoding:
    """Raises `UploadError` for an option that the encoder does not know, or a value that it does not take."""
    kind = wanted.WhichOneof("encoding_type")
    if kind == "lossless" and wanted.lossless:
        return Encoding(codec="h264", preset=PRESET, lossless=True, audio_codec=sound)
    if kind == "lossy":
        rate = wanted.lossy.bitrate_mbps if wanted.lossy.HasField("bitrate_mbps") else LOSSY[0]
        interval = wanted.lossy.idr_interval if wanted.lossy.HasField("idr_interval") else LOSSY[1]
        if not 1 <= rate <= 2000:
            raise UploadError(f"bitrate_mbps {rate} is out of range: use 1 to 2000.")
        if not 1 <= interval <= 10_000:
            raise UploadError(f"idr_interval {interval} is out of range: use 1 to 10000 frames.")
        return Encoding(codec="h264", preset=PRESET, bitrate=rate * 1_000_000, pix_fmt="yuv420p", audio_codec=sound,
                        options={"g": str(interval)})
    options = {"g": str(KEY_FRAMES)}
    if kind == "custom_encoding":
        for name, packed in wanted.custom_encoding.custom.items():
            options[ALIASES.get(name.lower(), name)] = _value(name, packed)
        _try(options)
    return Encoding(codec="h264", preset=PRESET, pix_fmt="yuv420p", audio_codec=sound, options=options)


def _value(name: str, packed: Any) -> str:
    kind = messages.WRAPPERS.get(packed.type_url.rsplit(".", 1)[-1])
    if kind is None:
        raise UploadError(f"The encoder option {name!r} must be a wrapped bool, number or string, not {packed.type_url!r}.")
    value = kind()
    if not packed.Unpack(value):
        raise UploadError(f"The encoder option {name!r} can't be read as {packed.type_url!r}.")
    found = value.value
    return f"{found:g}" if isinstance(found, float) else str(int(found) if isinstance(found, bool) else found)


def _try(options: dict[str, str]) -> None:
    """Open the encoder once, so that what it does not take is said before anything is uploaded."""
    context = av.CodecContext.create("libx264", "w")
    context.width = context.height = 64
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
    context.options = dict(options)
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items())
        raise UploadError(f"The H.264 encoder does not take {given}: look at x264's options for their values.") from error
    if context.options:
        raise UploadError(f"The H.264 encoder has no option {', '.join(repr(name) for name in context.options)}: use names such as crf, "
                          "preset, tune, profile, b (bits a second), maxrate, bufsize, g, bf.")


def speakers_of(entry: Any) -> FrameSpeakers:
    """Speaker data of one frame. Raises `UploadError` for a box that is none."""
    found = []
    for info in entry.speaker_infos:
        box = info.speaker_bbox
        corners = (box.x, box.y, box.width, box.height)
        speaking = info.is_speaking or not info.HasField("is_speaking")
        if not all(abs(value) < 1e9 for value in corners) or min(box.width, box.height) < 0:
            raise UploadError(f"In the speaker data of frame {entry.frame_id} the box {corners} is none: use x, y, width, height, pixels.")
        known = box.width > 0 and box.height > 0
        found.append(Speaker(corners if known else None, info.speaker_id if info.HasField("speaker_id") else None, speaking))
    return FrameSpeakers(tuple(found), float(entry.bypass))


