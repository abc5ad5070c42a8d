"""Detect & Crop Faces, and Preview Faces."""

from __future__ import annotations

import torch
from comfy_api.latest import Input, io

from . import host, host_models, progress
from .types import CATEGORY, LOOK, FaceLandmarks, LipSyncFaces, face_inputs, tracking_inputs


class DetectFaces(io.ComfyNode):
    """Who is where in a batch of frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncDetectFaces", display_name="Detect & Crop Faces", category=CATEGORY,
            description="Finds and follows the faces in a batch of frames, chooses whose mouth is to move, and cuts out what may change. "
                        "Frames without a usable face are no error: they pass through.",
            search_aliases=["face detection", "face crop", "face landmarks", "face tracking", "lip sync faces"],
            inputs=[
                io.Image.Input("images", tooltip="The frames of the video, in order."),
                io.Float.Input("fps", default=25.0, min=1.0, max=240.0, step=0.001,
                               tooltip="Frames a second of the video: connect it from Get Video Components. 23.976 and 29.97 are taken as "
                                       "24000/1001 and 30000/1001."),
                *face_inputs(),
                *tracking_inputs(),
                FaceLandmarks.Input("landmarks", optional=True,
                                    tooltip="Landmarks from ComfyUI's own MediaPipe Face Landmarker on the same frames, instead of a "
                                            "detector of ours."),
            ],
            outputs=[
                LipSyncFaces.Output("faces", display_name="faces", tooltip="For Generate Lip Sync, and for Preview Faces."),
                io.Image.Output("crops", display_name="crops", tooltip="The first chosen face, upright, a picture a frame (black where it "
                                "is away): for looking."),
                io.Mask.Output("region", display_name="region", tooltip="Where the frames may change."),
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, fps: float, face: str, number: int, x: int, y: int, detector: str, smoothing: float,
                landmarks: dict | None = None) -> io.NodeOutput:
        import numpy as np

        from ..lipsync_core.compositing import region_of
        from ..lipsync_core.faces.align import similarity_matrix
        from ..lipsync_core.faces.given import GivenBackend
        from ..lipsync_core.stages import FaceOptions, detect_faces, window_of

        clip = host.clip_of(images, host.rate_of(fps))
        if landmarks is None:
            backend = host_models.face_backend(detector)
        else:
            backend = GivenBackend.from_host(landmarks, len(images), clip.size)
        options = FaceOptions(host.face_rule(face, number, x, y), backend, smoothing=smoothing)
        crops = np.zeros((len(images), LOOK, LOOK, 3), np.uint8)
        first: list[object] = []

        def look(picture, track, row: int) -> None:
            if not first:
                first.append(track)
            if track is first[0]:
                crops[picture.index] = picture.pixels.warp(similarity_matrix(track.landmarks[row], LOOK), (LOOK, LOOK))

        found = detect_faces(clip, options, progress.hooks(analyse=3, crop=1), look)
        region = torch.zeros(images.shape[:3])
        for one in found.people:
            for item in one.crops:
                x0, y0, x1, y1 = item.box
                part = region[item.frame, y0:y1, x0:x1]
                torch.maximum(part, torch.from_numpy(region_of(window_of(one, item))), out=part)
        return io.NodeOutput(found, host.picture_batch(crops), host.output(region))


class PreviewFaces(io.ComfyNode):
    """Who is who."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncPreviewFaces", display_name="Preview Faces", category=CATEGORY,
            description="Draws boxes, points, numbers and activation (how much of the effect a frame gets, 0 to 1) of all faces that were "
                        "found into frames of the clip.",
            search_aliases=["show faces", "draw landmarks", "face boxes", "debug faces"],
            inputs=[
                io.MultiType.Input("source", [io.Image, io.Video], tooltip="The frames or the video in which the faces were found."),
                LipSyncFaces.Input("faces", tooltip="From Detect & Crop Faces."),
                io.Int.Input("count", default=12, min=0, max=64, tooltip="How many frames, spread over the clip; 0 = every frame."),
                io.Int.Input("longest_side", default=768, min=64, max=4096, step=8, tooltip="Size of the pictures, pixels."),
            ],
            outputs=[io.Image.Output("pictures", display_name="pictures", tooltip="The frames with what was found.")],
        )

    @classmethod
    def execute(cls, source: torch.Tensor | Input.Video, faces: object, count: int, longest_side: int) -> io.NodeOutput:
        from ..lipsync_core.looks import annotated
        from ..lipsync_core.media import VideoSource

        if isinstance(source, torch.Tensor):
            clip = host.clip_of(source, faces.frame_rate)
        elif (found := host.file_of(source)) is not None:
            clip = VideoSource(found.file, start=found.start, duration=found.duration)
        else:
            clip = host.clip_of(source.get_components().images, faces.frame_rate)
        return io.NodeOutput(host.picture_batch(annotated(clip, faces, count, longest_side, progress.hooks(look=1))))
