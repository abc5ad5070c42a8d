"""Speaker data: the JSON of NVIDIA's clients, with our two additions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lipsync_core.errors import LipSyncError
from lipsync_core.speaker_file import FrameSpeakers, Speaker, load_speakers, parse_speakers, speakers_text

GOOD = {"tool": "theirs", "frames": [
    {"speakers": [{"bbox": [10, 20, 30.5, 40], "speaker_id": 1, "is_speaking": True}], "bypass": False},
    {"speakers": [{"bbox": [0, 0, 0, 0], "is_speaking": True}]},
    {"speakers": [{"bbox": [1, 2, 3, 4], "face_tracker_id": 7, "is_speaking": False, "mood": "glad"},
                  {"bbox": [50, 2, 3, 4], "speaker_id": 2, "face_tracker_id": 9, "voice": " anna "}], "bypass": True},
    {}, None, {"speakers": None, "bypass": 0.25}]}


def frames(**entry: object) -> str:
    return json.dumps({"frames": [{}, {}, entry]})


def test_what_their_clients_write() -> None:
    first, second, third, *rest = parse_speakers(json.dumps(GOOD))
    assert first == FrameSpeakers((Speaker((10, 20, 30.5, 40), 1, True),))
    assert second == FrameSpeakers((Speaker(None, None, True),))                       # find the face yourself
    assert third == FrameSpeakers((Speaker((1, 2, 3, 4), 7, False), Speaker((50, 2, 3, 4), 2, True, "anna")), 1.0)
    assert rest == [FrameSpeakers(), FrameSpeakers(), FrameSpeakers((), 0.25)]


def test_what_we_write_is_read_again() -> None:
    data = parse_speakers(json.dumps(GOOD))
    text = speakers_text(data)
    assert parse_speakers(text) == data
    plain = json.loads(text)
    assert set(plain) == {"frames"} and plain["frames"][0] == {"speakers": [{"bbox": [10.0, 20.0, 30.5, 40.0], "speaker_id": 1,
                                                                            "is_speaking": True}], "bypass": False}
    assert text.count("\n") == len(data) + 2                                           # a line a frame: to edit


@pytest.mark.parametrize(("text", "says"), [
    ("", "no JSON"), ("{", "line 1"), ("[]", '"frames"'), ('{"frames": {}}', '"frames"'), ("[" * 100_000, "can't be read"),
    ('{"frames": [' + "9" * 5000 + "]}", "can't be read|object"),
    ('{"frames": [7]}', "frame 0"), (frames(speakers={}), "frame 2.*list"), (frames(speakers=[1]), "frame 2, speaker 0"),
    (frames(bypass=2), "frame 2.*bypass"), (frames(bypass="yes"), "frame 2.*bypass"),
    (frames(speakers=[{}, {"bbox": [1, 2, 3]}]), "frame 2, speaker 1.*bbox"), (frames(speakers=[{"bbox": [1, 2, 0, 4]}]), "above 0"),
    (frames(speakers=[{"bbox": [1, 2, float("nan"), 4]}]), "bbox"), (frames(speakers=[{"bbox": [True, 2, 3, 4]}]), "bbox"),
    (frames(speakers=[{"speaker_id": "one"}]), "speaker_id"), (frames(speakers=[{"speaker_id": 10**12}]), "speaker_id"),
    (frames(speakers=[{"is_speaking": 1}]), "is_speaking"), (frames(speakers=[{"voice": 3}]), "voice")])
def test_what_is_malformed_is_one_sentence_that_names_the_frame(text: str, says: str) -> None:
    with pytest.raises(LipSyncError, match=says) as error:
        parse_speakers(text, "turns.json")
    assert str(error.value).startswith("turns.json") and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "turns.json"
    file.write_text("\ufeff" + json.dumps(GOOD), encoding="utf-8")                      # Windows editors put a mark first
    assert len(load_speakers(file)) == 6
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(LipSyncError, match="UTF-8"):
        load_speakers(file)
    with pytest.raises(LipSyncError, match="no file"):
        load_speakers(tmp_path / "none.json")


def mangled(rng: random.Random) -> str:
    """A good file with something wrong in it: a value of another kind somewhere, or characters lost, doubled or changed."""
    data = json.loads(json.dumps(GOOD))
    strange = [None, True, -1, 0, 1e308, -1e-320, 10**30, "x", "\ud800", [], {}, [[]], {"speakers": {}}, float("nan"), float("inf")]
    places = [(data, "frames")]
    for frame in data["frames"]:
        if isinstance(frame, dict):
            places += [(frame, key) for key in frame]
            for speaker in frame.get("speakers") or []:
                places += [(speaker, key) for key in speaker] + [(speaker["bbox"], i) for i in range(4)]
    for _ in range(rng.randint(0, 3)):
        holder, key = rng.choice(places)
        holder[key] = rng.choice(strange)
    text = json.dumps(data)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(text))
        other = chr(rng.randrange(1, 0x2FF))
        text = rng.choice([text[:at] + text[at + 1:], text[:at] + other + text[at:], text[:at], text[at:] + text[:at]]) or " "
    return text


def test_a_thousand_mangled_files_never_do_more_than_say_so(tmp_path: Path) -> None:
    rng, refused, file = random.Random(5), 0, tmp_path / "mangled.json"
    for _ in range(1000):
        file.write_bytes(mangled(rng).encode("utf-8", "surrogatepass"))
        try:
            data = load_speakers(file)
            assert len(parse_speakers(speakers_text(data))) == len(data)
        except LipSyncError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert 300 < refused < 1000
