"""Crops, augmentation and schedule do what a run needs of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetpp.data.resample import resize_image, resize_labels
from unetpp.data.symmetry import SYMMETRIES, turn
from unetpp.training import augment
from unetpp.training.augment import relight, take, warp
from unetpp.training.patches import Picture, Sampler, inside
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
    image, found = Sampler([picture(mask)], 32, strength=0)(np.random.default_rng(seed))
    np.testing.assert_array_equal(image[..., 0], found)


@given(seed=st.integers(0, 500), strength=st.floats(0, 2))
def test_a_mask_goes_exactly_where_its_image_goes(seed, strength):
    mask = np.kron(np.random.default_rng(seed).integers(0, 3, (12, 9)), np.ones((6, 6), int)).astype(np.uint8)
    places = warp(32, np.random.default_rng(seed), strength) + 30
    found = take(mask, places, blend=False)
    assert np.isin(found, [0, 1, 2]).all()
    # Each class as an image of its own, interpolated: where a class has all the weight, the mask is that class.
    for index in range(3):
        share = take((mask == index).astype(np.float32), places, blend=True)
        assert (found[share > 0.999] == index).all()
        assert (found[share < 0.001] != index).all()


@pytest.mark.parametrize("alone", ["symmetry", "zoom", "rotation", "bend"])
@given(seed=st.integers(0, 500))
def test_each_transform_keeps_masks_exact(alone, seed):
    """Every pixel is the one of the mask that lies nearest, found here without OpenCV; none is blended."""
    shares = {"ZOOM": 1.0, "TURNED": 0.0, "BENT": 0.0}
    shares |= {"symmetry": {}, "zoom": {"ZOOM": 1.33}, "rotation": {"TURNED": 1.0}, "bend": {"BENT": 1.0}}[
        alone
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shares.items():
            patch.setattr(augment, name, value)
        moved = warp(32, np.random.default_rng(seed))
    mask = np.random.default_rng(seed).choice([0, 7, 200], (96, 96)).astype(np.uint8)
    places = moved + 47.5
    found = take(mask, places, blend=False)
    nearest = np.rint(places).astype(int)
    # OpenCV counts places in 32nds of a pixel, so that halves may go either way.
    clear = (np.abs(places - np.floor(places) - 0.5) > 1 / 16).all(0)
    np.testing.assert_array_equal(found[clear], mask[tuple(nearest)][clear])
    assert np.isin(found, [0, 7, 200]).all()
    assert clear.any()
    assert is_only(alone, moved)


def is_only(transform, places):
    """Whether places of a crop's pixels, (2, n, n), are moved by nothing but one transform."""
    down, right = places[:, -1, 0] - places[:, 0, 0], places[:, 0, -1] - places[:, 0, 0]
    lengths = np.hypot(*down) / 31, np.hypot(*right) / 31
    straight = np.abs(np.diff(places, 2, axis=1)).max() < 1e-9
    along_axes = min(abs(down)) < 1e-9
    return {
        "symmetry": straight and along_axes and np.allclose(lengths, 1),
        "zoom": straight and along_axes and np.ptp(lengths) < 1e-9 and not np.allclose(lengths, 1),
        "rotation": straight and not along_axes and np.allclose(lengths, 1) and abs(down @ right) < 1e-9,
        "bend": not straight,
    }[transform]


def test_a_picture_is_drawn_as_often_as_its_pixels_are_many():
    large, small = picture(np.zeros((96, 96), np.uint8)), picture(np.ones((48, 48), np.uint8))
    sampler, rng = Sampler([large, small], 32), np.random.default_rng(0)
    share = np.mean([sampler.all.draw(rng) is large for _ in range(4000)])
    assert abs(share - 4 / 5) < 0.03


def test_without_strength_a_crop_is_one_of_eight_copies():
    image = np.random.default_rng(1).random((16, 16, 3)).astype(np.float32)
    seen = set()
    for seed in range(60):
        places = warp(16, np.random.default_rng(seed), 0) + 7.5
        found = take(image, places, blend=True)
        seen |= {k for k in range(SYMMETRIES) if np.array_equal(found, turn(image, k))}
        assert any(np.array_equal(found, turn(image, k)) for k in range(SYMMETRIES))
    assert seen == set(range(SYMMETRIES))


def test_turning_and_bending_move_as_far_as_they_say():
    moved = [warp(101, np.random.default_rng(seed)) for seed in range(200)]
    radius = np.array([np.hypot(*places[:, 0, 0]) for places in moved]) / np.hypot(50, 50)
    assert 0.6 < radius.min() < 0.8
    assert 1.25 < radius.max() < 1.6
    # The centre stays where it is, but for a bend.
    assert np.median([np.hypot(*places[:, 50, 50]) for places in moved]) < 1e-9
    assert max(np.hypot(*places[:, 50, 50]) for places in moved) < 0.06 * 101


def test_beyond_its_edge_an_image_is_mirrored():
    line = np.arange(5.0)[None]
    places = np.stack([np.zeros((1, 9)), np.arange(-2.0, 7)[None]])
    np.testing.assert_array_equal(take(line, places, blend=True), [[2, 1, 0, 1, 2, 3, 4, 3, 2]])


@given(
    centre=st.tuples(st.floats(-50, 90), st.floats(-50, 90)),
    size=st.integers(1, 80),
    length=st.integers(1, 80),
)
def test_a_crop_lies_in_the_image_or_about_its_middle(centre, size, length):
    starts = inside(centre, (length, length), size) - (size - 1) / 2
    assert (starts == np.round(starts)).all()
    if size <= length:
        assert (starts >= 0).all()
        assert (starts + size <= length).all()
    else:
        np.testing.assert_allclose(starts + size / 2, length / 2, atol=0.5)


@given(seed=st.integers(0, 1000), strength=st.floats(0, 3))
def test_crops_are_repeatable(seed, strength):
    sampler = Sampler([rare(k) for k in range(3)], 32, strength=strength)
    first, second = (sampler(np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert np.isfinite(first[0]).all()
    assert first[0].dtype == np.float32


def test_light_is_left_alone_without_strength_and_changes_with_it():
    image = np.random.default_rng(2).random((16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(relight(image, np.random.default_rng(0), 0), image, atol=1e-6)
    other = [np.abs(relight(image, np.random.default_rng(k)) - image).mean() for k in range(50)]
    assert np.mean(other) > 0.05


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
    # A quarter took ten minutes, nearly all of them in an earlier sitting.
    assert Budget(steps=40, taken=10, spent=600.0).left == pytest.approx(1800, abs=10)
    earlier = Budget(seconds=100.0, spent=60.0, reserve=20.0)
    assert earlier.share == pytest.approx(0.75, abs=0.01)
    assert earlier.left == pytest.approx(40, abs=1)
