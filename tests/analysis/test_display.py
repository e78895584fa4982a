"""Any image can be looked at, and one that can be already is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetpp.analysis.display import to_display
from unetpp.errors import SettingError

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def noise(size, low=0, high=256, seed=0):
    return np.random.default_rng(seed).integers(low, high, (*size, 3), np.uint8)


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
