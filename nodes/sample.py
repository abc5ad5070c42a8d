"""Sample Clip: something to dub, for who has nothing at hand yet."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io

from . import host
from .types import CATEGORY

SIZE = 720
"""Side of the clip, pixels."""


class SampleClip(io.ComfyNode):
    """A face and a sentence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncSample", display_name="Sample Clip", category=CATEGORY,
            description="Makes a short clip of a face (Eileen Collins, NASA, public domain) and gives a spoken sentence with it: for a "
                        "first try of Dub Video without files of your own. Nothing is downloaded.",
            search_aliases=["lip sync demo", "lip sync example", "test clip", "sample video"],
            inputs=[],
            outputs=[
                io.Video.Output("video", display_name="video", tooltip="The clip, as long as the sentence."),
                io.Audio.Output("audio", display_name="audio", tooltip="The sentence."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        from ..lipsync_core.audio import read_samples
        from ..lipsync_core.demo import SPEECH, make_clip

        samples, rate = read_samples(SPEECH)
        file = host.temp_file(".mp4")
        make_clip(file, samples.shape[-1] / rate, SIZE)
        return io.NodeOutput(InputImpl.VideoFromFile(str(file)), host.audio_of(samples, rate))
