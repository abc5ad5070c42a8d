"""Load Generator, and Generate Lip Sync."""

from __future__ import annotations

from comfy_api.latest import io

from . import host, host_models, progress
from .types import (
    BUILT_IN,
    CATEGORY,
    LOOK,
    NO_RESTORER,
    LipSyncFaces,
    LipSyncGenerator,
    batch_input,
    bypass_input,
    casting_inputs,
    drive_inputs,
    generator_input,
)


class LoadGenerator(io.ComfyNode):
    """What makes new mouths."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncLoadGenerator", display_name="Load Generator", category=CATEGORY,
            description="Chooses what makes the new mouths: morph, which is built in and needs neither download nor GPU, or a "
                        "checkpoint in models/lipsync.",
            search_aliases=["lip sync model", "load lipsync", "morph", "checkpoint", "wav2lip"],
            inputs=[
                io.Combo.Input("name", options=host_models.generator_names(), default=BUILT_IN,
                               tooltip=host_models.generators_tooltip()),
                io.String.Input("options", default="", optional=True, advanced=True,
                                tooltip="What the generator itself offers, as key=value with spaces between, for example precision=fp16; a "
                                        "key that it does not know is answered with the list. Empty: its own choice. morph takes none."),
                io.Combo.Input("restorer", options=[NO_RESTORER, *host_models.restorer_names()], default=NO_RESTORER, optional=True,
                               advanced=True, tooltip=host_models.restorers_tooltip()),
                io.Float.Input("restorer_strength", default=0.5, min=0.0, max=1.0, step=0.05, optional=True, advanced=True,
                               display_mode=io.NumberDisplay.slider,
                               tooltip="How much of what the face restorer changes is taken: 0 is off, 1 is all of it."),
            ],
            outputs=[LipSyncGenerator.Output("generator", display_name="generator", tooltip="For Generate Lip Sync or Dub Video.")],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str, options: str = "", restorer: str = NO_RESTORER,
                           restorer_strength: float = 0.5) -> tuple[float, float]:
        return host_models.generator_time(name), host_models.restorer_time(restorer)

    @classmethod
    def execute(cls, name: str, options: str = "", restorer: str = NO_RESTORER, restorer_strength: float = 0.5) -> io.NodeOutput:
        return io.NodeOutput(host_models.load_generator(name, options, restorer, restorer_strength))


class GenerateLipSync(io.ComfyNode):
    """New mouths for found faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncGenerate", display_name="Generate Lip Sync", category=CATEGORY,
            description="Makes the faces of Detect & Crop Faces say the speech. Blend Back puts them into the frames.",
            search_aliases=["lip sync", "lipsync", "talking head", "dub", "mouth", "viseme"],
            inputs=[
                LipSyncFaces.Input("faces", tooltip="From Detect & Crop Faces."),
                generator_input(),
                *drive_inputs(),
                batch_input(),
                io.Audio.Input("audio", optional=True,
                               tooltip="The speech; it begins with the first frame. Any rate and number of channels. With voices it is not "
                                       "needed."),
                *casting_inputs(),
                bypass_input(),
            ],
            outputs=[
                LipSyncFaces.Output("faces", display_name="faces", tooltip="The faces with new mouths, for Blend Back."),
                io.Image.Output("mouths", display_name="mouths", tooltip="The new mouths, a picture a frame, for looking."),
            ],
        )

    @classmethod
    def execute(cls, faces: object, strength: float, silence: str, offset_ms: float, batch_size: int,
                generator: host_models.LoadedGenerator | None = None, audio: dict | None = None, voices: tuple = (),
                speakers: object | None = None, bypass: str = "") -> io.NodeOutput:
        from ..lipsync_core.direction import lines_of
        from ..lipsync_core.looks import mouth_pictures
        from ..lipsync_core.options import AUTO, DubOptions
        from ..lipsync_core.passages import read_passages
        from ..lipsync_core.stages import cast_faces, generate_faces
        from ..lipsync_core.types import Drive

        if isinstance(speakers, str) and speakers == AUTO:
            raise ValueError("Who Speaks knows nothing yet: connect faces and the video's own sound to it (Dub Video needs neither).")
        speech = None if voices else host.speech_of(audio, "Generate Lip Sync")
        options = DubOptions(face="all", voices=host.voices_of(voices), speakers=speakers, bypass=read_passages(bypass))
        hooks = progress.hooks(generate=4, look=1)
        roles = cast_faces(faces, lines_of(speech, options), speakers, options.bypass, hooks)
        made = generate_faces(faces, host_models.ready(generator), roles, Drive(strength, silence), hooks, offset=offset_ms / 1000,
                              batch=batch_size)
        return io.NodeOutput(made, host.picture_batch(mouth_pictures(made, LOOK, hooks)))
