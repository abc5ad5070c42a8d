"""Voice, and Who Speaks."""

from __future__ import annotations

from comfy_api.latest import io

from . import host
from .types import CATEGORY, LipSyncFaces, LipSyncSpeakers, LipSyncVoices

AUTO, TEXT, FILE = "auto", "text", "file"
NO_FILE = "(none)"


class Voice(io.ComfyNode):
    """One person's recording among several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncVoice", display_name="Voice", category=CATEGORY,
            description="Says which person speaks a recording. Chain one Voice for each person into Dub Video or Generate Lip Sync: every "
                        "mouth follows its own recording, and who is silent listens with a shut mouth.",
            search_aliases=["several speakers", "dialogue", "two people", "multi speaker", "who speaks", "lip sync voice"],
            inputs=[
                io.Audio.Input("audio", tooltip="What this person says. It begins with the first frame, or after 'offset'."),
                io.Int.Input("number", default=0, min=0, max=31,
                             tooltip="Who says it: 0 is the person furthest left, 1 the next. The same person is meant after a cut, too; "
                                     "Preview Faces shows who is who."),
                io.Float.Input("offset", default=0.0, min=-36000.0, max=36000.0, step=0.01,
                               tooltip="Seconds into the video at which the recording begins; below 0 its beginning is left out."),
                io.String.Input("who", default="", optional=True, advanced=True,
                                tooltip="In place of the number: a point of the picture such as 640,360, tracks such as #2 or #2+#5, S1 "
                                        "for a speaker id, or a name that the speaker data give as a voice. Empty: the number counts."),
                LipSyncVoices.Input("voices", optional=True, tooltip="The Voice of another person: chain as many as there are people."),
            ],
            outputs=[LipSyncVoices.Output("voices", display_name="voices",
                                          tooltip="For the next Voice, for Dub Video or for Generate Lip Sync.")],
        )

    @classmethod
    def execute(cls, audio: dict | None, number: int, offset: float, who: str = "", voices: tuple = ()) -> io.NodeOutput:
        host.samples_of(audio, "Voice")                               # a sentence where there is no sound
        return io.NodeOutput((*voices, host.GivenVoice(audio, who.strip() or number, offset)))


class WhoSpeaks(io.ComfyNode):
    """Who speaks in which frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OpenLipSyncWhoSpeaks", display_name="Who Speaks", category=CATEGORY,
            description="Says who speaks in which frames: told from the video's own lips and sound (a translated dialogue in one "
                        "recording), or read from speaker data, the JSON that NVIDIA's LipSync clients write.",
            search_aliases=["speaker data", "diarization", "active speaker", "bypass", "dialogue", "turns", "speakers json"],
            inputs=[
                io.Combo.Input("mode", options=[AUTO, TEXT, FILE], default=AUTO,
                               tooltip="auto: from the video's own lips and sound. text: from the JSON below. file: from a JSON file in "
                                       "ComfyUI's input folder."),
                io.String.Input("text", default="", multiline=True, optional=True,
                                tooltip="With 'text': speaker data as JSON, one entry a frame. Connect the text of another Who Speaks, or "
                                        "a text node, to edit it."),
                io.Combo.Input("file", options=[NO_FILE, *host.json_files()], default=NO_FILE, optional=True,
                               tooltip="With 'file': a .json file in ComfyUI's input folder."),
                LipSyncFaces.Input("faces", optional=True,
                                   tooltip="With 'auto', for Generate Lip Sync: everybody, from Detect & Crop Faces with 'all'. Dub Video "
                                           "needs nothing here."),
                io.Audio.Input("audio", optional=True, tooltip="With 'auto', for Generate Lip Sync: the video's own sound, from Get Video "
                                                               "Components."),
            ],
            outputs=[
                LipSyncSpeakers.Output("speakers", display_name="speakers", tooltip="For Dub Video or Generate Lip Sync."),
                io.String.Output("text", display_name="text", tooltip="The speaker data as JSON, to look at, to save and to edit; empty "
                                                                      "where Dub Video finds them out."),
                io.String.Output("turns", display_name="turns", tooltip="Who speaks from when to when, in words."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, mode: str, text: str = "", file: str = NO_FILE, **others: object) -> float:
        return host.input_path(file).stat().st_mtime if mode == FILE and file != NO_FILE and host.input_exists(file) else 0.0

    @classmethod
    def execute(cls, mode: str, text: str = "", file: str = NO_FILE, faces: object | None = None,
                audio: dict | None = None) -> io.NodeOutput:
        from ..lipsync_core.options import AUTO as FROM_SOURCE
        from ..lipsync_core.speaker_file import load_speakers, parse_speakers, speakers_text

        if mode == AUTO and faces is None:
            return io.NodeOutput(FROM_SOURCE, "", "")
        turns = ""
        if mode == AUTO:
            data, turns = host.told_speakers(faces, audio)
        elif mode == TEXT:
            data = parse_speakers(text)
        elif file == NO_FILE:
            raise ValueError("Who Speaks has no file: choose a .json file of ComfyUI's input folder, or another mode.")
        else:
            data = load_speakers(host.input_path(file))
        return io.NodeOutput(data, speakers_text(data), turns)
