"""What ComfyUI is told of this pack."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host_models
from .audio import LoadAudio
from .blend import BlendBack
from .dub import DubVideo
from .evaluate import Evaluate
from .faces import DetectFaces, PreviewFaces
from .generate import GenerateLipSync, LoadGenerator
from .voices import Voice, WhoSpeaks


class OpenLipSyncExtension(ComfyExtension):
    """All nodes of the pack, and the model folder `models/lipsync`."""

    async def on_load(self) -> None:
        host_models.register_model_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadAudio, LoadGenerator, DetectFaces, GenerateLipSync, BlendBack, DubVideo, PreviewFaces, Voice, WhoSpeaks,
                Evaluate]
