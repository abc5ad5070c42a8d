"""What ComfyUI is told of this pack."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host_models, picker
from .audio import LoadAudio
from .blend import BlendBack
from .dub import DubVideo
from .evaluate import Evaluate
from .faces import DetectFaces, PreviewFaces
from .generate import GenerateLipSync, LoadGenerator
from .sample import SampleClip
from .voices import Voice, WhoSpeaks


class OpenLipSyncExtension(ComfyExtension):
    """All nodes of the pack, the model folder `models/lipsync`, and what the page may ask."""

    async def on_load(self) -> None:
        host_models.register_model_folder()
        picker.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadAudio, LoadGenerator, DetectFaces, GenerateLipSync, BlendBack, DubVideo, PreviewFaces, Voice, WhoSpeaks,
                Evaluate, SampleClip]
