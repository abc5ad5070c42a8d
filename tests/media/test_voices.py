"""Several people, each with their own recording; speaker data; the sound of all of them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
from helpers import moving_face, pictures, write_clip

from lipsync_core import DubOptions, Encoding, Soundtrack, Voice, dub
from lipsync_core.audio import speech_from_samples
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.speaker_file import FrameSpeakers, Speaker, load_speakers, speakers_text

LOSSLESS = DubOptions(encoding=Encoding(lossless=True, preset="ultrafast"))
QUICK = ["--lossless", "--preset", "ultrafast", "--quiet", "--force"]
SIDE = 240
LEFT, RIGHT = np.s_[:, :, :SIDE], np.s_[:, :, SIDE:]
RATE = 16_000


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Two seconds of two people: the portrait, and its mirror image, half a second of the camera's wandering later."""
    frames = moving_face(astronaut, 62, SIDE)
    both = [np.hstack([frames[i], frames[i + 12][:, ::-1]]) for i in range(50)]
    return write_clip(tmp_path_factory.mktemp("couple") / "couple.mp4", both, options={"crf": "12"})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, babble: np.ndarray) -> tuple[Path, Path]:
    """The first speaks from 0.5 s to 1.2 s, the second from 1.3 s on; both last two seconds."""
    folder = tmp_path_factory.mktemp("recordings")
    early, late = np.zeros((2, 2 * RATE), np.float32)
    early[8000:19_200] = babble[8000:19_200]
    late[20_800:] = babble[8000:19_200]
    for name, samples in (("early.wav", early), ("late.wav", late)):
        soundfile.write(folder / name, samples, RATE)
    return folder / "early.wav", folder / "late.wav"


def moved(source: Path, result: Path, where: tuple) -> np.ndarray:
    """How much each frame of a half differs from the source's."""
    after = pictures(result)[where]
    return np.abs(pictures(source)[where][:len(after)] - after).mean((1, 2, 3))


def heard(file: Path) -> tuple[np.ndarray, int]:
    """(channels, n) of a file's first sound track."""
    with av.open(str(file)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate([block / 32768 if block.dtype == np.int16 else block for block in blocks], -1), rate


def test_two_people_say_two_recordings(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    """Each mouth moves with its own, and rests while the other speaks (the default, silence close, shuts it: that is a change too)."""
    result = tmp_path / "dubbed.mp4"
    report = dub(couple, None, result, LOSSLESS, voices=[Voice(0, recordings[0]), Voice(1, recordings[1])], silence="keep")
    assert report.frames == 50 and len(report.chosen) == 2 and len(report.people) == 2 and not report.warnings
    left, right = moved(couple, result, LEFT), moved(couple, result, RIGHT)
    early, late = slice(14, 28), slice(36, 50)
    assert left[early].mean() > 5 * left[late].mean() + 0.05 and right[late].mean() > 5 * right[early].mean() + 0.05
    sound, rate = heard(result)
    assert abs(sound.shape[-1] / rate - 2) < 0.07
    loud = np.abs(sound).reshape(len(sound), -1).max(0)
    assert loud[:int(0.45 * rate)].max() < 0.02 < loud[int(0.6 * rate):int(1.1 * rate)].max() and loud[int(1.5 * rate):].max() > 0.02


def test_the_others_samples_are_untouched(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    """By command: only the right one has a voice; it begins half a second earlier than recorded."""
    result = tmp_path / "dubbed.mp4"
    assert main(["dub", str(couple), "--voice", f"1={recordings[1]}@-0.5", "-o", str(result), *QUICK]) == 0
    assert (moved(couple, result, LEFT) == 0).all()
    right = moved(couple, result, RIGHT)
    assert len(right) in (37, 38)                                     # the voice ends after 1.5 s
    assert right[20:36].mean() > 0.05


def test_both_speak_at_once(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    early, _ = recordings
    report = dub(couple, None, tmp_path / "o.mp4", LOSSLESS, voices=[Voice((60.0, 120.0), early), Voice("#0+#1", early)], silence="keep")
    left, right = moved(couple, tmp_path / "o.mp4", LEFT), moved(couple, tmp_path / "o.mp4", RIGHT)
    assert len(report.chosen) == 2 and left[14:28].mean() > 0.05 < right[14:28].mean()
    assert "limiter" not in " ".join(report.warnings)


def test_the_same_person_in_a_later_shot(couple: Path, recordings: tuple[Path, Path], astronaut: np.ndarray, tmp_path: Path) -> None:
    """A cut from a shot of one person to another, from farther away on the other side: the voice goes on."""
    frames = moving_face(astronaut, 25, SIDE)
    empty = np.full((SIDE, 2 * SIDE, 3), (40, 90, 130), np.uint8)
    far = [cv2.resize(frame, (200, 200), interpolation=cv2.INTER_AREA) for frame in frames]
    shots = [np.hstack([frame, empty[:, :SIDE]]) for frame in frames] + [empty.copy() for _ in far]
    for shot, frame in zip(shots[25:], far):
        shot[:200, -200:] = frame
    clip = write_clip(tmp_path / "cut.mp4", shots, options={"crf": "12"})
    report = dub(clip, None, tmp_path / "o.mp4", LOSSLESS, voices=[Voice(0, recordings[0]), Voice(0, recordings[1])], silence="keep")
    assert len(report.people) == 1 and len(report.chosen) == 2 and not report.warnings
    changed = moved(clip, tmp_path / "o.mp4", np.s_[:])
    assert changed[14:25].mean() > 0.05 < changed[36:50].mean()


def test_who_speaks_is_told_from_the_clip_itself(couple: Path, babble: np.ndarray, babble_file: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture) -> None:
    """The source is a dub of ours: the left one says what is heard, the right one is still. Then another recording takes its turns."""
    said = speech_from_samples(babble[:2 * RATE], RATE)
    talk = tmp_path / "talk.mkv"
    dub(couple, None, talk, LOSSLESS, voices=[Voice(0, said), Voice(1, speech_from_samples(np.zeros(2 * RATE, np.float32), RATE))])
    result = tmp_path / "o.mkv"
    command = ["dub", str(talk), str(babble_file), "--speakers", "auto", "--silence", "generate", "-o", str(result), *QUICK]
    assert main([*command, "--report", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {person for *_, person in report["turns"]} == {0} and sorted(report["people"]) == [[0], [1]]
    assert "person 0" in capsys.readouterr().out
    assert (moved(talk, result, RIGHT) == 0).all()
    assert main(["analyze", str(talk), "--speakers", str(tmp_path / "turns.json"), "--quiet"]) == 0
    speaking = {one.speaker_id for frame in load_speakers(tmp_path / "turns.json") for one in frame.speakers if one.speaking}
    assert speaking == {0}
    assert main(["dub", str(couple), str(babble_file), "--speakers", "auto", "-o", str(tmp_path / "none.mp4"), *QUICK]) == 1
    assert "own sound" in capsys.readouterr().err and not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize(("voices", "says"), [
    (["0"], "no voice"), (["=a.wav"], "no voice"), (["0=none.wav"], "no file"), (["0=none.wav@2"], "no file none.wav"),
    (["S1={0}"], "speaker data"), (["anna={0}"], "speaker data"), (["0={0}@-3"], "Nothing is left"), ([], "nothing to say")])
def test_voices_that_can_not_be_are_one_sentence(voices: list[str], says: str, couple: Path, recordings: tuple[Path, Path], tmp_path: Path,
                                                 capsys: pytest.CaptureFixture) -> None:
    given = [part for voice in voices for part in ("--voice", voice.format(recordings[0]))]
    assert main(["dub", str(couple), *given, "-o", str(tmp_path / "none.mp4"), *QUICK]) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not (tmp_path / "none.mp4").exists()


def test_one_recording_or_voices_but_not_both(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(LipSyncError, match="both a recording and voices"):
        dub(couple, recordings[0], tmp_path / "o.mp4", voices=[Voice(0, recordings[1])])
    with pytest.raises(LipSyncError, match="either voices or speakers auto"):
        DubOptions(voices=[Voice(0, recordings[1])], speakers="auto").check()


def test_a_voice_that_nobody_says_is_heard_all_the_same(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    report = dub(couple, None, tmp_path / "o.mp4", LOSSLESS, voices=[Voice(0, recordings[0]), Voice(5, recordings[1])])
    assert len(report.chosen) == 1 and len(report.warnings) == 1 and "late.wav" in report.warnings[0]
    sound, rate = heard(tmp_path / "o.mp4")
    assert np.abs(sound[..., int(1.5 * rate):]).max() > 0.02


def test_another_sound_for_the_result(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(2 * 48_000) / 48_000)
    soundfile.write(tmp_path / "mix.wav", np.stack([tone, -tone], 1), 48_000)
    dub(couple, None, tmp_path / "o.mkv", LOSSLESS, voices=[Voice(0, recordings[0])], soundtrack=Soundtrack(tmp_path / "mix.wav"))
    sound, rate = heard(tmp_path / "o.mkv")
    assert rate == 48_000 and abs(np.abs(sound).max() - 0.25) < 0.01


def test_speaker_data_from_and_to_a_file(couple: Path, babble_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """What analyze writes is edited and read again: the left one speaks in the first half, the right one in the second."""
    file = tmp_path / "speakers.json"
    assert main(["analyze", str(couple), "--speakers", str(file), "--quiet"]) == 0
    said = capsys.readouterr()
    assert "2 person(s)" in said.out and "own sound" in said.err      # the clip has none: everybody speaks
    data = load_speakers(file)
    assert len(data) == 50 and all([one.speaker_id for one in frame.speakers] == [0, 1] for frame in data)
    assert set(json.loads(file.read_text())["frames"][0]["speakers"][0]) == {"bbox", "speaker_id", "is_speaking"}
    edited = [FrameSpeakers(tuple(Speaker(one.box, one.speaker_id, (one.speaker_id == 0) == (i < 25)) for one in frame.speakers))
              for i, frame in enumerate(data)]
    file.write_text(speakers_text(edited), encoding="utf-8")
    result = tmp_path / "o.mp4"
    assert main(["dub", str(couple), str(babble_file), "--speakers", str(file), "--silence", "generate", "-o", str(result), *QUICK]) == 0
    left, right = moved(couple, result, LEFT), moved(couple, result, RIGHT)
    assert (left[36:] == 0).all() and (right[:14] == 0).all() and left[15:25].mean() > 0.05 and right[26:].mean() > 0.05


def test_bypass_and_voices_by_name_in_speaker_data(couple: Path, recordings: tuple[Path, Path], tmp_path: Path) -> None:
    box = Speaker((0, 0, SIDE, SIDE), None, True, "anna")
    data = [FrameSpeakers((box,), 1.0 if i >= 20 else 0.0) for i in range(50)]
    result = tmp_path / "o.mp4"
    report = dub(couple, None, result, LOSSLESS, voices=[Voice("anna", recordings[0])], speakers=data, silence="generate")
    left = moved(couple, result, LEFT)
    assert len(report.chosen) == 1 and (moved(couple, result, RIGHT) == 0).all()
    assert (left[20:] == 0).all() and left[:15].mean() > 0.02


def test_malformed_speaker_data_stop_the_job_before_anything_is_written(couple: Path, babble_file: Path, tmp_path: Path,
                                                                        capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "bad.json").write_text('{"frames": [{}, {"speakers": [{"bbox": [1, 2]}]}]}')
    command = ["dub", str(couple), str(babble_file), "--speakers", str(tmp_path / "bad.json"), "-o", str(tmp_path / "o.mp4"), *QUICK]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "frame 1, speaker 0" in said and said.count("\n") == 1 and not (tmp_path / "o.mp4").exists()


def test_overlay(couple: Path, babble_file: Path, tmp_path: Path) -> None:
    """Everybody's box is drawn, and ON in the corner; frames keep their number and size."""
    plain, drawn = tmp_path / "plain.mp4", tmp_path / "drawn.mp4"
    dub(couple, babble_file, plain, LOSSLESS)
    assert main(["dub", str(couple), str(babble_file), "--overlay", "-o", str(drawn), *QUICK]) == 0
    before, after = pictures(plain), pictures(drawn)
    assert before.shape == after.shape
    corner = after[:, 4:20, 4:90]
    assert (np.abs(corner - before[:, 4:20, 4:90]) > 60).mean((1, 2, 3)).min() > 0.1
    assert all((np.abs(after[where] - before[where]) > 40).mean() > 0.02 for where in (LEFT, RIGHT))
