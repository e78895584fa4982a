"""Objects are matched as by trying every way."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetpp.analysis.matching import THRESHOLDS, counts_at, match
from unetpp.errors import SettingError

numbers = hnp.arrays(np.int32, (4, 5), elements=st.integers(0, 4))


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def best_way(truth, prediction, threshold):
    """The most matches there can be, and their largest sum of IoU, by trying all ways."""
    true, found = ([image == k for k in np.unique(image) if k] for image in (truth, prediction))
    few, many = sorted((true, found), key=len)
    best = (0, 0.0)
    for chosen in permutations(range(len(many)), len(few)):
        ious = [overlap(few[k], many[other]) for k, other in enumerate(chosen)]
        enough = [iou for iou in ious if iou >= threshold]
        best = max(best, (len(enough), sum(enough)))
    return len(true), len(found), *best


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
@given(truth=numbers, prediction=numbers)
def test_matching_is_the_best_of_all_ways(threshold, truth, prediction):
    found = match(truth, prediction, threshold)
    true, predicted, matched, total = best_way(truth, prediction, threshold)
    assert (found.true, found.predicted, len(found.ious)) == (true, predicted, matched)
    assert found.ious.sum() == pytest.approx(total)
    for (one, other), iou in zip(found.pairs, found.ious, strict=True):
        assert iou == pytest.approx(overlap(truth == one, prediction == other))
    for side in found.pairs.T:
        assert len(set(side)) == len(side)


@given(truth=numbers, prediction=numbers)
def test_matches_at_a_half_hold_those_at_higher_thresholds(truth, prediction):
    tp, total = counts_at(match(truth, prediction)).T
    for k, threshold in enumerate(THRESHOLDS):
        _, _, matched, ious = best_way(truth, prediction, threshold)
        assert tp[k] == matched
        assert total[k] == pytest.approx(ious)


@given(numbers)
def test_a_perfect_prediction_matches_everything(truth):
    found = match(truth, truth)
    assert found.true == found.predicted == len(found.ious)
    assert (found.ious == 1).all()


def test_two_halves_of_an_object_are_one_match():
    found = match(np.array([[1, 1]]), np.array([[1, 2]]))
    assert (found.true, found.predicted, found.ious.tolist()) == (1, 2, [0.5])


def test_no_objects_match_nothing():
    nothing, some = np.zeros((3, 3), int), np.eye(3, dtype=int)
    for pair, counts in (((nothing, nothing), (0, 0)), ((some, nothing), (1, 0)), ((nothing, some), (0, 1))):
        found = match(*pair)
        assert (found.true, found.predicted) == counts
        assert len(found.ious) == 0


def test_images_of_other_sizes_are_refused():
    with pytest.raises(SettingError, match="cannot be compared"):
        match(np.zeros((2, 2), int), np.zeros((2, 3), int))
