"""The eight symmetries of the square."""

import numpy as np
import pytest

from unetpp.data.symmetry import SYMMETRIES, turn, turn_back

IMAGE = np.arange(2 * 3 * 2).reshape(2, 3, 2)


def test_the_symmetries_are_eight_different_ones():
    square = np.arange(9).reshape(3, 3)
    assert len({turn(square, k).tobytes() for k in range(SYMMETRIES)}) == SYMMETRIES == 8


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_turn_is_undone(symmetry):
    np.testing.assert_array_equal(turn_back(turn(IMAGE, symmetry), symmetry), IMAGE)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_channels_stay_together(symmetry):
    turned = turn(IMAGE, symmetry)
    np.testing.assert_array_equal(turned[..., 0], turn(IMAGE[..., 0], symmetry))
