"""Evaluate Lip Sync."""

from __future__ import annotations

from comfy_api.latest import Input, io

from . import host, host_models, progress
from .types import CATEGORY


class Evaluate(io.ComfyNode):
    """How good a dub is, in numbers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncEvaluate", display_name="Evaluate Lip Sync", category=CATEGORY,
            description="Measures a dubbed video: whether the mouth follows the sound, moves in silence, keeps the source's own movements, "
                        "flickers, shows a seam, loses sharpness or colour. Landmarks are the built-in ones, which the generator uses too.",
            search_aliases=["lip sync score", "measure", "quality", "LSE", "benchmark"],
            inputs=[
                io.Video.Input("dubbed", tooltip="The video to measure."),
                io.Audio.Input("audio", tooltip="The speech that drives the mouth; it begins with the first frame."),
                io.Video.Input("source", optional=True, tooltip="The video that was dubbed, in the same size: for sharpness, seam, "
                               "flicker, colour, and what is left over of its own mouth."),
                io.Video.Input("truth", optional=True, tooltip="A video in which the same person really says the words: for correlation, "
                               "lag and closures."),
            ],
            outputs=[
                io.String.Output("table", display_name="table", tooltip="The measures; '!' marks what is outside its good range."),
                io.Image.Output("plot", display_name="plot", tooltip="The mouth's opening over time, above the loudness of the sound."),
            ],
        )

    @classmethod
    def execute(cls, dubbed: Input.Video, audio: dict | None, source: Input.Video | None = None,
                truth: Input.Video | None = None) -> io.NodeOutput:
        from dataclasses import replace

        import soundfile

        from ..lipsync_core.evaluation import evaluate
        from ..lipsync_core.evaluation.picture import plot
        from ..lipsync_core.evaluation.report import table

        speech, syncnet = host.speech_of(audio, "Evaluate Lip Sync"), host_models.syncnet_file()
        with host.temporary() as files:
            paths = []
            for video in (dubbed, source, truth):
                path, made = (None, False) if video is None else host.video_path(video)
                paths.append(path)
                if made:
                    files.append(path)
            sound = host.temp_file(".wav")
            files.append(sound)
            soundfile.write(sound, speech.samples, 16_000, subtype="FLOAT")
            result = evaluate(paths[0], paths[1], paths[2], sound, syncnet=syncnet,
                              hooks=progress.hooks(analyse=3, pixels=1, **({"syncnet": 3.0} if syncnet else {})))
        return io.NodeOutput(table([replace(result, dubbed="dubbed")]), host.picture_batch([plot(result)]))
