"""Blend Back."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from . import host, progress
from .types import CATEGORY, LipSyncFaces, blend_inputs


class BlendBack(io.ComfyNode):
    """New faces into frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncBlend", display_name="Blend Back", category=CATEGORY,
            description="Puts the faces of Generate Lip Sync back into their frames. The frames may have been upscaled or graded since; "
                        "what lies outside the mask stays exactly as it is.",
            search_aliases=["paste face", "composite face", "lip sync blend", "paste back"],
            inputs=[
                io.Image.Input("images", tooltip="The frames in which the faces were found, as many and in the same order."),
                LipSyncFaces.Input("faces", tooltip="From Generate Lip Sync."),
                *blend_inputs(),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The frames with new mouths."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where they changed, for a face restorer or a look."),
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, faces: object, feather: float, mask_grow: float, colour_match: bool) -> io.NodeOutput:
        from ..lipsync_core.compositing import Blending

        return io.NodeOutput(*blend(images, faces, Blending(feather, mask_grow, colour_match), progress.hooks(blend=1)))


def blend(images: torch.Tensor, faces: object, blending: object, hooks: object) -> tuple[torch.Tensor, torch.Tensor]:
    """IMAGE and MASK with the new faces in; `images` is not changed."""
    from ..lipsync_core.stages import blend_faces

    if len(images) != faces.count:
        raise ValueError(f"Faces were found in {faces.count} frames, and these are {len(images)}: connect the same frames to Detect & "
                         f"Crop Faces and to Blend Back.")
    result = host.output(images.clone())
    mask = torch.zeros(images.shape[:3])
    for change in blend_faces(faces, blending, hooks, (images.shape[2], images.shape[1])):
        x0, y0, x1, y1 = change.box
        part = result[change.frame, y0:y1, x0:x1, :3]
        new = part.float().cpu() + torch.from_numpy(change.difference) / 255
        changed = torch.from_numpy(change.difference != 0).to(part.device)
        part.copy_(torch.where(changed, new.clamp_(0, 1).to(part), part))
        soft = mask[change.frame, y0:y1, x0:x1]
        torch.maximum(soft, torch.from_numpy(change.mask), out=soft)
    return result, host.output(mask)
