"""What is kept of every frame of a long clip."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from lipsync_core.audio.store import Store
from lipsync_core.faces import smoothing
from lipsync_core.faces.pose import mean_face
from lipsync_core.generators.morph import canonical, geometry
from lipsync_core.mapped import let_go
from lipsync_core.rows import BLOCK, Rows


def test_rows_are_a_list_that_grows_and_forgets() -> None:
    rng = np.random.default_rng(0)
    whole, rows = rng.normal(size=(3 * BLOCK + 5, 4, 2)).astype(np.float32), Rows((4, 2))
    assert len(rows) == 0 and rows.array().shape == (0, 4, 2)
    rows.append(whole[0])
    rows.extend(whole[1:])
    assert len(rows) == len(whole) and np.array_equal(rows.array(), whole)
    rows.drop(BLOCK + 3)
    rows.append(whole[7])
    assert np.array_equal(rows.array(), [*whole[BLOCK + 3:], whole[7]]) and np.array_equal(rows[-1], whole[7])
    assert np.array_equal(rows[0], whole[BLOCK + 3]) and np.array_equal(rows[-2], whole[-1])
    with pytest.raises(IndexError):
        rows[len(rows)]
    rows.drop(10**6)
    assert len(rows) == 0


def test_long_recordings_lie_in_a_file_unless_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(size=50_000).astype(np.float32)

    def stored(**more: float) -> np.ndarray:
        store = Store(**more)
        for part in np.split(samples, [0, 100, 20_000, 40_001]):
            store.add(part)
        return store.array()

    assert type(stored()) is np.ndarray and np.array_equal(stored(), samples)
    assert isinstance(stored(long=1.0), np.memmap) and np.array_equal(stored(long=1.0), samples)

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert type(stored(long=1.0)) is np.ndarray and np.array_equal(stored(long=1.0), samples)
    assert len(Store().array()) == 0


def test_a_long_track_is_worked_on_in_blocks_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smoothing and a person's mouth, in blocks of 64 rows: as in one."""
    rng, count = np.random.default_rng(1), 400
    times = np.arange(count) / 25
    pose = np.stack([20 * np.sin(times), 8 * np.sin(0.7 * times), np.zeros(count)], 1)
    marks = 100 * mean_face(pose) + 300 + rng.normal(0, 0.4, (count, 68, 2))
    marks[:, 48:68, 1] += 3 * np.sin(9 * times)[:, None]
    whole = smoothing.smooth_landmarks(marks, times), geometry.study_person(marks, times, np.arange(count))
    monkeypatch.setattr(smoothing, "ROWS", 64)
    parts = smoothing.smooth_landmarks(marks, times)
    # The template comes from fewer rows: a hundredth of what is taken away as jitter.
    assert np.abs(whole[0] - parts).max() < 0.02 * np.abs(whole[0] - marks).max()
    monkeypatch.setattr(geometry, "ROWS", 64)
    mouth = geometry.study_person(marks, times, np.arange(count))
    assert np.allclose(whole[1].base, mouth.base, atol=1e-9) and np.allclose(whole[1].chin, mouth.chin, atol=1e-9)
    assert whole[1].range == mouth.range and canonical.ROWS > count


def test_memory_of_a_mapped_array_is_given_back_and_its_numbers_stay() -> None:
    samples = np.random.default_rng(2).normal(size=20_000).astype(np.float32)
    store = Store(long=0.5)
    store.add(samples)
    mapped = store.array()
    for array in (mapped, np.asarray(mapped)[100:], samples):
        let_go(array)
    assert np.array_equal(mapped, samples)
