"""Crops, augmentation and schedule do what a run needs of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetpp.data.resample import resize_image, resize_labels
from unetpp.training.augment import augment
from unetpp.training.patches import Picture, Sampler, crop
from unetpp.training.schedule import Budget, learning_rate


def picture(mask):
    image = np.repeat(mask[..., None].astype(np.float32), 3, -1)
    return Picture(image, mask, tuple(np.argwhere(mask == index) for index in (1, 2)))


def rare(seed=0):
    """A large picture with one small object of each class."""
    mask = np.zeros((300, 400), np.uint8)
    top, left = np.random.default_rng(seed).integers(50, 200, 2)
    mask[top : top + 4, left : left + 4], mask[top + 40 : top + 44, left + 90 : left + 94] = 1, 2
    return picture(mask)


def test_a_set_share_of_crops_shows_a_rare_class():
    sampler = Sampler([rare(k) for k in range(3)], 64, focus=0.8)
    rng = np.random.default_rng(0)
    shown = [np.isin([1, 2], sampler(rng)[1]) for _ in range(400)]
    assert 0.7 < np.mean([any(row) for row in shown]) < 0.9
    assert abs(np.mean(shown, 0)[0] - np.mean(shown, 0)[1]) < 0.12


def test_crops_without_any_object_are_drawn_too():
    sampler = Sampler([picture(np.zeros((70, 70), np.uint8))], 64)
    image, mask = sampler(np.random.default_rng(0))
    assert image.shape == (64, 64, 3)
    assert mask.max() == 0


@given(seed=st.integers(0, 500), height=st.integers(20, 90), width=st.integers(20, 90))
def test_image_and_mask_of_a_crop_lie_on_each_other(seed, height, width):
    mask = np.zeros((height, width), np.uint8)
    mask[5:15, 4:16] = 1
    image, found = Sampler([picture(mask)], 32, scales=(1.0, 1.0))(np.random.default_rng(seed))
    np.testing.assert_array_equal(image[..., 0], found)


@given(corner=st.tuples(st.integers(-50, 90), st.integers(-50, 90)), side=st.integers(1, 150))
def test_a_crop_has_its_size_and_only_pixels_of_the_image(corner, side):
    image = np.arange(40 * 60).reshape(40, 60)
    found = crop(image, corner, side)
    assert found.shape == (side, side)
    assert np.isin(found, image).all()


@given(seed=st.integers(0, 1000))
def test_augmentation_is_repeatable_and_never_blends_a_mask(seed):
    mask = np.random.default_rng(1).choice([0, 2], (16, 16)).astype(np.uint8)
    image = np.random.default_rng(2).random((16, 16, 3)).astype(np.float32)
    first, second = (augment(image, mask, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert np.isfinite(first[0]).all()
    np.testing.assert_array_equal(np.bincount(first[1].ravel()), np.bincount(mask.ravel()))


@given(height=st.integers(1, 60), width=st.integers(1, 60))
def test_labels_are_never_blended_by_resizing(height, width):
    labels = np.random.default_rng(0).choice([0, 7, 200], (31, 22)).astype(np.uint8)
    found = resize_labels(labels, (height, width))
    assert found.shape == (height, width)
    assert np.isin(found, [0, 7, 200]).all()


def test_resizing_keeps_a_constant_and_averages_when_it_shrinks():
    assert np.ptp(resize_image(np.full((30, 40, 2), 3.5), (11, 77))) < 1e-5
    fine = np.indices((64, 64)).sum(0) % 2
    np.testing.assert_allclose(resize_image(fine[..., None], (8, 8)), 0.5, atol=0.05)


@given(share=st.floats(0, 1))
def test_the_learning_rate_stays_between_its_floor_and_its_peak(share):
    assert 0.01 <= learning_rate(share, 1.0) <= 1.0


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(k / 100, 1.0) for k in range(101)]
    peak = rates.index(max(rates))
    assert peak == 3
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_a_budget_counts_steps_or_seconds():
    budget = Budget(steps=40, taken=10)
    assert budget.share == pytest.approx(0.25)
    earlier = Budget(seconds=100.0, spent=60.0, reserve=20.0)
    assert earlier.share == pytest.approx(0.75, abs=0.01)
    assert earlier.left == pytest.approx(40, abs=1)
