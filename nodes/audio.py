"""Load & Resample Audio."""

from __future__ import annotations

from comfy_api.latest import io

from . import host
from .types import CATEGORY

CONNECTED = "(connected audio)"
CHANNELS = {"mix": "mix", "left": 0, "right": 1}


class LoadAudio(io.ComfyNode):
    """Any recording, or the sound of any video, as 16 kHz mono speech, and untouched for the finished video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncLoadAudio", display_name="Load & Resample Audio", category=CATEGORY,
            description="Loads a recording, or the sound of a video, or takes connected audio, and gives it as 16 kHz mono speech that "
                        "drives the mouth, and untouched for the finished video.",
            search_aliases=["resample audio", "speech", "voice", "16 kHz", "load speech", "lip sync audio"],
            inputs=[
                io.Combo.Input("file", options=[CONNECTED, *host.media_files()], default=CONNECTED, upload=io.UploadType.audio,
                               tooltip="A sound or video file in ComfyUI's input folder, or what is connected to 'audio'."),
                io.Float.Input("start", default=0.0, min=0.0, max=100000.0, step=0.01, tooltip="Seconds to skip at the beginning."),
                io.Float.Input("duration", default=0.0, min=0.0, max=100000.0, step=0.01,
                               tooltip="Seconds to use; 0 = to the end."),
                io.Combo.Input("channel", options=list(CHANNELS), default="mix",
                               tooltip="Which channel speaks: all of them mixed, the left or the right one."),
                io.Boolean.Input("normalise", default=False, advanced=True,
                                 tooltip="Brings the speech that drives the mouth to a usual loudness (-20 dBFS while somebody speaks). "
                                         "morph hears any loudness; some networks don't."),
                io.Audio.Input("audio", optional=True, tooltip="Used if the file is '(connected audio)'."),
            ],
            outputs=[
                io.Audio.Output("speech", display_name="speech", tooltip="16 kHz mono: drives the mouth."),
                io.Audio.Output("original", display_name="original", tooltip="The same part as it was recorded: for the finished video."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        if file != CONNECTED and not host.input_exists(file):
            return f"There is no file {file} in the input folder: choose another one, or upload it."
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **others: object) -> float:
        return 0.0 if file == CONNECTED else host.input_path(file).stat().st_mtime

    @classmethod
    def execute(cls, file: str, start: float, duration: float, channel: str, normalise: bool, audio: dict | None = None) -> io.NodeOutput:
        from ..lipsync_core.audio import normalise_loudness, read_samples, speech_from_samples

        if file != CONNECTED:
            samples, rate = read_samples(host.input_path(file), start=start, duration=duration or None)
        elif audio is None:
            raise ValueError("Load & Resample Audio has nothing to load: choose a file, or connect audio (a video without a sound "
                             "track gives none).")
        else:
            samples, rate = host.samples_of(audio, "Load & Resample Audio")
            first = round(start * rate)
            samples = samples[:, first:first + round(duration * rate) if duration else None]
        speech = speech_from_samples(samples, rate, CHANNELS[channel]).samples
        if normalise:
            speech = normalise_loudness(speech)
        return io.NodeOutput(host.audio_of(speech, 16_000), host.audio_of(samples, rate))
