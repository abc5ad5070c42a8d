"""Dub Video: all stages in one, file to file."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import Input, InputImpl, Types, io

from . import host, host_models, progress
from .blend import blend
from .types import (
    CATEGORY,
    DETECTORS,
    batch_input,
    blend_inputs,
    bypass_input,
    casting_inputs,
    drive_inputs,
    face_inputs,
    generator_input,
    length_inputs,
    tracking_inputs,
)

CODECS = {"auto": ("", ".mp4"), "h264": ("h264", ".mp4"), "h265": ("h265", ".mp4"), "ffv1": ("ffv1", ".mkv"), "prores": ("prores", ".mov")}
MARKS = ("metadata", "signed", "none")


class DubVideo(io.ComfyNode):
    """A video and a recording in, the video saying it out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncDubVideo", display_name="Dub Video", category=CATEGORY,
            description="Dubs a video: the face says the speech, and nothing else in the picture changes. Long videos need no more memory "
                        "than short ones. One recording for one face or all of them, or a Voice for each person. The result is as long as "
                        "the shorter of picture and speech, unless it is extended.",
            search_aliases=["lip sync", "lipsync", "dub", "translate video", "talking head", "wav2lip", "voice over"],
            inputs=[
                io.Video.Input("video", tooltip="The video whose face is to speak: from Load Video, Trim Video or Create Video."),
                # Sockets first, then in the order in which people think: who, how much, when, how it is made and stored. All optional:
                # a required widget would stand before them. Saved workflows keep the order of widgets: web/old_workflows.js knows others.
                generator_input(),
                io.Audio.Input("audio", optional=True,
                               tooltip="The speech. It drives the mouth and becomes the sound of the result. With voices it is only the "
                                       "sound: a finished mix in place of theirs."),
                *casting_inputs(),
                *face_inputs(optional=True),
                *drive_inputs(optional=True),
                *length_inputs(),
                bypass_input(),
                *tracking_inputs(optional=True),
                *blend_inputs(advanced=True),
                batch_input(optional=True),
                io.Combo.Input("codec", options=list(CODECS), default="auto", optional=True, advanced=True,
                               tooltip="How the result is stored until a node saves it; Save Video copies H.264. ffv1 is lossless, prores "
                                       "for editing."),
                io.Int.Input("crf", default=18, min=0, max=51, optional=True, advanced=True,
                             tooltip="Quality with h264 and h265: lower is better and larger, 18 looks like the source."),
                io.Combo.Input("mark", options=list(MARKS), default="metadata", optional=True, advanced=True,
                               tooltip="What the result says of itself in its metadata: that a mouth was altered, and by what; signed, "
                                       "too, with content credentials (C2PA); or nothing. Nothing shows in the picture. A signed file "
                                       "goes to the output folder at once, since Save Video would break the signature. What to sign with "
                                       "is named by the environment variables OPENLIPSYNC_SIGN_CERTIFICATE and OPENLIPSYNC_SIGN_KEY."),
                io.Boolean.Input("overlay", default=False, optional=True, advanced=True,
                                 tooltip="Draws into the result what was found and done: frame number, ON or OFF, faces with numbers and "
                                         "activation, where the effect acts, the mouth-shape values."),
            ],
            outputs=[
                io.Video.Output("video", display_name="video", tooltip="The dubbed video, with the speech as its sound."),
                io.String.Output("report", display_name="report", tooltip="What was done, and what you should know."),
            ],
        )

    @classmethod
    def execute(cls, video: Input.Video, generator: host_models.LoadedGenerator | None = None, audio: dict | None = None,
                voices: tuple = (), speakers: object | None = None, face: str = "largest", number: int = 0, x: int = 0, y: int = 0,
                strength: float = 1.0, silence: str = "close", offset_ms: float = 0.0, extend_video: str = "off",
                extend_seconds: float = 5.0, extend_audio: str = "off", bypass: str = "", detector: str = DETECTORS[0],
                smoothing: float = 1.0, feather: float = 0.22, mask_grow: float = 0.0, colour_match: bool = True, batch_size: int = 8,
                codec: str = "auto", crf: int = 18, mark: str = "metadata", overlay: bool = False) -> io.NodeOutput:
        from math import inf

        from ..lipsync_core.compositing import Blending
        from ..lipsync_core.dubbing import DubOptions
        from ..lipsync_core.passages import read_passages
        from ..lipsync_core.provenance.credentials import Credentials

        given = None if voices and audio is None else host.speech_of(audio, "Dub Video")
        options = DubOptions(generator=host_models.ready(generator), face=host.face_rule(face, number, x, y), voices=host.voices_of(voices),
                             speakers=speakers, strength=strength, silence=silence, offset_ms=offset_ms,
                             backend=host_models.face_backend(detector), smoothing=smoothing, batch_size=batch_size,
                             blending=Blending(feather, mask_grow, colour_match), extend_video=extend_video,
                             extend_seconds=extend_seconds or inf, extend_audio=extend_audio, bypass=read_passages(bypass), overlay=overlay,
                             mark=mark != "none", sign=Credentials.from_environment() if mark == "signed" else None)
        with host.temporary() as files:
            found = host.file_of(video)
            if found is None and (voices or speakers is not None or extend_video != "off" or extend_audio != "off" or overlay
                                  or mark == "signed"):
                found = host.VideoFile(host.stored(video, files), 0.0, None)
            if found is None:
                return dub_frames_in_memory(video, audio, given, options)
            return dub_file(found, given, options, codec, crf, "yuv420p" if files else "")


def dub_file(found: host.VideoFile, given: object, options: object, codec: str, crf: int, pix_fmt: str) -> io.NodeOutput:
    """Streamed from file to file: memory does not grow with the clip."""
    from ..lipsync_core.dubbing import Soundtrack, dub
    from ..lipsync_core.media import Encoding

    name, suffix = CODECS[codec]
    # Save Video writes a file anew, and a signature holds for the very file that was signed: that one stays.
    target = host.temp_file(suffix) if options.sign is None else host.output_file("video/signed", suffix)
    mp4 = suffix == ".mp4"
    encoding = Encoding(codec=name, crf=float(crf) if mp4 else None, pix_fmt=pix_fmt if mp4 else "")
    options = replace(options, start=found.start, duration=found.duration, encoding=encoding)
    if options.voices and given is not None:
        options = replace(options, soundtrack=Soundtrack(given.original))
    report = dub(found.file, None if options.voices else given, target, options, hooks=progress.hooks(analyse=1, generate=6))
    text = describe(report.frames, report.dubbed, report.seconds, report.tracks, len(report.chosen),
                    [*report.warnings, *host.turns_text(report.turns).splitlines(), *([f"Signed: {target}"] if options.sign else [])])
    return io.NodeOutput(InputImpl.VideoFromFile(str(target)), text)


def dub_frames_in_memory(video: Input.Video, audio: dict, speech: object, options: object) -> io.NodeOutput:
    """Frames that are tensors already go through the same stages and stay tensors: one recording, no longer than the picture."""
    from ..lipsync_core.direction import lines_of
    from ..lipsync_core.stages import cast_faces, detect_faces, generate_faces
    from ..lipsync_core.types import Drive

    parts = video.get_components()
    rate = parts.frame_rate
    count = min(len(parts.images), max(1, -int(-speech.duration * rate // 1)))
    images, warnings = parts.images[:count], []
    if count < len(parts.images):
        warnings.append(f"The audio is the shorter one: the result ends with it, at {speech.duration:.2f} s.")
    elif speech.duration > count / rate + 0.1:
        warnings.append(f"The video is the shorter one: of {speech.duration:.2f} s of audio the first {float(count / rate):.2f} s are "
                        f"used (extend_video goes on with the picture).")
    hooks = progress.hooks(analyse=3, crop=1, generate=8, blend=3)
    found = detect_faces(host.clip_of(images, rate), options.faces(), hooks)
    lines = [replace(line, who="all") for line in lines_of(speech, options)]
    roles = cast_faces(found, lines, None, options.bypass, hooks)
    made = generate_faces(found, options.generator, roles, Drive(options.strength, options.silence), hooks,
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
