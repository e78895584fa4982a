"""Splitting keeps to its own class, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from unetpp.analysis import filaments, thinning
from unetpp.analysis import separate as room
from unetpp.analysis.filaments import near_pairs
from unetpp.analysis.separate import separate


@given(height=st.integers(1, 6), width=st.integers(1, 12))
def test_a_box_of_any_size_is_one_object_of_its_own(height, width):
    labels = np.zeros((20, 20), np.uint8)
    labels[2 : 2 + height, 3 : 3 + width] = 1
    labels[12:17, 4:9] = 2
    numbers, classes = separate(labels, split=[1])
    assert classes.tolist() == [0, 1, 2]
    assert (classes[numbers] == labels).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_network_of_one_channel_splits_like_one_of_two(channels):
    labels = np.zeros((12, 20), np.uint8)
    labels[2:10, 2:10] = labels[2:10, 9:17] = 1
    share = np.where(np.arange(20) == 9, 0.55, 0.99) * labels
    both = np.stack([1 - share, share], -1)[..., -channels:]
    numbers, _ = separate(labels, split=[1], probabilities=both)
    assert numbers.max() == 2


def test_regions_without_any_probability_are_objects_still():
    labels = np.zeros((12, 30), np.uint8)
    labels[2:8, 2:8] = labels[2:8, 12:18] = labels[2:8, 22:28] = 1
    numbers, classes = separate(labels, split=[1], probabilities=np.zeros((12, 30, 2)))
    assert classes.tolist() == [0, 1, 1, 1]
    assert numbers[4, [4, 14, 24]].tolist() == [1, 2, 3]


@given(seed=st.integers(0, 100))
def test_ends_are_compared_with_those_within_reach_alone(seed):
    rng = np.random.default_rng(seed)
    places, reach = rng.integers(0, 30, (25, 2)), rng.uniform(0, 9, 25)
    distance = np.hypot(*(places[:, None] - places[None]).T)
    expected = np.argwhere(np.triu(distance <= np.maximum(reach, reach[:, None]), 1))
    assert np.array_equal(np.stack(near_pairs(places, reach), 1), expected)


def test_a_clump_changes_nothing_about_filaments_elsewhere():
    labels = np.zeros((120, 200), np.uint8)
    labels[10:13, 10:190] = labels[5:60, 100:103] = labels[40:43, 20:60] = labels[40:43, 63:95] = 1
    alone, _ = separate(labels, thin=[1])
    labels[70:115, 70:115] = 1
    beside, _ = separate(labels, thin=[1])
    assert np.array_equal(alone[:65], beside[:65])
    assert alone.max() == 3


@pytest.mark.parametrize("cost", [0, 10**9], ids=["region by region", "all at a time"])
@given(seed=st.integers(0, 100), level=st.floats(-0.2, 0.2))
def test_distances_within_a_mask_are_those_to_the_nearest_pixel_outside(cost, seed, level):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(40, 60)), 2) > level
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    where = np.argwhere(mask & (rng.random(mask.shape) < 0.1))
    assert np.array_equal(thinning.depths(mask, where), expected[tuple(where.T)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "COST", cost)
        assert np.array_equal(
            room.region_depths(room.label(mask, connectivity=2)), expected.astype(np.float32)
        )


@given(seed=st.integers(0, 100))
def test_what_surrounds_a_pixel_is_its_eight_neighbours_and_itself(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 9, (7, 8))
    places = np.argwhere(rng.random(image.shape) < 0.5)
    found = filaments.surroundings(image, places)
    for (row, column), values in zip(places, found.T, strict=True):
        near = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].ravel()
        assert sorted(values[values > 0]) == sorted(near[near > 0])


@pytest.mark.parametrize(("radius", "width"), [(8, 2), (8, 4), (10, 3), (10, 5), (14, 6), (20, 8)])
@pytest.mark.parametrize("channels", [0, 2])
def test_a_ring_is_one_object_and_its_hole_stays_empty(radius, width, channels):
    y, x = np.mgrid[:60, :60] - np.array([29.3, 30.7])[:, None, None]
    away = np.hypot(y, x)
    labels = ((away <= radius) & (away > radius - width)).astype(np.uint8)
    chances = np.stack([1 - 0.9 * labels, 0.9 * labels], -1) if channels else None
    numbers, classes = separate(labels, split=[1], probabilities=chances)
    assert classes.tolist() == [0, 1]
    assert np.array_equal(numbers, labels)


def chain(count, radius=12, shape=(240, 240)):
    """Discs in a closed chain, their middles, and the labels of both."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = radius / np.sin(np.pi / count) * 0.98
    angles = 2 * np.pi * np.arange(count) / count
    places = shape[0] / 2 + away * np.stack([np.sin(angles), np.cos(angles)], 1)
    labels = np.zeros(shape, np.uint8)
    for row, column in places:
        labels[np.hypot(y - row, x - column) <= radius] = 1
    return labels, [(round(row), round(column)) for row, column in places]


@pytest.mark.parametrize("count", [3, 4, 6])
def test_discs_in_a_closed_chain_are_as_many_as_there_are(count):
    labels, places = chain(count)
    numbers, _ = separate(labels, split=[1])
    assert len({int(numbers[place]) for place in places}) == count


@pytest.mark.parametrize("thickness", [3, 12])
def test_a_disc_inside_a_ring_is_an_object_of_its_own(thickness):
    y, x = np.mgrid[:80, :80] - 40
    away = np.hypot(y, x)
    labels = ((away <= 8) | ((away > 26 - thickness) & (away <= 26))).astype(np.uint8)
    numbers, _ = separate(labels, split=[1])
    assert numbers[40, 40] not in (0, numbers[40, 40 + 25])


def test_what_lies_in_a_closed_chain_is_not_one_with_it():
    labels, places = chain(14)
    y, x = np.mgrid[:240, :240] - 120
    labels[np.hypot(y, x) <= 12] = 1
    numbers, _ = separate(labels, split=[1])
    assert len({int(numbers[place]) for place in (*places, (120, 120))}) == 15


def test_a_clump_comes_apart_alike_with_and_without_objects_far_away():
    rng = np.random.default_rng(0)
    for _ in range(60):
        field = ndimage.gaussian_filter(rng.normal(size=(40, 40)), 2.5)
        blobs, _ = ndimage.label(field > np.quantile(field, 0.75))
        clump = np.pad(blobs == np.bincount(blobs.ravel())[1:].argmax() + 1, 4)
        with_specks = clump.copy()
        with_specks[[0, -1, 0, -1], [0, 0, -1, -1]] = True
        alone, both = (separate(mask.astype(np.uint8), split=[1])[0] for mask in (clump, with_specks))
        assert len(np.unique(both[clump])) == len(np.unique(alone[clump]))
