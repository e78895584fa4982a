"""Overlays: what is drawn is in its colour, what is not is left as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from unetpp.analysis import display
from unetpp.analysis.display import to_display
from unetpp.analysis.overlay import PALETTE, contours, draw_overlay, shrink_labels
from unetpp.errors import SettingError

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
label_images = hnp.arrays(np.uint8, sizes, elements=st.integers(0, 4))


def noise(size, low=0, high=256, seed=0):
    return np.random.default_rng(seed).integers(low, high, (*size, 3), np.uint8)


def test_palette_is_black_red_yellow_and_then_distinct():
    assert len(PALETTE) >= 32
    assert PALETTE[:3] == ((0, 0, 0), (230, 57, 70), (255, 214, 10))
    colours = np.array(PALETTE)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2) + 999 * np.eye(len(colours))
    assert apart.min() > 25
    assert np.all((colours >= 0) & (colours <= 255))


@settings(deadline=None)
@given(label_images, st.integers(0, 99))
def test_background_is_untouched(labels, seed):
    image = noise(labels.shape, seed=seed)
    drawn = draw_overlay(image, labels)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[labels == 0], to_display(image)[labels == 0])


@settings(deadline=None)
@given(label_images)
def test_contours_are_in_their_class_colour(labels):
    drawn = draw_overlay(noise(labels.shape), labels)
    edges = contours(labels) & (labels > 0)
    np.testing.assert_array_equal(drawn[edges], np.array(PALETTE, np.uint8)[labels[edges]])


@settings(deadline=None)
@given(label_images)
def test_contours_agree_with_scikit_image(labels):
    from skimage.segmentation import find_boundaries

    inner = find_boundaries(np.pad(labels, 1, mode="edge"), connectivity=1, mode="inner")[1:-1, 1:-1]
    np.testing.assert_array_equal(contours(labels) & (labels > 0), inner)


def test_filling_lets_the_image_shine_through():
    image, labels = np.full((20, 20, 3), 120, np.uint8), np.zeros((20, 20), int)
    labels[4:16, 4:16] = 1
    red, green, blue = draw_overlay(image, labels)[10, 10].astype(int)
    assert 120 < red < PALETTE[1][0]
    assert PALETTE[1][1] < green < 120
    assert PALETTE[1][2] < blue < 120


@pytest.mark.parametrize("value", [0, 120, 255])
def test_line_of_one_pixel_is_drawn_in_full(value):
    image, labels = np.full((30, 30), value, np.uint8), np.zeros((30, 30), np.uint8)
    labels[np.arange(30), np.arange(30)] = 2
    assert (draw_overlay(image, labels)[labels == 2] == PALETTE[2]).all()


def test_image_and_labels_are_not_changed():
    image, labels = noise((9, 9)), np.ones((9, 9), int)
    before = image.copy(), labels.copy()
    draw_overlay(image, labels)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_blocks_of_rows_leave_no_seams(monkeypatch):
    image, labels = noise((23, 17)), np.random.default_rng(1).integers(0, 3, (23, 17))
    whole = draw_overlay(image.astype(np.float32), labels)
    monkeypatch.setattr(display, "BLOCK", 40)
    np.testing.assert_array_equal(draw_overlay(image.astype(np.float32), labels), whole)


def test_labels_beyond_the_palette_never_look_like_background():
    labels = np.arange(1, 401).reshape(20, 20)
    drawn = draw_overlay(np.zeros((20, 20), np.uint8), labels)
    assert (drawn.reshape(-1, 3) == np.resize(PALETTE[1:], (400, 3))).all()


def test_own_palette_is_used():
    drawn = draw_overlay(np.zeros((1, 2), np.uint8), np.array([[0, 1]]), palette=[(0, 0, 0), (1, 2, 3)])
    assert drawn.tolist() == [[[0, 0, 0], [1, 2, 3]]]


@pytest.mark.parametrize(
    ("labels", "palette"),
    [
        (np.zeros((3, 4), int), PALETTE),
        (np.zeros((4, 4), float), PALETTE),
        (np.full((4, 4), -1), PALETTE),
        (np.zeros((4, 4), int), [(0, 0, 0)]),
    ],
)
def test_labels_and_palettes_that_cannot_be_meant_are_refused(labels, palette):
    with pytest.raises(SettingError):
        draw_overlay(np.zeros((4, 4, 3), np.uint8), labels, palette)


def test_contours_may_be_of_other_regions_than_the_colours():
    labels, numbers = np.ones((3, 6), int), np.array([[1, 1, 1, 2, 2, 2]] * 3)
    drawn = draw_overlay(np.zeros((3, 6), np.uint8), labels, outlined=numbers)
    assert (drawn[:, 2:4] == PALETTE[1]).all()
    assert (drawn[:, [0, 1, 4, 5]] < PALETTE[1]).all()
    with pytest.raises(SettingError, match="do not fit"):
        draw_overlay(np.zeros((3, 6), np.uint8), labels, outlined=numbers[:2])


@given(label_images)
def test_labels_that_are_not_shrunk_stay(labels):
    np.testing.assert_array_equal(shrink_labels(labels, 1), labels)


@pytest.mark.parametrize("degrees", range(0, 180, 20))
@pytest.mark.parametrize("step", [2, 3, 8])
def test_a_filament_stays_whole_when_it_is_shrunk(degrees, step):
    y, x = np.mgrid[:120, :120] - 59.5
    angle = np.deg2rad(degrees)
    cell = (np.hypot(y, x) < 30).astype(np.uint8)
    rod = (np.abs(y * np.cos(angle) - x * np.sin(angle)) < 1.5) & (np.hypot(y, x) < 50)
    small = shrink_labels(np.where(rod, np.uint8(2), cell), step)
    assert small.shape == (-(-120 // step),) * 2
    thin = small == 2
    assert ndimage.label(thin, np.ones((3, 3)))[1] == 1
    assert np.hypot(*(np.ptp(axis) for axis in np.nonzero(thin))) * step > 85
    assert (small == 1).any()


@given(label_images, st.integers(1, 5))
def test_shrinking_invents_nothing(labels, step):
    small = shrink_labels(labels, step)
    for (y, x), label in np.ndenumerate(small):
        block = labels[y * step : (y + 1) * step, x * step : (x + 1) * step]
        assert label == 0 or label in block
