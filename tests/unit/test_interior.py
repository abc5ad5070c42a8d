"""The learned inner mouth: lit and coloured like the face, fixed to the skull, smooth in the shape, quick."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lipsync_core.errors import CheckpointError
from lipsync_core.faces.pose import _TEMPLATE
from lipsync_core.generators.morph.geometry import shape_lips, study_person
from lipsync_core.generators.morph.interior import make_reference, paint
from lipsync_core.generators.morph.interior_net import (
    SEAM_ROW,
    SIZE,
    UNIT,
    WEIGHTS_FILE,
    Colours,
    describe,
    draw,
    learned,
    light_of,
    load_interior,
    window_of,
)
from lipsync_core.generators.morph.opening import Opening, opening_of
from lipsync_core.inference import WEIGHTS

LIGHT = Colours(np.array([150, 95, 90], np.float32), np.array([196, 150, 130], np.float32))


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    """The shut lips (20,) of a mean face, canonical."""
    return study_person(_TEMPLATE[None, :, :2] * 400 + 500, np.zeros(1), np.zeros(1, int)).base[0]


def seam_of(base: np.ndarray) -> float:
    return float((base[14].imag + base[18].imag) / 2)


def mouth(base: np.ndarray, gap: float, width: float = 0.0, colours: Colours = LIGHT) -> tuple[np.ndarray, np.ndarray, Opening]:
    """The network's picture, where it is inside the lips, and the opening."""
    opening = opening_of(shape_lips(base, gap, width, 0))
    window = window_of(opening, seam_of(base))
    return (draw(opening, seam_of(base), colours, window), describe(opening, seam_of(base), colours, window)[0][2] > 0.5, opening)


def test_the_weights_are_small_and_have_a_card() -> None:
    assert (WEIGHTS / WEIGHTS_FILE).stat().st_size < 1_000_000
    card = (WEIGHTS / WEIGHTS_FILE).with_suffix(".md").read_text(encoding="utf-8")
    assert "Licence" in card and "GRID" in card and "CC BY 4.0" in card and "python -m lipsync_core.training.interior" in card


def test_a_missing_file_is_explained(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        load_interior(tmp_path / "nothing.safetensors")


def test_teeth_above_and_dark_below(base: np.ndarray) -> None:
    """Just under the upper lip something bright, somewhere below it something much darker; never one grey slab."""
    for gap in (0.16, 0.18, 0.2):
        picture, inside, _ = mouth(base, gap)
        column = picture[:, SIZE[0] // 2 - 8:SIZE[0] // 2 + 8].mean((1, 2))
        rows = np.flatnonzero(inside[:, SIZE[0] // 2])
        upper = column[rows[0]:rows[0] + max(3, len(rows) // 2)].max()
        lower = column[rows[len(rows) // 3]:rows[-1]].min()
        assert upper > 0.9 * LIGHT.lips.mean() and lower < 0.6 * upper, gap
        assert picture[inside].std() > 15


def test_upper_teeth_stay_where_the_skull_is(base: np.ndarray) -> None:
    """The lower edge of the upper incisors moves little while the lip below it moves a lot."""
    edges = []
    for gap in (0.14, 0.16, 0.18, 0.2):
        picture, inside, _ = mouth(base, gap)
        column = picture[:, SIZE[0] // 2 - 6:SIZE[0] // 2 + 6].mean((1, 2))
        rows = np.flatnonzero(inside[:, SIZE[0] // 2])
        top = rows[0] + int(np.argmax(column[rows[0]:SEAM_ROW + 8]))
        steps = np.diff(column[top:rows[-1] - 4])
        edges.append(top + int(np.argmin(steps)))
    assert np.ptp(edges) * UNIT < 0.03, edges


def test_the_light_of_the_frame_lights_the_mouth(base: np.ndarray) -> None:
    bright, inside, _ = mouth(base, 0.13)
    dim = mouth(base, 0.13, colours=Colours(LIGHT.lips * 0.5, LIGHT.skin * 0.5))[0]
    assert 0.35 < dim[inside].mean() / bright[inside].mean() < 0.75
    # A black and white picture has a black and white mouth, and paint on the lips is no light on the teeth.
    grey = mouth(base, 0.13, colours=Colours(np.full(3, 110), np.full(3, 160)))[0][inside]
    assert np.ptp(grey.mean(0)) < 12
    painted, ratio = Colours(np.array([190, 30, 60], np.float32), LIGHT.skin), []
    for colours in (LIGHT, painted):
        picture, inside, _ = mouth(base, 0.13, colours=colours)
        teeth = picture[inside][np.argsort(picture[inside].mean(1))[-150:]].mean(0)
        ratio.append(teeth[0] / teeth[1])
    assert abs(ratio[1] / ratio[0] - 1) < 0.2


def test_the_same_shape_gives_the_same_pixels_and_a_near_one_near_pixels(base: np.ndarray) -> None:
    first, inside, _ = mouth(base, 0.12)
    assert np.array_equal(first, mouth(base, 0.12)[0])
    for other in (mouth(base, 0.122), mouth(base, 0.12, 0.03)):
        both = inside & other[1]
        assert np.abs(first - other[0])[both].mean() < 3 and np.abs(first - other[0])[both].max() < 40


@pytest.mark.parametrize("part", [(0, 0, 112, 64), (16, 2, 96, 34), (40, 50, 112, 64), (54, 20, 56, 22)])
def test_a_part_is_what_the_whole_shows_there(base: np.ndarray, part: tuple[int, int, int, int]) -> None:
    opening = opening_of(shape_lips(base, 0.14, 0, 0))
    told = opening, seam_of(base), LIGHT, window_of(opening, seam_of(base))
    x0, y0, x1, y1 = part
    assert np.allclose(draw(*told, part=part), draw(*told)[y0:y1, x0:x1], atol=0.05)


def test_tiny_and_huge_mouths_stay_in_the_window(base: np.ndarray) -> None:
    for gap, width in ((0.001, 0), (0.02, -1), (0.3, 0), (0.48, 1)):
        picture, inside, opening = mouth(base, gap, width)
        assert np.isfinite(picture).all() and 0 <= picture.min() and picture.max() <= 255
        column, row = window_of(opening, seam_of(base)).place(opening.x, opening.bottom)
        assert 0 <= column.min() and column.max() <= SIZE[0] - 1 and row.max() <= SIZE[1] - 1
    assert light_of(np.zeros(3)) > 0


def test_small_faces_are_filtered_and_large_ones_smooth(base: np.ndarray) -> None:
    opening = opening_of(shape_lips(base, 0.14, 0, 0))
    sums = []
    for scale in (60, 300, 1200):
        x = np.arange(-0.2, 0.2, 1 / scale, dtype=np.float32)[None, :] + np.float32(opening.centre)
        y = np.arange(opening.top.min(), opening.bottom.max(), 1 / scale, dtype=np.float32)[:, None]
        x, y = np.broadcast_arrays(x, y)
        picture = learned(x, y, opening, seam_of(base), LIGHT)
        inside = (y > np.interp(x, opening.x, opening.top)) & (y < np.interp(x, opening.x, opening.bottom))
        assert picture.shape == (*x.shape, 3) and picture.dtype == np.float32
        sums.append(picture[inside].mean())
    assert np.ptp(sums) < 12


def test_a_persons_own_picture_is_painted_over_either_interior_alike(base: np.ndarray) -> None:
    lips = shape_lips(base, 0.16, 0, 0)
    a, b = 200 + 0j, 160 + 20j
    own = np.random.default_rng(0).uniform(0, 255, (240, 320, 3)).astype(np.float32)
    reference = make_reference(own, a, b, lips)
    target = opening_of(shape_lips(base, 0.1, 0, 0))
    x = np.linspace(target.centre - 0.08, target.centre + 0.08, 40)
    y = np.linspace(target.top.min() + 0.01, target.top.min() + 0.04, 12)
    points = [one.astype(np.float32) for one in np.meshgrid(x, y)]
    pictures = [paint(*points, target, [(reference, 1.0)], LIGHT, seam_of(base), learn=learn) for learn in (True, False)]
    assert np.abs(pictures[0] - pictures[1]).max() < 1.0


def test_edges_are_found_between_and_beyond_the_places_that_are_known(base: np.ndarray) -> None:
    opening = opening_of(shape_lips(base, 0.1, 0, 0))
    x = np.linspace(opening.x[0] - 0.1, opening.x[-1] + 0.1, 200).astype(np.float32).reshape(10, 20)
    for found, curve in zip(opening.edges(x), (opening.top, opening.bottom)):
        assert found.dtype == np.float32 and np.abs(found - np.interp(x, opening.x, curve)).max() < 1e-5
    point = opening_of(np.zeros(20, complex))                          # landmarks that all lie in one place
    assert all((edge == 0).all() for edge in point.edges(x))


def test_it_costs_little(base: np.ndarray) -> None:
    """About 2.5 ms on a core that is free; bounded loosely, because a test machine isn't."""
    mouth(base, 0.1)
    took = []
    for i in range(20):
        start = time.perf_counter()
        mouth(base, 0.1 + 0.001 * i)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02
