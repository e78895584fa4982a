"""Numbers of objects, and seams: where they touch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from unetpp.data.images import write_png
from unetpp.data.instances import LEAST, MOST, SHARE, read_instances, seams, with_seams
from unetpp.errors import MaskError


def by_pairs(numbers):
    """`seams` by the distance of every pixel to every other."""
    found = np.zeros(numbers.shape, bool)
    everywhere = np.argwhere(np.pad(numbers >= 0, 1, constant_values=True)) - 1
    padded = np.pad(numbers, 1)
    for number in set(numbers[numbers > 0].tolist()):
        own, others = np.argwhere(numbers == number), np.argwhere((numbers > 0) & (numbers != number))
        outside = everywhere[padded[tuple(everywhere.T + 1)] != number]
        wide = np.clip(SHARE * cdist(own, outside).min(1).max(), LEAST, MOST)
        if len(others):
            near = own[cdist(own, others).min(1) <= wide]
            found[tuple(near.T)] = True
    return found


@given(seed=st.integers(0, 10**6), count=st.integers(0, 5))
def test_seams_are_the_pixels_near_another_object(seed, count):
    rng = np.random.default_rng(seed)
    numbers = np.zeros((24, 30), int)
    for number in rng.permutation(8)[:count] + 1:
        (top, left), (high, wide) = rng.integers(0, (20, 26)), rng.integers(1, 14, 2)
        numbers[top : top + high, left : left + wide] = number
    assert np.array_equal(seams(numbers), by_pairs(numbers))


def test_objects_a_pixel_apart_have_a_seam_and_far_ones_none():
    near, far = np.zeros((2, 12, 30), int)
    near[2:10, 2:9], near[2:10, 10:17] = 1, 2
    far[2:10, 2:9], far[2:10, 20:27] = 1, 2
    assert seams(near)[2:10, [8, 10]].all()
    assert not seams(near)[:, 9].any()
    assert not seams(far).any()


@pytest.mark.parametrize(("width", "wide"), [(2, 1), (4, 1), (8, 2), (12, 3), (40, 4)])
def test_a_seam_is_as_wide_as_its_objects_are(width, wide):
    numbers = np.zeros((60, 90), int)
    numbers[2 : 2 + width, 5:45], numbers[2 : 2 + width, 45:85] = 1, 2
    row = seams(numbers)[2 + width // 2]
    assert np.flatnonzero(row).tolist() == list(range(45 - wide, 45 + wide))


def test_objects_of_different_classes_have_no_seam():
    numbers = np.array([[1, 1, 1, 2, 2, 2, 3, 3, 3]])
    mask = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2]], np.uint8)
    assert with_seams(mask, numbers, 3).tolist() == [[1, 1, 3, 3, 1, 1, 2, 2, 2]]
    assert mask.max() == 2


def test_where_the_mask_has_no_class_there_is_no_seam():
    numbers = np.array([[1, 1, 1, 2, 2, 2]])
    mask = np.array([[1, 1, 0, 1, 1, 1]], np.uint8)
    assert with_seams(mask, numbers, 2)[0, 2] == 0


def test_objects_are_numbered_without_gaps(tmp_path):
    write_png(tmp_path / "n.png", np.array([[0, 7, 7, 9]], np.uint8))
    assert read_instances(tmp_path / "n.png", np.array([[0, 1, 1, 2]])).tolist() == [[0, 1, 1, 2]]
    write_png(tmp_path / "n.png", np.array([[3, 3, 9, 9]], np.uint8))
    assert read_instances(tmp_path / "n.png", np.array([[1, 1, 0, 1]])).tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        ([[0, 7, 7, 7], [4, 9, 9, 9]], "2 of its objects, such as number 4"),
        # The background has a number of its own.
        ([[1, 1, 1, 2], [1, 1, 3, 3]], "1 of its objects, such as number 1"),
    ],
)
def test_objects_that_the_mask_does_not_show_are_refused(numbers, what, tmp_path):
    write_png(tmp_path / "n.png", np.array(numbers, np.uint8))
    with pytest.raises(MaskError, match=f"{what}, lie on the background of the mask"):
        read_instances(tmp_path / "n.png", np.array([[0, 0, 1, 1], [0, 0, 0, 1]]))
