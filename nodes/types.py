"""Sockets of our own, and inputs that several nodes have."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "OpenLipSync"
BUILT_IN, NETWORK = "morph (built in)", "LipSyncNet (built in)"
"""Generators that come with the pack."""
NO_RESTORER = "none"
LOOK = 256
"""Side of the crops and mouths that are made for looking, pixels."""
DETECTORS = ["built in", "face-alignment"]

LipSyncFaces = io.Custom("LIPSYNC_FACES")
"""A `lipsync_core.stages.Faces`: who is where in which frames, cut out, and from Generate Lip Sync on with new mouths."""
LipSyncGenerator = io.Custom("LIPSYNC_GENERATOR")
"""A `nodes.host_models.LoadedGenerator`."""
LipSyncVoices = io.Custom("LIPSYNC_VOICES")
"""A tuple of `nodes.host.GivenVoice`."""
LipSyncSpeakers = io.Custom("LIPSYNC_SPEAKERS")
"""Speaker data (`lipsync_core.speaker_file.SpeakerData`), or `lipsync_core.options.AUTO`."""
FaceLandmarks = io.Custom("FACE_LANDMARKS")
"""The host's own: {"frames": list of lists of {"landmarks_xy": (478, 2) pixels, ...}, "image_size": (h, w), ...}."""


def generator_input() -> io.Input:
    """What makes the mouths."""
    return LipSyncGenerator.Input("generator", optional=True,
                                  tooltip="From Load Generator. Nothing connected: morph, which is built in.")


def face_inputs(optional: bool = False) -> list[io.Input]:
    """Whose mouth moves."""
    return [
        io.Combo.Input("face", options=["largest", "all", "number", "point"], default="largest", optional=optional,
                       tooltip="Whose mouth moves: the largest face of every shot, all faces, the one with a number counted from the "
                               "left, or the one at a point of the picture. Preview Faces shows who is who."),
        io.Int.Input("number", default=0, min=0, max=31, optional=optional,
                     tooltip="With 'number': 0 is the leftmost face, 1 the next."),
        io.Int.Input("x", default=0, min=0, max=16384, optional=optional, tooltip="With 'point': pixels from the left of the picture."),
        io.Int.Input("y", default=0, min=0, max=16384, optional=optional, tooltip="With 'point': pixels from the top of the picture."),
    ]


def tracking_inputs(optional: bool = False) -> list[io.Input]:
    """How faces are found and followed."""
    return [
        io.Combo.Input("detector", options=DETECTORS, default="built in", optional=optional, advanced=True,
                       tooltip="The built-in face models need nothing and are fast. face-alignment is stronger on hard footage; that "
                               "package downloads its weights when it is used for the first time."),
        io.Float.Input("smoothing", default=1.0, min=0.0, max=3.0, step=0.1, optional=optional, advanced=True,
                       tooltip="How long face points are smoothed over: 0 not at all, 1 as usual, more for shaky detections."),
    ]


def drive_inputs(optional: bool = False) -> list[io.Input]:
    """How the mouth is driven: how much, and when."""
    return [
        io.Float.Input("strength", default=1.0, min=0.0, max=2.0, step=0.05, display_mode=io.NumberDisplay.slider, optional=optional,
                       tooltip="How far the mouth moves: 0 keeps it shut, 1 is natural, 2 is exaggerated."),
        io.Combo.Input("silence", options=["close", "keep", "generate"], default="close", optional=optional,
                       tooltip="What the mouth does while nobody speaks: shut it, keep the source's own mouth, or leave it to the "
                               "generator."),
        io.Float.Input("offset_ms", default=0.0, min=-1000.0, max=1000.0, step=10.0, optional=optional,
                       tooltip="Milliseconds that the mouth moves later (above 0) or earlier (below 0) than the sound."),
    ]


def blend_inputs(advanced: bool = False) -> list[io.Input]:
    """How new faces are put back. Advanced ones are optional, too."""
    return [
        io.Float.Input("feather", default=0.22, min=0.02, max=0.6, step=0.01, optional=advanced, advanced=advanced,
                       tooltip="How soft the rim of the changed region is, as a share of the distance between the outer eye corners."),
        io.Float.Input("mask_grow", default=0.0, min=-0.1, max=0.3, step=0.01, optional=advanced, advanced=advanced,
                       tooltip="Makes the changed region larger (above 0) or smaller, as a share of the same distance."),
        io.Boolean.Input("colour_match", default=True, optional=advanced, advanced=advanced,
                         tooltip="Tints the new face so that it continues the skin around it."),
    ]


def batch_input(optional: bool = False) -> io.Input:
    """How many faces a network gets at a time."""
    return io.Int.Input("batch_size", default=8, min=1, max=64, optional=optional, advanced=True,
                        tooltip="Faces that a network is given at a time. It is halved by itself where memory does not suffice; morph "
                                "takes one at a time.")


def casting_inputs() -> list[io.Input]:
    """Who says what, where it is more than one recording for the chosen face."""
    return [
        LipSyncVoices.Input("voices", optional=True,
                            tooltip="From Voice: several people, each with their own recording. Then 'face' does not count."),
        LipSyncSpeakers.Input("speakers", optional=True, tooltip="From Who Speaks: who speaks in which frames."),
    ]


def bypass_input() -> io.Input:
    """Passages of the source."""
    return io.String.Input("bypass", default="", optional=True, advanced=True,
                           tooltip="Passages that keep the source's own mouth, in seconds of the video: 3.5-6,10-12, or 10- for all that "
                                   "follows. Empty: none.")


def length_inputs() -> list[io.Input]:
    """What happens where speech and picture are not of one length."""
    return [
        io.Combo.Input("extend_video", options=["off", "hold", "forward", "bounce"], default="off", optional=True,
                       tooltip="Speech that is longer than the picture: end with the picture (off), hold its last frame (hold), repeat its "
                               "last seconds (forward), or play them backwards and forwards (bounce)."),
        io.Float.Input("extend_seconds", default=5.0, min=0.0, max=100000.0, step=0.1, optional=True,
                       tooltip="With 'forward' and 'bounce': how many of the last seconds are repeated; 0 = all of them."),
        io.Combo.Input("extend_audio", options=["off", "silence"], default="off", optional=True, advanced=True,
                       tooltip="Speech that is shorter than the picture: end with the speech (off), or keep the whole picture with the "
                               "mouth at rest (silence)."),
    ]
