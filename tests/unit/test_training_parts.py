"""What `prepare` is made of: shards read back, frames judged, sound and mouth related, people told apart."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import moving_face, sounded
from torch.utils.data import DataLoader

from lipsync_core.errors import MediaError
from lipsync_core.generators.morph.articulation import MouthShape
from lipsync_core.training.articulation.real import RealClip, best_lag
from lipsync_core.training.lipsyncnet import clip, likeness, packing, pieces, quality, shards
from lipsync_core.training.lipsyncnet.dataset import SegmentStream, decode_sample, read_video
from lipsync_core.training.lipsyncnet.packing import PackOptions
from lipsync_core.training.lipsyncnet.pieces import CropVideo, Piece, shifted_sound
from lipsync_core.training.lipsyncnet.quality import Limits
from lipsync_core.training.lipsyncnet.relation import GRID_RATE, LAGS, MouthCurve, Relation, SoundShape, relate, sound_shape, who_speaks
from lipsync_core.training.lipsyncnet.shards import Chosen
from lipsync_core.types import FaceTrack

pytestmark = pytest.mark.usefixtures("one_thread")


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
        curve = 0.6 * np.exp(-0.5 * ((LAGS - 0.1) / 0.06) ** 2) + 0.45 * np.exp(-0.5 * ((LAGS + 0.9 - 0.1 * number) / 0.06) ** 2)
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
