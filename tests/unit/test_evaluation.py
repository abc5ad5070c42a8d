"""The measures of curves on curves whose answer is known, and the parts that need no clip."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import lipsync_core.evaluation as evaluation_package
from lipsync_core.errors import FaceError, LipSyncError
from lipsync_core.evaluation import MEASURES, pixel_measures, sound_measures, truth_measures
from lipsync_core.evaluation.container import REASONS, Timing
from lipsync_core.evaluation.curves import CANONICAL, Curves, closure, closure_threshold, curves_of, resample
from lipsync_core.evaluation.html import page
from lipsync_core.evaluation.landmarks import OWN_NOTE, Mouths, check_landmarks, model_name
from lipsync_core.evaluation.mediapipe_landmarks import crop_matrix, landmarks_of, track
from lipsync_core.evaluation.mediapipe_teacher import MIRROR
from lipsync_core.evaluation.report import Evaluation, Tile, short_names, table
from lipsync_core.evaluation.shifted_measures import KEYS, shifted
from lipsync_core.evaluation.sound_measures import Sound
from lipsync_core.evaluation.strip import pick_moments


def words(times: np.ndarray) -> np.ndarray:
    """An opening that goes like speech: irregular syllables, shut in between."""
    rng = np.random.default_rng(3)
    beats = np.cumsum(rng.uniform(0.22, 0.45, 60))
    sizes = rng.uniform(0.06, 0.2, 60)
    return sum(size * np.exp(-((times - beat) / 0.06) ** 2) for beat, size in zip(beats, sizes))


def a_curve(rate: float = 25.0, late: float = 0.0, scale: float = 1.0, seconds: float = 8.0) -> Curves:
    times = np.arange(round(seconds * rate)) / rate
    opening = scale * words(times - late)
    lips = np.zeros((len(times), 20, 2))
    lips[:, 10:, 1] = opening[:, None]
    return Curves(times, opening, 0.5 + 0.2 * opening, lips)


@pytest.mark.parametrize("late", [0.0, 0.12, -0.095, 0.013])
@pytest.mark.parametrize("rate", [25.0, 29.97])
def test_the_lag_is_read_between_frames_and_is_positive_where_the_mouth_comes_late(late: float, rate: float) -> None:
    lag, best = truth_measures.best_lag(a_curve(rate, late), a_curve(25.0))
    assert lag == pytest.approx(1000 * late, abs=4)
    assert best > 0.97


def test_a_mouth_that_has_nothing_to_do_with_the_truth_has_no_lag() -> None:
    truth = a_curve()
    noise = Curves(truth.times, np.random.default_rng(0).uniform(0, 0.2, len(truth.times)), truth.width, truth.lips)
    assert truth_measures.best_lag(noise, truth)[0] is None
    still = Curves(truth.times, np.full(len(truth.times), 0.02), truth.width, truth.lips)
    assert truth_measures.correlation(still, truth) == 0 and truth_measures.best_lag(still, truth) == (None, 0)
    assert truth_measures.range_ratio(still, truth) == pytest.approx(0)


def test_breathing_between_sentences_is_no_fault_of_what_is_said() -> None:
    """An open mouth in a pause, which no sound tells, costs the whole correlation and not that of the speech."""
    dub = a_curve()
    breath = (dub.times > 3.5) & (dub.times < 5.0)
    truth = Curves(dub.times, np.where(breath, 0.15, dub.opening), dub.width, dub.lips)
    sound = Sound(np.zeros(8 * 16_000, np.float32))
    sound.activity = np.interp(sound.times, dub.times, ~breath)
    still = Curves(dub.times, np.where(breath, 0.0, dub.opening), dub.width, dub.lips)
    assert truth_measures.correlation(still, truth) < 0.8 < 0.97 < sound_measures.spoken_correlation(still, truth, sound)
    sound.activity = np.zeros(len(sound.times))
    assert sound_measures.spoken_correlation(still, truth, sound) is None


def test_against_the_truth_itself_everything_is_perfect() -> None:
    truth = a_curve()
    threshold = closure_threshold(truth.opening)
    assert truth_measures.correlation(truth, truth) == pytest.approx(1)
    assert truth_measures.correlation(truth, truth, "width") == pytest.approx(1)
    assert truth_measures.lip_distance(truth, truth)[0] == pytest.approx(0)
    recall, count = truth_measures.closure_recall(truth, truth, threshold)
    assert recall == 100 and count > 4
    assert truth_measures.range_ratio(a_curve(scale=0.5), truth) == pytest.approx(0.5, abs=0.01)


def test_closures_are_missed_by_an_open_mouth_and_found_by_a_slightly_late_one() -> None:
    truth = a_curve()
    threshold = closure_threshold(truth.opening)
    ajar = Curves(truth.times, truth.opening + 0.05, truth.width, truth.lips)
    assert truth_measures.closure_recall(ajar, truth, threshold)[0] == 0
    assert truth_measures.closure_recall(a_curve(late=0.04), truth, threshold)[0] == 100
    late = Curves(truth.times, np.maximum(truth.opening, 0.08) + 0.001, truth.width, truth.lips)
    late.opening[100:] = truth.opening[100:]                          # open in the first half only
    assert 20 < truth_measures.closure_recall(late, truth, threshold)[0] < 80
    shut = Curves(truth.times, 0 * truth.opening, truth.width, truth.lips)
    assert truth_measures.closure_recall(shut, truth, threshold)[0] == 100
    assert closure(shut.opening, threshold) == 100                    # ... which is why both numbers are shown


def test_the_threshold_of_a_person_who_never_shuts_the_lips_is_an_average_ones() -> None:
    assert closure_threshold(np.linspace(0.15, 0.3, 100)) < 0.09
    assert 0.03 < closure_threshold(np.linspace(0.02, 0.2, 100)) < 0.06


def test_curves_are_not_drawn_across_gaps() -> None:
    times = np.arange(50) / 25
    values = np.ones(50)
    values[10:20] = np.nan
    values[30] = np.nan
    read = resample(times, values, np.array([0.1, 0.6, 1.2, 1.95, 2.5]))
    assert np.isfinite(read).tolist() == [True, False, True, True, False]


def test_a_head_that_moves_and_turns_in_the_picture_moves_no_lips() -> None:
    frames = []
    for i in range(10):
        a = math.radians(3 * i)
        turn = (80 + 4 * i) * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        frames.append(CANONICAL @ turn.T + [200 + 5 * i, 150])
    curves = curves_of(Mouths(np.arange(10) / 25, np.array(frames, np.float32)))
    assert np.nanmax(pixel_measures.lip_motion(curves.lips)) < 1e-4
    assert np.ptp(curves.opening) < 1e-4 and np.ptp(curves.width) < 1e-4


@pytest.fixture
def sound(babble: np.ndarray) -> Sound:
    return Sound(babble)


def test_leak_counts_moving_lips_in_silence_only(sound: Sound) -> None:
    times = np.arange(75) / 25
    silent = sound.silent_at(times)
    assert silent[:6].all() and not silent[14:36].any()               # speech begins at 0.5 s
    speaking = np.interp(times, sound.times, sound.activity)
    opening = 0.1 * speaking * (1 + np.sin(2 * np.pi * 4 * times))
    quiet = Curves(times, opening, opening, np.zeros((75, 20, 2)))
    value, count = sound_measures.leak(quiet, sound)
    assert value == 0 and count >= 7
    moving = opening.copy()
    moving[silent] += 0.08 * np.sin(2 * np.pi * 3 * times[silent]) ** 2
    assert sound_measures.leak(Curves(times, moving, opening, quiet.lips), sound)[0] > 50
    ajar = Curves(times, opening + 0.08, opening, quiet.lips)           # open, but at rest
    assert sound_measures.leak(ajar, sound)[0] == 0


def test_leftover_is_the_sources_own_mouth() -> None:
    source = a_curve()
    assert sound_measures.leftover(source, source) == (pytest.approx(1), 200)
    reversed_ = Curves(source.times, source.opening[::-1].copy(), source.width, source.lips)
    assert abs(sound_measures.leftover(reversed_, source)[0]) < 0.3


def test_a_shifted_dub_is_told_from_its_source() -> None:
    """The truth says one thing, the source's own mouth another."""
    times = np.arange(200) / 25
    def mouth(opening: np.ndarray, width: np.ndarray) -> Curves:
        lips = np.zeros((len(times), 20, 2))
        lips[:, 6, 0] = 0.5 + width
        return Curves(times, opening, width, lips)
    said, own = words(times), words(times + 20.3)
    wide, own_wide = 0.05 * np.sin(3 * times), 0.05 * np.sin(2 * times + 1)
    truth, source = mouth(said, wide), mouth(own, own_wide)
    late = 0.08
    right = shifted(mouth(words(times - late), 0.05 * np.sin(3 * (times - late))), truth, source)
    assert right["opening_truth"] > 0.98 and right["width_truth"] > 0.98 and right["lag_ms"] == pytest.approx(80)
    assert abs(right["opening_left"]) < 0.3 and abs(right["width_left"]) < 0.3 and right["width_range"] == pytest.approx(1, abs=0.05)
    lazy = shifted(mouth(said, own_wide), truth, source)
    assert lazy["opening_truth"] > 0.98 and abs(lazy["width_truth"]) < 0.3 and lazy["width_left"] > 0.98
    hidden = mouth(np.where(times < 4, np.nan, said), np.where(times < 4, np.nan, wide))
    assert shifted(hidden, truth, source)["opening_truth"] > 0.98
    frozen = shifted(mouth(0 * said, 0 * wide), truth, source)
    assert frozen["opening_truth"] == 0 and frozen["width_truth"] is None and set(frozen) == set(KEYS)


def test_the_same_recording_is_recognised(babble: np.ndarray, sound: Sound) -> None:
    assert sound_measures.same_sound(sound, Sound(0.4 * np.roll(babble, 160)))
    assert not sound_measures.same_sound(sound, Sound(babble[::-1].copy()))


def test_flicker_is_read_where_both_mouths_rest() -> None:
    rng = np.random.default_rng(1)
    still = rng.uniform(0.9, 1.1, (40, 2))
    motion = np.full((40, 2), 0.001)
    still[20:, 0], motion[20:, 0] = 9, 0.015                           # speech, not flicker
    value, count = pixel_measures.flicker(still, motion)
    assert value == pytest.approx(1, abs=0.1) and count == 10
    still[:20, 0] *= 3
    assert pixel_measures.flicker(still, motion)[0] > 2.5
    assert pixel_measures.flicker(still, motion + 0.1)[0] is None


class FakeMesh:
    """Finds the one bright square of a picture; `_one` is what a real one would be asked with."""

    def __init__(self) -> None:
        self._one, self.asked = object(), 0

    def _mesh(self, mesh: object, image: np.ndarray) -> list[np.ndarray]:
        assert mesh is self._one
        self.asked += 1
        ys, xs = np.nonzero(image[..., 0] > 128)
        if len(xs) < 20:
            return []
        shape = np.zeros((68, 2), np.float32)
        shape[:] = (xs.mean(), ys.mean())
        half = (np.ptp(xs) + 1) / 2
        shape[0] -= half
        shape[16] += half * np.array([1, -1])
        shape[8] += (0, half)
        shape[36], shape[45] = shape[36] - [half, 0], shape[45] + [half, 0]
        return [shape]


def square(x: int, y: int, side: int = 40) -> np.ndarray:
    image = np.zeros((240, 320, 3), np.uint8)
    image[y:y + side, x:x + side] = 255
    return image


def test_landmarks_come_back_into_the_picture_from_a_crop_looked_at_twice() -> None:
    assert sorted(MIRROR) == list(range(68))
    mesh = FakeMesh()
    found = landmarks_of(mesh, square(100, 60), None)
    assert found[30] == pytest.approx([119.5, 79.5], abs=0.6) and mesh.asked == 3
    assert landmarks_of(mesh, square(104, 62), found)[30] == pytest.approx([123.5, 81.5], abs=0.6)
    assert landmarks_of(mesh, np.zeros((240, 320, 3), np.uint8), None) is None
    low, high = (np.array([[100, 60], [140, 100]]) @ crop_matrix(np.array([[100, 60], [140, 100]]))[:, :2].T
                 + crop_matrix(np.array([[100, 60], [140, 100]]))[:, 2])
    assert (low + high) / 2 == pytest.approx([160, 160])


def test_a_lost_face_is_found_again_where_the_boxes_say_and_no_other_one(tmp_path: Path) -> None:
    from helpers import write_clip

    pictures = [square(40, 60)] * 3 + [np.zeros((240, 320, 3), np.uint8)] * 2 + [square(200, 150)] * 3
    clip = write_clip(tmp_path / "squares.mp4", pictures, options={"crf": "1"})
    times, shapes = track(FakeMesh(), clip)
    assert np.isfinite(shapes[:, 0, 0]).tolist() == [True] * 3 + [False] * 2 + [True] * 3
    assert times == pytest.approx(np.arange(8) / 25, abs=1e-3)
    assert shapes[6, 30] == pytest.approx([219.5, 169.5], abs=1)
    boxes = np.tile(np.array([40, 60, 80, 100], np.float32), (5, 1))
    _, part = track(FakeMesh(), clip, boxes=boxes, first=1, frames=5)
    assert np.isfinite(part[:, 0, 0]).tolist() == [True, True, False, False, False]


def test_what_landmarks_may_be() -> None:
    for good in ("builtin", "face-alignment", sys.executable):
        check_landmarks(good)
    with pytest.raises(FaceError, match="neither 'builtin' nor"):
        check_landmarks("mediapip")
    assert model_name("builtin") == ("builtin", OWN_NOTE) and model_name(sys.executable) == ("mediapipe", "")


def an_evaluation(name: str = "/a/dub.mp4", **values: float | None) -> Evaluation:
    times = np.arange(40) / 25
    curves = {"time": times, "opening": words(times), "opening_truth": words(times + 0.1), "speech": times * 0,
              "sound_time": np.arange(160) / 100, "sound_level": -60 + 40 * np.sin(np.arange(160) / 9) ** 2}
    curves["opening"][5:8] = np.nan
    return Evaluation(name, None, "true.mp4", name, "builtin", OWN_NOTE, 40, 37, {"correlation": 0.7, "leak": None, **values},
                      {"silent_frames": 3}, Timing(0.0, None, 1.6, None), None, ["A note & more."], curves,
                      [Tile("Worst <frame>", 0.4, {"dub": b"\xff\xd8jpeg"})])


def test_the_report_as_json_is_stable_and_marks_built_in_landmarks() -> None:
    content = json.loads(json.dumps(an_evaluation().as_dict(), allow_nan=False))
    assert set(content) == {"format", "dubbed", "source", "truth", "audio", "landmarks", "landmarks_note", "frames", "frames_with_face",
                            "measures", "counts", "lse_c", "lse_d", "syncnet_offset_ms", "lse_note", "timing", "passed_through", "notes",
                            "curves"}
    assert content["lse_c"] is content["lse_d"] is None and content["lse_note"] == "no SyncNet file"
    assert content["landmarks_note"] == OWN_NOTE and content["curves"]["opening"][6] is None
    assert set(content["timing"]) == {"video_start_s", "audio_start_s", "video_s", "audio_s", "audio_minus_video_s", "audio_offset_ms"}


def test_the_table_and_the_page_show_every_clip() -> None:
    two = [an_evaluation(), an_evaluation("/b/dub.mp4", correlation=0.1, seam=1.4)]
    assert short_names(two) == ["a/dub.mp4", "b/dub.mp4"]
    text = table(two)
    assert OWN_NOTE in text and "0.10 !" in text and "1.40 !" in text and "A note" in text
    html = page(two)
    assert OWN_NOTE in html and "prefers-color-scheme: dark" in html and html.count("<svg") == 2
    assert "A note &amp; more." in html and "Worst &lt;frame&gt;" in html
    for outside in ("http:", "https:", "<script", "<link", "@import", "url("):
        assert outside not in html
    assert not any("nan" in part.split("</svg>")[0] for part in html.split("<svg")[1:])


def test_every_measure_tells_what_is_good_and_what_fools_it() -> None:
    assert len({measure.key for measure in MEASURES}) == len(MEASURES)
    for measure in MEASURES:
        assert "ooled by" in measure.explanation(), measure.key


def test_every_key_of_the_json_is_in_the_readme() -> None:
    readme = (Path(evaluation_package.__file__).parent / "README.md").read_text(encoding="utf-8")
    content = an_evaluation().as_dict()
    for key in [*content, *content["timing"], *(measure.key for measure in MEASURES), *REASONS]:
        assert f"`{key}`" in readme, key


def test_the_worst_is_the_farthest_from_perfect() -> None:
    moments = pick_moments({"Lip distance": np.array([1, 5, 2, np.nan]), "Sharpness": np.array([1.0, 0.99, 0.3, 1.6]),
                            "Seam": np.full(4, np.nan)})
    assert [(title.split(",")[0], frame) for title, frame in moments] == [("Lip distance", 1), ("Lip distance", 2), ("Sharpness", 2),
                                                                        ("Sharpness", 3)]


def test_wrong_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from lipsync_core.cli import main

    assert main(["evaluate", str(tmp_path / "no.mp4")]) == 1
    assert "There is no file" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "no.mp4"), "--html", str(tmp_path / "no" / "x.html")]) == 1
    assert "its folder does not exist" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "no.mp4"), "--source-start", "-1"]) == 1
    assert "can't be negative" in capsys.readouterr().err
    assert issubclass(FaceError, LipSyncError)
