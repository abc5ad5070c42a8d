"""Videos become shards: what can't teach is found, the rest comes back as it was, and a run that was stopped gives the same bytes."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import moving_face, sounded, write_clip

from lipsync_core import dub
from lipsync_core.audio import load_speech
from lipsync_core.demo import SPEECH
from lipsync_core.errors import LipSyncError, MediaError
from lipsync_core.faces.align import steady_matrix
from lipsync_core.media import FrameView, VideoSource
from lipsync_core.training.lipsyncnet import packing, prepare, quality, shards
from lipsync_core.training.lipsyncnet.clip import ClipFile, ClipOptions
from lipsync_core.training.lipsyncnet.dataset import Segment, SegmentStream, decode_sample
from lipsync_core.training.lipsyncnet.packing import PackOptions, begins_with
from lipsync_core.training.lipsyncnet.prepare import find_clips, read_prefixes
from lipsync_core.training.lipsyncnet.quality import Limits
from lipsync_core.types import Hooks

SECONDS, LATE = 4.4, 0.4
LIMITS = Limits(tell=4.0, longest=3.0)
CLIPS = ClipOptions(size=128, limits=LIMITS)
PACK = PackOptions(test_people=("cut",), shard_mb=0.5)
pytestmark = pytest.mark.usefixtures("one_thread")


def pictures_of(file: Path) -> list[np.ndarray]:
    views = (FrameView(item.frame) for item in VideoSource(file).frames())
    return [np.clip(view.region((0, 0, view.width, view.height)), 0, 255).astype(np.uint8) for view in views]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, empty_clip: Path) -> Path:
    """A folder of clips made of one that `morph` dubbed, which therefore goes with its sound."""
    work, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("set") / "films"
    folder.mkdir()
    voice = load_speech(SPEECH, duration=SECONDS).samples
    soundfile.write(work / "voice.wav", voice, 16_000)
    quick = {"crf": "12", "preset": "ultrafast"}
    still = write_clip(work / "still.mp4", moving_face(astronaut, round(SECONDS * 25)), options=quick)
    dub(still, work / "voice.wav", work / "talking.mp4")
    talking = pictures_of(work / "talking.mp4")
    resting = pictures_of(still)
    sounded(work / "talking.mp4", voice, folder / "talking.mkv")
    sounded(work / "talking.mp4", np.concatenate([np.zeros(round(LATE * 16_000), np.float32), voice]), folder / "late.mkv")
    sounded(work / "talking.mp4", voice[::-1].copy(), folder / "foreign.mkv")
    sounded(work / "talking.mp4", 1e-4 * np.random.default_rng(0).standard_normal(len(voice)).astype(np.float32), folder / "silent.mkv")
    sounded(work / "talking.mp4", None, folder / "mute.mkv")
    # Nobody for a second and a half, then the talker.
    write_clip(work / "gap.mp4", [np.full_like(talking[0], 90)] * 38 + talking[38:], options=quick)
    sounded(work / "gap.mp4", voice, folder / "gap.mkv")
    # Somebody else in the very same place: the other way round, in other colours.
    other = [np.ascontiguousarray(picture[:, ::-1, ::-1]) for picture in talking[55:]]
    write_clip(work / "cut.mp4", talking[:55] + other, options=quick)
    sounded(work / "cut.mp4", voice, folder / "cut.mkv")
    write_clip(work / "two.mp4", [np.hstack(pair) for pair in zip(resting, talking)], options=quick)
    sounded(work / "two.mp4", voice, folder / "two.mkv")
    write_clip(work / "twins.mp4", [np.hstack([picture[:, ::-1], picture]) for picture in talking], options=quick)
    sounded(work / "twins.mp4", voice, folder / "twins.mkv")
    sounded(empty_clip, voice[:16_000], folder / "nobody.mkv")
    (folder / "damaged.mp4").write_bytes(b"no film at all")
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def made(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Shards of all of them, and the report."""
    folder = tmp_path_factory.mktemp("shards")
    return folder, prepare.prepare([clips], folder, CLIPS, PACK)


def clip_of(report: dict, name: str) -> dict:
    return next(clip for clip in report["clips"] if clip["clip"] == f"films__{name}")


def reasons(report: dict, name: str) -> set[str]:
    return {entry["why"] for entry in clip_of(report, name)["dropped"]}


def segments(folder: Path, split: str = "train") -> dict[str, Segment]:
    return {sample["__key__"]: decode_sample(sample) for sample in SegmentStream(folder, split, shuffle=0, decode=False)}


# -- whole clips -----------------------------------------------------------------------------------------------------------------


def test_a_clip_in_sync_is_kept_whole(made: tuple[Path, dict]) -> None:
    clip = clip_of(made[1], "talking")
    assert not clip["dropped"] and clip["cuts"] == [] and clip["faces"] == 1
    assert sum(entry["seconds"] for entry in clip["kept"]) == pytest.approx(SECONDS, abs=0.05) and len(clip["kept"]) == 2
    assert abs(clip["kept"][0]["offset_ms"]) <= 60 and clip["kept"][0]["relation"] > 0.5
    assert clip["kept"][0]["speech"] > 0.5 and 60 < clip["kept"][0]["face_px"] < 90


def test_late_sound_is_found_and_taken_out(made: tuple[Path, dict]) -> None:
    folder, report = made
    late, right = (clip_of(report, name)["kept"][0]["offset_ms"] for name in ("late", "talking"))
    assert late - right == pytest.approx(1000 * LATE, abs=25)
    found = segments(folder)
    ours, theirs = (found[f"films__{name}_p0_0000"].samples for name in ("late", "talking"))
    shift = round((late - right - 1000 * LATE) * 16)                  # what the offset was off by
    a, b = ours[16_000 - shift:40_000 - shift], theirs[16_000:40_000]
    assert np.corrcoef(a, b)[0, 1] > 0.98


@pytest.mark.parametrize(("name", "why"), [("foreign", "no relation"), ("silent", "no speech"), ("mute", "no sound"), ("nobody", "no face"),
                                           ("damaged", "unreadable"), ("twins", "two faces")])
def test_what_cannot_teach_is_found(made: tuple[Path, dict], name: str, why: str) -> None:
    assert not clip_of(made[1], name)["kept"] and reasons(made[1], name) == {why}


def test_a_face_that_comes_late_is_taken_from_there_on(made: tuple[Path, dict]) -> None:
    clip = clip_of(made[1], "gap")
    assert clip["dropped"][0]["why"] == "no face" and clip["dropped"][0]["start"] == 0 and 1.5 <= clip["dropped"][0]["end"] < 1.8
    assert len(clip["kept"]) == 1 and clip["kept"][0]["start"] >= 1.5


def test_no_segment_goes_across_a_cut(made: tuple[Path, dict]) -> None:
    clip = clip_of(made[1], "cut")
    assert clip["cuts"] == [pytest.approx(2.2, abs=0.05)] and len(clip["kept"]) + len(clip["dropped"]) >= 2
    for entry in clip["kept"]:
        assert entry["start"] >= 2.15 or entry["start"] + entry["seconds"] <= 2.25
    assert clip["kept"] and {entry["split"] for entry in clip["kept"]} == {"test"}


def test_of_two_faces_the_one_that_speaks_is_taken(made: tuple[Path, dict], clips: Path) -> None:
    clip = clip_of(made[1], "two")
    assert clip["faces"] == 2 and reasons(made[1], "two") == {"another speaks"}
    found = segments(made[0])
    kept = found[clip["kept"][0]["key"]]
    # The one on the right: its lips move.
    assert np.ptp(np.linalg.norm(kept.landmarks[:, 66] - kept.landmarks[:, 62], axis=1)) > 2
    assert sum(entry["seconds"] for entry in clip["kept"]) == pytest.approx(SECONDS, abs=0.05)


def test_the_table_says_it_all(made: tuple[Path, dict]) -> None:
    folder, report = made
    text = packing.table(report)
    for why in ("no relation", "no speech", "no sound", "no face", "unreadable", "two faces", "another speaks"):
        assert quality.REASONS[why] in text and report["dropped"][why]["clips"] >= 1
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report
    # Every second of a clip with faces is accounted for.
    for name in ("talking", "cut", "foreign", "gap"):
        clip = clip_of(report, name)
        told = sum(e["seconds"] for e in clip["kept"]) + sum(e["end"] - e["start"] for e in clip["dropped"])
        assert told == pytest.approx(clip["seconds"], abs=0.1)


# -- shards ----------------------------------------------------------------------------------------------------------------------


def test_samples_are_as_the_format_says(made: tuple[Path, dict]) -> None:
    folder, _ = made
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert index["size"] == 128 and {entry["split"] for entry in index["files"]} == {"train", "test"}
    assert index["samples"] == sum(entry["samples"] for entry in index["files"]) and index["people"] >= 1
    for entry in index["files"]:
        file = folder / entry["name"]
        assert re.fullmatch(r"(train|test)-\d{6}\.tar", file.name) and shards.file_sha256(file) == entry["sha256"]
        assert file.stat().st_size == entry["bytes"] and (entry["bytes"] <= 0.5e6 or entry["samples"] == 1)
    for key, segment in segments(folder).items():
        assert re.fullmatch(r"[a-z0-9_-]+_p\d+_\d{4}", key)
        n = len(segment.frames)
        assert segment.frames.shape == (n, 128, 128, 3) and segment.frames.dtype == np.uint8
        assert segment.landmarks.shape == (n, 68, 2) and segment.landmarks.dtype == np.float32
        assert segment.times.dtype == np.float64 and segment.times[0] == 0 and np.allclose(np.diff(segment.times), 0.04, atol=0.002)
        assert segment.audio_start <= -1.2 and segment.samples.dtype == np.float32
        assert segment.audio_start + len(segment.samples) / 16_000 == pytest.approx(segment.times[-1] + 0.3, abs=1e-3)
        assert set(segment.meta) == set(packing.FIELDS) and 2 <= segment.duration <= 3.05
        eyes = segment.landmarks[:, 36:48].mean(1) / 128
        assert np.allclose(eyes, [0.5, 0.27], atol=0.03)


def test_crops_are_the_sources_own(made: tuple[Path, dict], clips: Path, backend: object) -> None:
    """The first frame of a sample is the steady crop of that frame, and before the clip there is silence."""
    segment = segments(made[0])["films__talking_p0_0000"]
    view = FrameView(next(VideoSource(clips / "talking.mkv").frames()).frame)
    found = backend.detect([view])[0][0]
    shape = backend.landmarks([view], list(backend.landmarks([view], [found.box])[0]))[0][0]
    truth = view.warp(steady_matrix(shape, 128), (128, 128)).astype(float)
    assert np.abs(truth - segment.frames[0]).mean() < 6               # tracking smooths, so the place differs a little
    assert not segment.samples[:round(16_000 * (1.2 - 0.06))].any() and segment.samples[20_000:].any()


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(made: tuple[Path, dict], clips: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = made
    pieces = tmp_path / "pieces"
    shutil.copytree(folder / "pieces", pieces)
    for name in ("films__talking", "films__nobody"):
        (pieces / f"{name}.json").unlink()                            # the last step of a clip: without it nothing was done
    (pieces / "films__talking.tar").write_bytes(b"half")
    (pieces / "films__nobody.json.partial").write_bytes(b"{")
    asked: list[str] = []
    work = prepare.prepare_clip

    def counted(clip: ClipFile, *rest: object) -> dict:
        asked.append(clip.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return work(clip, *rest)

    monkeypatch.setattr(prepare, "prepare_clip", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare([clips], tmp_path, CLIPS, PACK)
    assert not (tmp_path / "index.json").exists() and asked == ["films__nobody", "films__talking"]
    report = prepare.prepare([clips], tmp_path, CLIPS, PACK)
    assert asked[2:] == ["films__talking"] and report == made[1]
    names = sorted(file.name for file in folder.glob("*.*"))
    assert names == sorted(file.name for file in tmp_path.glob("*.*"))
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    # Other settings are another piece of work, and a file that was changed too.
    first = find_clips([clips])[0]
    assert prepare.done_record(first, pieces, CLIPS) and not prepare.done_record(first, pieces, ClipOptions(size=96, limits=LIMITS))


def test_an_error_of_ours_in_one_clip_is_said_and_tried_again(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict:
        raise IndexError("a bug")

    monkeypatch.setattr(prepare, "prepare_clip", broken)
    found = find_clips([clips], limit=2)
    records = prepare.prepare_pieces(found, tmp_path, CLIPS, 0, Hooks())
    assert [record["dropped"][0]["why"] for record in records] == ["error", "error"] and "a bug" in records[0]["dropped"][0]["says"]
    assert prepare.done_record(found[0], tmp_path, CLIPS) is None


def test_old_shards_go(tmp_path: Path) -> None:
    (tmp_path / "train-000007.tar").write_bytes(b"old")
    (tmp_path / "mine.tar").write_bytes(b"not ours")
    shards.write_shards(tmp_path, [], 1000)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", "mine.tar"]


def test_workers_do_the_same_and_one_that_dies_stops_nothing(clips: Path, made: tuple[Path, dict], tmp_path: Path) -> None:
    class Deadly:
        """Ends the process that unpickles it."""

        def __reduce__(self) -> tuple:
            import os

            return os._exit, (1,)

    good = next(clip for clip in find_clips([clips]) if clip.name == "films__damaged")
    records: dict[str, dict] = {}
    prepare._in_processes(deque([ClipFile(Deadly(), "deadly", "deadly.mp4"), good]), tmp_path, CLIPS, 1,
                          lambda clip, record: records.update({clip.name: record}), Hooks())
    assert records["deadly"]["dropped"][0]["why"] == "crashed"
    there = json.loads((made[0] / "pieces" / "films__damaged.json").read_text(encoding="utf-8"))
    assert records["films__damaged"] == there


# -- names and words -------------------------------------------------------------------------------------------------------------


def test_names_are_safe_and_told_apart(tmp_path: Path) -> None:
    for name in ("a/Anna 1.mp4", "a/anna-1.MOV", "a/видео.mp4", "a/b/clip.v2.mkv", f"a/{'x' * 90}.mp4"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = {clip.shown: clip.name for clip in find_clips([tmp_path / "a"])}
    assert len(set(found.values())) == 5 and all(re.fullmatch(r"[a-z0-9_-]{1,64}", name) for name in found.values())
    assert found["a/b/clip.v2.mkv"] == "a__b__clip-v2"
    assert len(find_clips([tmp_path / "a"], limit=2)) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no video"):
        find_clips([tmp_path / "empty"])
    with pytest.raises(MediaError, match="There is no folder"):
        find_clips([tmp_path / "none"])


def test_lists_of_people(tmp_path: Path) -> None:
    file = tmp_path / "held_out.txt"
    file.write_text("# held out\ntalking__testonly_wda_BobMenendez\n\ngrid_swiz3n  # speaker 5\n", encoding="utf-8")
    prefixes = read_prefixes([str(file), "anna,ben"])
    assert prefixes == ["talking__testonly_wda_BobMenendez", "grid_swiz3n", "anna", "ben"]
    assert begins_with("talking__testonly_wda_bobmenendez", prefixes) and begins_with("talking__grid_swiz3n", prefixes)
    assert begins_with("other__annabel", prefixes) == "anna" and begins_with("grid__x", prefixes) is None
    file.write_text("# nobody\n", encoding="utf-8")
    with pytest.raises(LipSyncError, match="no name"):
        read_prefixes([str(file)])


def test_the_command_line(clips: Path, made: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    prepare.add_prepare(parser.add_subparsers(required=True))
    shutil.copytree(made[0] / "pieces", tmp_path / "pieces")
    chosen = parser.parse_args(["prepare", str(clips), "-o", str(tmp_path), "--size", "128", "--seconds", "2", "3", "--tell", "4",
                                "--test-people", "cut", "--shard-mb", "0.5", "--workers", "0"])
    chosen.run(chosen)
    assert (tmp_path / "pieces" / "films__talking.tar").stat().st_mtime == (made[0] / "pieces" / "films__talking.tar").stat().st_mtime
    assert "kept, train" in capsys.readouterr().out
    assert (tmp_path / "train-000000.tar").read_bytes() == (made[0] / "train-000000.tar").read_bytes()
    told: list[str] = []
    strict = parser.parse_args(["prepare", str(clips), "-o", str(tmp_path / "strict"), "--size", "128", "--face", "900", "--limit", "3",
                                "--workers", "0"])
    strict.run(strict, Hooks(warn=told.append))
    assert told and "Nothing was kept" in told[0] and "face too small" in capsys.readouterr().out
    for wrong in (["--size", "127"], ["--seconds", "5", "3"], ["--test-share", "1"], ["--shard-mb", "0"]):
        bad = parser.parse_args(["prepare", str(clips), "-o", str(tmp_path), "--workers", "0", *wrong])
        with pytest.raises(LipSyncError):
            bad.run(bad, Hooks())
