"""What to encode with: the user's wishes, resolved against what PyAV's build of FFmpeg has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError

from ..errors import OutputError
from .source import VideoInfo

ENCODERS = {"h264": "libx264", "h265": "libx265", "hevc": "libx265", "av1": "libsvtav1", "prores": "prores_ks", "ffv1": "ffv1",
            "vp9": "libvpx-vp9"}
AUDIO_ENCODERS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame", "flac": "flac", "alac": "alac", "pcm": "pcm_s16le"}
_HOLDS = {".mp4": ("aac", "opus", "mp3", "flac", "alac"), ".m4v": ("aac", "opus", "mp3", "flac", "alac"), ".webm": ("opus",),
          ".mov": ("aac", "mp3", "alac", "pcm"), ".mkv": tuple(AUDIO_ENCODERS), ".avi": ("mp3", "pcm", "aac")}
"""What of these players of a container play."""
CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Encoding:
    """How the video is written. Everything is optional."""

    codec: str = ""
    """'h264', 'h265', 'av1', 'prores', 'ffv1', 'vp9' or an FFmpeg encoder's name; '' = H.264, VP9 for WebM."""
    crf: float | None = None
    """Constant quality; None = 18 for H.264, 20 for H.265, 24 for AV1 and VP9."""
    bitrate: int | None = None
    """Bits a second, instead of `crf`."""
    lossless: bool = False
    """H.264 with quantiser 0, H.265 lossless, or FFV1: the picture is stored bit for bit."""
    preset: str = ""
    """The encoder's own preset name; '' = its default."""
    pix_fmt: str = ""
    """'' = the source's own."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Any further option of the encoder."""
    audio_codec: str = ""
    """'aac', 'opus', 'mp3', 'flac', 'alac' or 'pcm'; '' = the sound is copied where the container has it, else encoded well."""


@dataclass(frozen=True)
class Plan:
    """An encoder that exists, its pixel format and options."""

    encoder: str
    pix_fmt: str
    options: dict[str, str]
    bitrate: int | None


_CRF = {"libx264": 18, "libx264rgb": 18, "libx265": 20, "libsvtav1": 24, "libvpx-vp9": 24}


def plan(encoding: Encoding, info: VideoInfo, target: Path, warn: Callable[[str], None]) -> Plan:
    """Choose encoder, pixel format and options for a source and a target name. Raises `OutputError`."""
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise OutputError(f"{target.name} has an ending that no video container here uses: choose one of "
                          f"{', '.join(CONTAINERS)}.")
    if encoding.audio_codec and encoding.audio_codec not in _HOLDS[suffix]:
        raise OutputError(f"A {suffix} file holds no sound of {encoding.audio_codec!r} that players play: use one of "
                          f"{', '.join(_HOLDS[suffix])}.")
    if encoding.crf is not None and not 0 <= encoding.crf <= 63:
        raise OutputError(f"A crf of {encoding.crf:g} is out of range: use 0 (best) to 51 (63 for AV1 and VP9).")
    encoder = encoding.codec.lower() or ("vp9" if suffix == ".webm" else "h264")
    encoder = ENCODERS.get(encoder, encoder)
    wanted = encoding.pix_fmt or _plain(info.pix_fmt)
    if encoder == "libx264" and _is_rgb(wanted):
        encoder = "libx264rgb"
    try:
        codec = av.Codec(encoder, "w")
    except UnknownCodecError as error:
        raise OutputError(f"There is no encoder {encoder!r} in this PyAV: use one of {', '.join(ENCODERS)}.") from error
    if codec.type != "video":
        raise OutputError(f"{encoder!r} does not encode video: use one of {', '.join(ENCODERS)}.")
    formats = [f.name for f in codec.video_formats or []] or [wanted]
    pix_fmt = _closest(wanted, formats, warn, encoder)
    if encoder in ("libx264", "libx265", "libsvtav1") and (info.width % 2 or info.height % 2) and "420" in pix_fmt:
        full = pix_fmt.replace("420", "444")
        if full not in formats:
            raise OutputError(f"{encoder} can't store a picture of {info.width}x{info.height} in {pix_fmt}: choose --codec ffv1 "
                              f"with an .mkv target.")
        warn(f"The picture is {info.width}x{info.height}: with an odd side it is stored as {full}, since {encoder} needs even "
             f"sides in {pix_fmt}.")
        pix_fmt = full
    options: dict[str, str] = {}
    if encoding.preset:
        options["preset"] = encoding.preset
    if encoding.lossless:
        options |= {"libx264": {"qp": "0"}, "libx264rgb": {"qp": "0"}, "libx265": {"x265-params": "lossless=1"},
                    "libvpx-vp9": {"lossless": "1"}, "ffv1": {}}.get(encoder, {"": ""})
        if "" in options:
            raise OutputError(f"{encoder} has no lossless mode here: use --codec ffv1 (in an .mkv file) or h264.")
    elif encoding.bitrate is None and encoder in _CRF:
        options["crf"] = f"{encoding.crf if encoding.crf is not None else _CRF[encoder]:g}"
    if encoder.startswith("libx264") and not encoding.preset:
        # Half of x264's usual 40 frames, of which it keeps them all: most of what a 1080p job adds to a host (tests/host/test_memory.py).
        options["rc-lookahead"] = "20"
    if encoder == "libx265":
        options.setdefault("x265-params", "log-level=error")
        if suffix in (".mp4", ".m4v", ".mov"):
            options["tag"] = "hvc1"
    return Plan(encoder, pix_fmt, options | dict(encoding.options), None if encoding.lossless else encoding.bitrate)


def _plain(pix_fmt: str) -> str:
    return pix_fmt.replace("yuvj", "yuv")


def _is_rgb(pix_fmt: str) -> bool:
    return pix_fmt.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8"))


def _closest(wanted: str, formats: list[str], warn: Callable[[str], None], encoder: str) -> str:
    if wanted in formats:
        return wanted
    if wanted in _SAME and (same := [f for f in _SAME[wanted] if f in formats]):
        return same[0]
    score = {name: _likeness(wanted, name) for name in formats if av.VideoFormat(name).components}
    best = max(score, key=score.__getitem__)
    source, found = av.VideoFormat(wanted), av.VideoFormat(best)
    if _depth(source) > _depth(found) or _is_rgb(wanted) != _is_rgb(best) or _chroma(source) > _chroma(found):
        warn(f"{encoder} can't store {wanted}: the whole picture is stored as {best}, which loses a little everywhere.")
    return best


# Other names and orders of the very same samples.
_SAME = {"rgb24": ("rgb24", "bgr0", "gbrp"), "bgr24": ("bgr24", "bgr0", "gbrp"), "bgr0": ("bgr0", "bgr24", "gbrp"),
         "rgb0": ("bgr0", "rgb24", "gbrp"), "gbrp": ("gbrp", "rgb24", "bgr0"), "rgba": ("bgra", "gbrap"), "bgra": ("bgra", "gbrap"),
         "nv12": ("nv12", "yuv420p"), "nv21": ("nv21", "yuv420p"), "p010le": ("p010le", "yuv420p10le"),
         "yuyv422": ("yuv422p",), "uyvy422": ("yuv422p",), "gray": ("gray", "yuv444p", "yuv420p"), "rgb48le": ("rgb48le", "gbrp16le")}


def _depth(fmt: av.VideoFormat) -> int:
    return max((c.bits for c in fmt.components), default=8)


def _chroma(fmt: av.VideoFormat) -> int:
    return sum(c.width * c.height for c in av.VideoFormat(fmt.name, 16, 16).components)


def _likeness(wanted: str, name: str) -> tuple:
    a, b = av.VideoFormat(wanted), av.VideoFormat(name)
    lost_depth, lost_chroma = max(0, _depth(a) - _depth(b)), max(0, _chroma(a) - _chroma(b))
    return (_is_rgb(wanted) == _is_rgb(name), -lost_depth, -lost_chroma, -abs(_depth(a) - _depth(b)),
            -abs(_chroma(a) - _chroma(b)), not name.startswith("yuvj"))
