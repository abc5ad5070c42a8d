"""Dub Video: all stages in one, file to file."""

from __future__ import annotations

from comfy_api.latest import Input, InputImpl, Types, io

from . import host
from .blend import blend
from .types import CATEGORY, LipSyncGenerator, batch_input, blend_inputs, drive_inputs, face_inputs

CODECS = {"auto": ("", ".mp4"), "h264": ("h264", ".mp4"), "h265": ("h265", ".mp4"), "ffv1": ("ffv1", ".mkv"), "prores": ("prores", ".mov")}


class DubVideo(io.ComfyNode):
    """A video and a recording in, the video saying it out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncDubVideo", display_name="Dub Video", category=CATEGORY,
            description="Dubs a video: the face says the speech, and nothing else in the picture changes. Long videos need no more memory "
                        "than short ones. The result is as long as the shorter of the two inputs.",
            search_aliases=["lip sync", "lipsync", "dub", "translate video", "talking head", "wav2lip", "voice over"],
            inputs=[
                io.Video.Input("video", tooltip="The video whose face is to speak: from Load Video, Trim Video or Create Video."),
                io.Audio.Input("audio", tooltip="The speech. It drives the mouth and becomes the sound of the result."),
                LipSyncGenerator.Input("generator", tooltip="From Load Generator."),
                *drive_inputs(),
                *face_inputs(),
                *blend_inputs(advanced=True),
                batch_input(),
                io.Combo.Input("codec", options=list(CODECS), default="auto", advanced=True,
                               tooltip="How the result is stored until a node saves it; Save Video copies H.264. ffv1 is lossless, prores "
                                       "for editing."),
                io.Int.Input("crf", default=18, min=0, max=51, advanced=True,
                             tooltip="Quality with h264 and h265: lower is better and larger, 18 looks like the source."),
            ],
            outputs=[
                io.Video.Output("video", display_name="video", tooltip="The dubbed video, with the speech as its sound."),
                io.String.Output("report", display_name="report", tooltip="What was done, and what you should know."),
            ],
        )

    @classmethod
    def execute(cls, video: Input.Video, audio: dict | None, generator: host.LoadedGenerator, strength: float, silence: str,
                offset_ms: float, face: str, number: int, x: int, y: int, detector: str, smoothing: float, feather: float,
                mask_grow: float, colour_match: bool, batch_size: int, codec: str, crf: int) -> io.NodeOutput:
        from ..lipsync_core.compositing import Blending
        from ..lipsync_core.dubbing import DubOptions

        speech = host.speech_of(audio, "Dub Video")
        options = DubOptions(generator=generator.ready(), face=host.face_rule(face, number, x, y), strength=strength, silence=silence,
                             offset_ms=offset_ms, backend=host.face_backend(detector), smoothing=smoothing, batch_size=batch_size,
                             blending=Blending(feather, mask_grow, colour_match))
        found = host.file_of(video)
        if found is None:
            return dub_frames_in_memory(video, audio, speech, options)
        return dub_file(found, speech, options, codec, crf)


def dub_file(found: host.VideoFile, speech: object, options: object, codec: str, crf: int) -> io.NodeOutput:
    """Streamed from file to file: memory does not grow with the clip."""
    from dataclasses import replace

    from ..lipsync_core.dubbing import dub
    from ..lipsync_core.media import Encoding

    name, suffix = CODECS[codec]
    target = host.temp_file(suffix)
    encoding = Encoding(codec=name, crf=float(crf) if suffix == ".mp4" else None)
    options = replace(options, start=found.start, duration=found.duration, encoding=encoding)
    report = dub(found.file, speech, target, options, hooks=host.hooks(analyse=1, generate=6))
    text = describe(report.frames, report.dubbed, report.seconds, report.tracks, len(report.chosen), report.warnings)
    return io.NodeOutput(InputImpl.VideoFromFile(str(target)), text)


def dub_frames_in_memory(video: Input.Video, audio: dict, speech: object, options: object) -> io.NodeOutput:
    """Frames that are tensors already go through the same stages and stay tensors."""
    from ..lipsync_core.stages import detect_faces, generate_faces
    from ..lipsync_core.types import Drive

    parts = video.get_components()
    rate = parts.frame_rate
    count = min(len(parts.images), max(1, -int(-speech.duration * rate // 1)))
    images, warnings = parts.images[:count], []
    if count < len(parts.images):
        warnings.append(f"The audio is the shorter one: the result ends with it, at {speech.duration:.2f} s.")
    elif speech.duration > count / rate + 0.1:
        warnings.append(f"The video is the shorter one: of {speech.duration:.2f} s of audio the first {float(count / rate):.2f} s are "
                        f"used.")
    hooks = host.hooks(analyse=3, crop=1, generate=8, blend=3)
    found = detect_faces(host.clip_of(images, rate), options.faces(), hooks)
    made = generate_faces(found, options.generator, speech, Drive(options.strength, options.silence), hooks,
                          offset=options.offset_ms / 1000, batch=options.batch_size)
    result, mask = blend(images, made, options.blending, hooks)
    dubbed = int((mask.amax((1, 2)) > 0).sum())
    samples = min(audio["waveform"].shape[-1], int(count / rate * audio["sample_rate"]))
    sound = {"waveform": audio["waveform"][:1, :, :samples], "sample_rate": audio["sample_rate"]}
    text = describe(count, dubbed, float(count / rate), len(made.tracks), len(made.people), [*made.warnings, *warnings])
    alpha = getattr(parts, "alpha", None)
    more = {} if alpha is None else {"alpha": alpha[:count]}
    return io.NodeOutput(InputImpl.VideoFromComponents(Types.VideoComponents(images=result, audio=sound, frame_rate=rate, **more)), text)


def describe(frames: int, dubbed: int, seconds: float, found: int, chosen: int, warnings: list[str]) -> str:
    """The report: sentences for people."""
    lines = [f"{frames} frames ({seconds:.2f} s): {dubbed} dubbed, {frames - dubbed} passed through.",
             f"{found} face{'' if found == 1 else 's'} found, {chosen} dubbed."]
    return "\n".join([*lines, *warnings])
