"""Overlays: what is drawn is in its colour, what is not is left as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetpp.analysis import overlay as room
from unetpp.analysis.overlay import PALETTE, contours, draw_overlay, panel, to_display
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
    monkeypatch.setattr(room, "BLOCK", 40)
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


@settings(deadline=None)
@given(
    st.sampled_from([np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64]),
    sizes,
    st.sampled_from([None, 1, 2, 3, 4, 7]),
    st.integers(0, 99),
)
def test_any_type_and_size_can_be_shown(dtype, size, channels, seed):
    shape = size if channels is None else (*size, channels)
    image = np.random.default_rng(seed).integers(0, 2000, shape).astype(dtype)
    shown = to_display(image)
    assert shown.shape == (*size, 3)
    assert shown.dtype == np.uint8


@settings(deadline=None)
@given(st.sampled_from([np.uint8, np.uint16, np.float32]), st.integers(1, 5), st.integers(2, 250))
def test_showing_twice_is_showing_once(dtype, channels, high):
    image = np.random.default_rng(0).integers(0, high, (16, 16, channels)).astype(dtype)
    once = to_display(image)
    np.testing.assert_array_equal(to_display(once), once)


def test_bright_eight_bit_image_is_kept():
    image = noise((50, 50))
    np.testing.assert_array_equal(to_display(image), image)


def test_dark_eight_bit_image_is_stretched():
    shown = to_display(noise((50, 50), 5, 40))
    assert (shown.min(), shown.max()) == (0, 255)


def test_black_image_stays_black():
    assert to_display(np.zeros((5, 5, 3), np.uint8)).max() == 0
    assert to_display(np.full((5, 5, 3), 700, np.uint16)).max() == 0


def test_few_extreme_values_do_not_decide_the_stretch():
    image = np.random.default_rng(0).normal(100, 10, (200, 200))
    image[0, :5] = 1e6
    assert to_display(image).mean() == pytest.approx(128, abs=10)


def test_colours_are_stretched_together_and_other_channels_alone():
    image = np.random.default_rng(0).integers(0, 1000, (50, 50, 3)).astype(np.uint16) // np.array(
        [1, 2, 4], np.uint16
    )
    red, green, blue = to_display(image).reshape(-1, 3).max(axis=0)
    assert red == 255 > green > blue
    assert (to_display(image[..., :2]).reshape(-1, 3).max(axis=0) == (255, 255, 0)).all()


def test_grey_is_grey_two_are_red_and_green_more_are_the_first_three():
    image = noise((8, 8))
    assert (to_display(image[..., 0]) == image[..., :1]).all()
    assert (to_display(image[..., :2]) == image * np.array([1, 1, 0], np.uint8)).all()
    assert (to_display(np.concatenate([image, image], axis=2)) == image).all()


def test_values_that_are_not_finite_are_black():
    image = np.linspace(1, 2, 100).reshape(10, 10)
    image[0, :3] = np.nan, np.inf, -np.inf
    shown = to_display(image)
    assert shown[0, :3].max() == 0
    assert shown[-1, -1, 0] == 255
    assert to_display(np.full((2, 2, 4), np.nan)).max() == 0


@pytest.mark.parametrize(
    "image", [np.zeros(3), np.zeros((2, 2, 0)), np.zeros((2, 2), complex), np.zeros((1, 2, 3, 4))]
)
def test_arrays_that_are_no_images_are_refused(image):
    with pytest.raises(SettingError, match="is no image"):
        to_display(image)


def test_panel_shows_every_image_from_left_to_right():
    images = [np.full((40, 50, 3), value, np.uint8) for value in (60, 120, 180)]
    sheet = panel([("image", images[0]), ("truth", images[1]), ("prediction", images[2])])
    middle = sheet[sheet.shape[0] - 25, :, 0]
    assert [int((middle == value).sum()) for value in (60, 120, 180)] == [50, 50, 50]
    assert (np.diff([np.flatnonzero(middle == value)[0] for value in (60, 120, 180)]) > 50).all()
    assert (sheet.dtype, sheet.shape[2]) == (np.uint8, 3)


def test_panel_has_titles():
    columns = [("", np.zeros((40, 80, 3), np.uint8))]
    assert (panel(columns) == 255).sum() == 0
    assert (panel([("truth", columns[0][1])]) > 200).sum() > 30


def test_panel_takes_images_of_different_sizes():
    small, large = noise((10, 20)), noise((90, 70))
    sheet = panel([("a", small), ("a long title above a small image", small), ("b", large)])
    assert sheet.shape[0] >= 90


@pytest.mark.parametrize("count", [2, 3, 40])
def test_legend_has_every_class_but_the_background(count):
    columns = [("image", np.zeros((40, 200, 3), np.uint8))]
    sheet = panel(columns, classes=[f"class {index}" for index in range(count)])
    for colour in PALETTE[1 : min(count, len(PALETTE))]:
        assert (sheet == colour).all(axis=2).sum() >= 100
    assert sheet.shape[0] > panel(columns).shape[0]


def test_long_class_names_widen_the_panel():
    columns = [("", np.zeros((8, 8, 3), np.uint8))]
    assert panel(columns, classes=("", "spirochaete " * 5)).shape[1] > 250


@pytest.mark.parametrize("columns", [[], [("a", np.zeros((4, 4), np.uint8))], [("a", np.zeros((4, 4, 3)))]])
def test_panel_refuses_what_it_cannot_show(columns):
    with pytest.raises(SettingError):
        panel(columns)
