"""Splitting keeps to its own class, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
