"""Videos become shards: what can't teach is found, the rest comes back as it was, and a run that was stopped gives the same bytes."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import deque
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
import torch
from helpers import moving_face, write_clip
from torch.utils.data import DataLoader

from lipsync_core import dub
from lipsync_core.audio import load_speech
from lipsync_core.demo import SPEECH
from lipsync_core.errors import LipSyncError, MediaError
from lipsync_core.faces.align import steady_matrix
from lipsync_core.generators.morph.articulation import MouthShape
from lipsync_core.media import FrameView, VideoSource
from lipsync_core.training.articulation.real import RealClip, best_lag
from lipsync_core.training.lipsyncnet import clip, likeness, packing, pieces, prepare, quality, shards
from lipsync_core.training.lipsyncnet.clip import ClipFile, ClipOptions
from lipsync_core.training.lipsyncnet.dataset import Segment, SegmentStream, decode_sample, read_video
from lipsync_core.training.lipsyncnet.packing import PackOptions, begins_with
from lipsync_core.training.lipsyncnet.pieces import CropVideo, Piece, shifted_sound
from lipsync_core.training.lipsyncnet.prepare import find_clips, read_prefixes
from lipsync_core.training.lipsyncnet.quality import Limits
from lipsync_core.training.lipsyncnet.relation import GRID_RATE, LAGS, MouthCurve, Relation, SoundShape, relate, sound_shape, who_speaks
from lipsync_core.training.lipsyncnet.shards import Chosen
from lipsync_core.types import FaceTrack, Hooks

SECONDS, LATE = 4.4, 0.4
LIMITS = Limits(tell=4.0, longest=3.0)
CLIPS = ClipOptions(size=128, limits=LIMITS)
PACK = PackOptions(test_people=("cut",), shard_mb=0.5)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sounded(pictures: Path, samples: np.ndarray | None, file: Path, begin: float = 0.0) -> Path:
    """The pictures of a file, not encoded again, with a sound of 16 kHz that begins after `begin` seconds by its timestamps."""
    with av.open(str(pictures)) as source, av.open(str(file), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        track = target.add_stream("pcm_s16le", rate=16_000, layout="mono") if samples is not None else None
        for packet in source.demux(video):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
        if track is not None:
            for first in range(0, len(samples), 1600):
                block = np.clip(samples[first:first + 1600] * 32767, -32768, 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16_000, first + round(begin * 16_000), Fraction(1, 16_000)
                target.mux(track.encode(frame))
            target.mux(track.encode(None))
    return file


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


# -- reading ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of five tiny samples each."""
    folder = tmp_path_factory.mktemp("small")
    video = CropVideo(64, Fraction(25))
    for i in range(3):
        video.add(np.full((64, 64, 3), 40 * i, np.uint8))
    data = video.finish()
    chosen = []
    with Piece(folder / "piece.tar") as piece:
        for i in range(20):
            kept = np.zeros(round(16_000 * (0.08 + 1.5 + 2 * pieces.SPARE)), np.int16)
            piece.add(f"clip_p0_{i:04d}", {"video.mp4": data, "landmarks.npy": pieces.array_bytes(np.zeros((3, 68, 2), np.float32)),
                                           "times.npy": pieces.array_bytes(np.arange(3) / 25), "audio.npy": pieces.array_bytes(kept)})
    for key, places in piece.places.items():
        meta = {"audio_start": -1.2, "fps": 25.0, "size": 64, "seconds": 0.12, "person": key[-1], "key": key}
        chosen.append(Chosen(key, "train", folder / "piece.tar", places, 0.0, meta))
    each = shards.packed_size(chosen[0].parts())
    index = shards.write_shards(folder, chosen, shards.END + 5 * each + 100)
    assert [entry["samples"] for entry in index["files"]] == [5, 5, 5, 5]
    assert all(each * 5 < entry["bytes"] <= shards.END + 5 * each for entry in index["files"])
    return folder


def keys(stream: SegmentStream) -> list[str]:
    return [segment.meta["key"] for segment in stream]


def test_an_epoch_has_everything_once_in_an_order_of_its_own(small: Path) -> None:
    stream = SegmentStream(small, seed=3)
    first = keys(stream)
    assert sorted(first) == sorted(set(first)) and len(first) == 20
    assert keys(SegmentStream(small, seed=3)) == first != keys(SegmentStream(small, seed=4))
    stream.set_epoch(1)
    assert keys(stream) != first and sorted(keys(stream)) == sorted(first)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_readers_share_everything(small: Path, world: int) -> None:
    shares = [keys(SegmentStream(small, seed=1, node=(rank, world))) for rank in range(world)]
    assert sorted(sum(shares, [])) == sorted(keys(SegmentStream(small))) and all(shares)


def test_a_loaders_workers_share_too(small: Path) -> None:
    loader = DataLoader(SegmentStream(small, seed=1), batch_size=None, num_workers=2)
    found = [segment.meta["key"] for segment in loader]
    assert len(found) == len(set(found)) == 20


def test_broken_samples_and_missing_shards_are_said(small: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no test shards"):
        SegmentStream(small, "test")
    sample = next(iter(SegmentStream(small, decode=False)))
    with pytest.raises(MediaError, match="has no times.npy"):
        decode_sample({key: value for key, value in sample.items() if key != "times.npy"})
    with pytest.raises(MediaError, match="damaged"):
        decode_sample(sample | {"video.mp4": sample["video.mp4"][:200]})
    with pytest.raises(MediaError, match="damaged"):
        decode_sample(sample | {"times.npy": pieces.array_bytes(np.arange(2) / 25)})


def test_colours_come_back(astronaut: np.ndarray) -> None:
    crop = cv2.resize(astronaut[20:240, 110:330], (128, 128), interpolation=cv2.INTER_AREA)
    frames = [np.ascontiguousarray(np.roll(crop, i, 1)) for i in range(30)]
    video = CropVideo(128, Fraction(30_000, 1001))
    for frame in frames:
        video.add(frame)
    back = read_video(video.finish(), 30)
    error = back.astype(float) - np.stack(frames)
    assert back.shape == (30, 128, 128, 3) and 10 * np.log10(255**2 / (error**2).mean()) > 35
    assert np.abs(error.mean((0, 1, 2))).max() < 0.8


def test_the_same_crops_give_the_same_bytes(astronaut: np.ndarray) -> None:
    """Whatever was in memory before: x264's macroblock trees would see it."""
    rng, found = np.random.default_rng(0), set()
    for size in (144, 288):
        crops = [cv2.resize(picture, (size, size)) for picture in moving_face(astronaut, 20, 240)]
        for _ in range(4):
            rubbish = [rng.integers(0, 255, (int(rng.integers(100, 900)), 500)).astype(np.uint8) for _ in range(20)]
            video = CropVideo(size, Fraction(25))
            del rubbish
            for crop in crops:
                video.add(crop)
            found.add(video.finish())
    assert len(found) == 2


# -- parts -----------------------------------------------------------------------------------------------------------------------


def track_of(landmarks: np.ndarray, frames: np.ndarray | None = None, yaw: np.ndarray | None = None) -> FaceTrack:
    n = len(landmarks)
    frames = np.arange(n) if frames is None else frames
    pose = np.zeros((n, 3), np.float32)
    if yaw is not None:
        pose[:, 0] = yaw
    return FaceTrack(frames, frames / 25, np.zeros((n, 4), np.float32), landmarks.astype(np.float32), np.ones(n, np.float32), pose,
                     np.ones(n, np.float32), covered=np.zeros(n, np.float32))


def face_at(side: float, n: int) -> np.ndarray:
    """A mean face with outer-eye distance `side`, in the middle of a picture of 400."""
    from lipsync_core.evaluation.curves import CANONICAL

    return np.repeat((CANONICAL * side + [200, 150])[None], n, 0)


def test_frames_are_judged() -> None:
    n = 100
    yaw = np.zeros(n)
    yaw[20:60], yaw[80] = 50, 50                                       # one frame alone is noise
    assert (quality.judge_rows(track_of(face_at(100, n), yaw=yaw), (400, 400), Limits()) == "turned").nonzero()[0].tolist() == \
        list(range(20, 60))
    assert set(quality.judge_rows(track_of(face_at(30, n)), (400, 400), Limits())) == {"small"}
    assert set(quality.judge_rows(track_of(face_at(100, n) - [140, 0]), (400, 400), Limits())) == {"outside"}
    hidden = track_of(face_at(100, n))
    hidden.covered[50:60] = 0.9
    assert (quality.judge_rows(hidden, (400, 400), Limits()) == "covered").nonzero()[0].tolist() == list(range(48, 62))


def test_stretches_end_where_the_shot_or_the_face_does() -> None:
    frames = np.r_[0:40, 42:100]
    track = track_of(face_at(100, len(frames)), frames)
    verdict = np.full(len(track), "", "<U16")
    verdict[90:] = "turned"
    assert quality.stretches(track, [0, 20], verdict) == [(0, 20, ""), (20, 40, ""), (40, 90, ""), (90, 98, "turned")]


def test_segments_are_of_like_length() -> None:
    times = np.arange(0, 12.6, 0.04)
    found = quality.divide(times, 0.04, Limits())
    assert [b - a for a, b in found] == [105, 105, 105] and found[0][0] == 0 and found[-1][1] == len(times)
    assert quality.divide(times[:49], 0.04, Limits()) == [] and quality.divide(times[:50], 0.04, Limits()) == [(0, 50)]
    assert len(quality.divide(times[:125], 0.04, Limits())) == 1


def test_a_changed_face_stands_out_from_a_shaken_one() -> None:
    jumps = np.full(60, 0.05)
    jumps[30] = 0.8
    assert quality.face_changes(jumps) == [30]
    assert quality.face_changes(np.full(60, 0.5)) == []


def mouth(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = np.convolve(rng.standard_normal(round(seconds * GRID_RATE) + 20), np.hanning(9), mode="same")[20:]
    return (0.08 + 0.03 * raw / raw.std()).astype(np.float32)


@pytest.mark.parametrize("lag", [-0.4, 0.0, 0.26])
def test_the_offset_is_found_with_the_sign_of_the_articulation_recipe(lag: float) -> None:
    values, shift = mouth(8, 1), round(lag * GRID_RATE)
    sound = np.roll(values, shift) * 8
    relation = relate(MouthCurve(0, values, np.ones(len(values), bool)), SoundShape(sound, np.ones(len(sound))))
    assert relation.offset == pytest.approx(lag, abs=0.01) and relation.sure and relation.seconds == 8
    clip = RealClip("", np.zeros((0, 40)), values, values, values, np.ones(len(values), bool), np.ones(len(values)))
    assert best_lag(sound, clip, reach=0.6)[2] == pytest.approx(relation.offset, abs=0.01)


def test_foreign_and_still_mouths_have_no_offset() -> None:
    values = mouth(10, 1)
    seen = np.ones(len(values), bool)
    sound = SoundShape(mouth(10, 2) * 8, np.ones(len(values)))
    assert not relate(MouthCurve(0, values, seen), sound).sure
    own = SoundShape(values * 8, np.ones(len(values)))
    assert relate(MouthCurve(0, values, seen), own).sure
    assert not relate(MouthCurve(0, 0.08 + 0.05 * (values - 0.08), seen), own).sure   # landmark noise that happens to agree
    assert relate(MouthCurve(0, values[:10], seen[:10]), own).seconds == 0


def test_short_clips_of_one_person_are_measured_together() -> None:
    def short(person: str, number: int) -> packing._Candidate:
        """The true lag is 100 ms; elsewhere another, in each clip at its own place, is nearly as good."""
        curve = 0.4 * np.exp(-0.5 * ((LAGS - 0.1) / 0.06) ** 2) + 0.3 * np.exp(-0.5 * ((LAGS + 0.9 - 0.1 * number) / 0.06) ** 2)
        entry = {"person": 0, **pieces.relation_fields(Relation(curve, 3.0)), "meta": {"start": 0.0, "seconds": 3.0}}
        return packing._Candidate({"clip": f"{person}{number}", "dropped": [], **entry}, entry, np.zeros(50, np.float32), person=person)

    many, alone = [short("a", i) for i in range(6)], short("b", 3)
    assert not any(pieces.relation_of(c.record).sure for c in [*many, alone])
    packing._time([*many, alone], PackOptions())
    assert all(c.offset == pytest.approx(0.1, abs=0.01) for c in many) and alone.offset is None
    # Of a listed person all clips together are believed, but not against a clip that clearly has another offset.
    near, far = short("a", 6), short("a", 7)
    for c, lag in ((near, 0.14), (far, 0.5)):
        c.record |= pieces.relation_fields(Relation(0.6 * np.exp(-0.5 * ((LAGS - lag) / 0.06) ** 2), 3.0))
    packing._time([*many, near], PackOptions())
    assert near.offset == pytest.approx(0.14, abs=0.01)
    packing._time([*many, near, far], PackOptions(people=("a",)))
    assert near.offset == many[0].offset == pytest.approx(0.1, abs=0.02) and far.offset == pytest.approx(0.5, abs=0.01)
    packing._time([alone], PackOptions(unsure="drop"))
    assert alone.record["dropped"][0]["why"] == "not measured"


def test_who_speaks_is_not_guessed() -> None:
    talking, silent = Relation(0.7 * np.exp(-0.5 * (LAGS / 0.05) ** 2), 5.0), Relation(np.zeros(len(LAGS)), 5.0)
    assert who_speaks([silent, talking], 0.0) == 1 and who_speaks([silent, silent], None) is None
    assert who_speaks([talking, talking], 0.0) is None and who_speaks([silent, talking], 0.5) is None


def test_sound_is_cut_where_the_offset_says() -> None:
    samples = (np.arange(16_000 * 6) % 30_000 / 32768).astype(np.float32)
    kept = pieces.piece_sound(samples, 2.5, 1.0)
    for offset in (0.0, 0.25, -0.4):
        got = shifted_sound(kept, offset)
        assert len(got) == round(16_000 * (1.0 + 1.2 + 0.3))
        assert got[0] == round(samples[round((2.5 - 1.2 + offset) * 16_000)] * 32768)
    assert not shifted_sound(pieces.piece_sound(samples, 0.0, 1.0), 0.0)[:round(1.2 * 16_000)].any()


def test_sound_begins_where_its_timestamps_say(face_clip: Path, tmp_path: Path) -> None:
    for begin in (0.0, 0.4):
        file = sounded(face_clip, np.zeros(16_000, np.float32), tmp_path / "a.mkv", begin)
        assert clip.sound_begins(file) == pytest.approx(begin, abs=2e-3)
    asked: list[np.ndarray] = []

    class Still:
        def __call__(self, samples: np.ndarray, times: np.ndarray, check: object = None) -> MouthShape:
            asked.append(times)
            return MouthShape(*([np.ones(len(times), np.float32)] * 7))

    shape = sound_shape(Still(), np.zeros(16_000, np.float32), 0.4, 2.0)
    assert asked[0][20] == pytest.approx(0.0) and np.flatnonzero(shape.opening).tolist() == list(range(20, 71))


def test_sharpness_falls_with_blur(astronaut: np.ndarray) -> None:
    crop = cv2.resize(astronaut[60:190, 160:290], (288, 288), interpolation=cv2.INTER_CUBIC)
    found = [quality.sharpness(crop)] + [quality.sharpness(cv2.GaussianBlur(crop, (0, 0), s)) for s in (2, 4, 8)]
    assert found == sorted(found, reverse=True) and found[0] > Limits().sharpness > found[2]


def test_people_are_told_apart_by_their_looks_and_kept_apart(backend: object, astronaut: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    faces = rng.normal(0, 3, (6, 50)).astype(np.float32)
    looks = np.concatenate([faces + rng.normal(0, 0.3, faces.shape).astype(np.float32) for _ in range(3)])
    groups = likeness.group_looks(looks)
    assert groups == list(range(6)) * 3

    def candidate(i: int, look: np.ndarray) -> packing._Candidate:
        entry = {"person": 0, "meta": {"start": 0.0, "seconds": 3.0}}
        return packing._Candidate({"clip": f"x__c{i:02d}", "dropped": []}, entry, look)

    people = [candidate(i, look) for i, look in enumerate(looks)]
    packing._name_people(people, PackOptions(people=("c01",)))
    assert len({c.person for c in people}) == 7 and people[1].person == "c01"
    packing._split(people, PackOptions(test_share=0.2))
    sides = [{c.split for c in people if c.group == group} for group in range(6)]
    assert all(len(side) == 1 for side in sides) and sides.count({"test"}) == 2
    # In between two people, or one of them in other light: left out, because the one is tested on.
    tested = next(c for c in people if c.split == "test")
    near = candidate(99, tested.look + np.float32(1.2))
    both = [*people, near]
    near.group = 6
    assert packing._split(both, PackOptions(test_share=0.2)) == [f"x__c99 ~ {tested.record['clip']}"]
    assert near.split == "" and near.record["dropped"][0]["why"] == "like a test person"
    # Somebody whom many look like is not chosen, and nobody is where everybody is one person.
    crowd = [candidate(i, tested.look + rng.normal(0, 0.1, 50).astype(np.float32)) for i in range(30)]
    for i, c in enumerate(crowd):
        c.group = 10 + i
    assert packing._split(crowd, PackOptions(test_share=0.2)) == [] and {c.split for c in crowd} == {"train"}
    # A list is believed; who looks alike is said.
    listed = packing._split(both, PackOptions(test_people=("c99",)))
    assert near.split == "test" and tested.split == "train" and len(listed) == 3


def test_a_look_is_the_persons_own(astronaut: np.ndarray, backend: object) -> None:
    from lipsync_core.faces import Tracker
    from lipsync_core.pixels import ArrayPixels

    def look(pictures: list[np.ndarray]) -> np.ndarray:
        tracker, glances = Tracker(backend), quality.Glances()
        for i, picture in enumerate(pictures):
            pixels = ArrayPixels(picture)
            glances.add(i, pixels, tracker.feed(i, i / 25, pixels))
        track = tracker.finish()[0]
        return likeness.look_of(track, glances.of(track)[1], np.ones(len(track), bool))

    one = look(moving_face(astronaut, 8, 320))
    same = look([cv2.convertScaleAbs(picture, alpha=0.9) for picture in moving_face(astronaut, 8, 280)])
    wider = cv2.resize(astronaut, (620, 512))[:, 54:566]
    other = look([np.ascontiguousarray(picture[..., ::-1]) for picture in moving_face(wider, 8, 320)])
    assert likeness.looks_apart(same[None], one)[0] < likeness.NEAR < likeness.looks_apart(other[None], one)[0]


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
