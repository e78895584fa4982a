"""Boundaries' distances, against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetpp.analysis.boundary import Boundaries, boundaries

regions = hnp.arrays(bool, (6, 7), elements=st.booleans())


def edge(region):
    """Pixels with a neighbour over an edge that is outside."""
    height, width = region.shape
    outside = {(y, x) for y in range(-1, height + 1) for x in range(-1, width + 1)}
    outside -= {tuple(place) for place in np.argwhere(region)}
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return [(y, x) for y, x in np.argwhere(region) if any((y + dy, x + dx) in outside for dy, dx in steps)]


def nearest(points, others):
    return [min((np.hypot(y - v, x - u) for v, u in others), default=np.inf) for y, x in points]


@given(regions, regions)
def test_distances_are_those_of_a_loop(truth, prediction):
    found = boundaries(truth, prediction)
    true, predicted = edge(truth), edge(prediction)
    np.testing.assert_allclose(found.predicted, nearest(predicted, true))
    np.testing.assert_allclose(found.true, nearest(true, predicted))
    for tolerance in (0, 1, 2.5):
        hits = found.hits(tolerance)
        assert hits[0] == sum(far <= tolerance for far in nearest(predicted, true))
        assert hits[2] == sum(far <= tolerance for far in nearest(true, predicted))
        assert hits[1::2] == (len(predicted), len(true))


@given(regions, regions)
def test_hausdorff_is_symmetric_and_of_everything_the_largest(truth, prediction):
    one, other = boundaries(truth, prediction), boundaries(prediction, truth)
    np.testing.assert_equal(one.hausdorff(), other.hausdorff())
    if truth.any() and prediction.any():
        assert one.hausdorff(100) == max(*one.predicted, *one.true)
        assert one.hausdorff() <= one.hausdorff(100)


def percentile(values, percent):
    """Of sorted values, between two neighbours in proportion."""
    place = (len(values) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


@given(regions, regions)
def test_hausdorff_is_the_larger_percentile_of_a_loop(truth, prediction):
    true, predicted = edge(truth), edge(prediction)
    for percent in (50, 95):
        found = boundaries(truth, prediction).hausdorff(percent)
        if true and predicted:
            sides = (sorted(nearest(*pair)) for pair in ((true, predicted), (predicted, true)))
            assert found == pytest.approx(max(percentile(side, percent) for side in sides))
        else:
            assert np.isnan(found)


def test_of_101_distances_the_95th_percentile_is_the_96th():
    found = Boundaries(np.arange(101.0)[::-1], np.zeros(7))
    assert found.hausdorff() == Boundaries(found.true, found.predicted).hausdorff() == 95


@pytest.mark.parametrize("shift", [0, 1, 3, 7])
def test_a_shifted_square_is_as_far_as_it_was_shifted(shift):
    square = np.zeros((40, 40), bool)
    square[10:20, 10:20] = True
    found = boundaries(square, np.roll(square, shift, 1))
    assert found.hausdorff(100) == shift
    assert found.hits(shift)[0] == found.hits(shift)[1] == 36


def test_an_absent_region_has_no_distance_and_no_hits():
    some, nothing = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    assert boundaries(some, nothing).hits() == (0, 0, 0, 8)
    assert boundaries(nothing, some).hits() == (0, 8, 0, 0)
    assert np.isnan([boundaries(*pair).hausdorff() for pair in ((some, nothing), (nothing, nothing))]).all()
