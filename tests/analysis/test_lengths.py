"""Paths along skeletons."""

import time

import numpy as np
import pytest

from unetpp.analysis.lengths import meeting


def path(before, pixel):
    """A pixel and all before it, back to the source."""
    found = [pixel]
    while before[found[-1]] != found[-1]:
        found.append(int(before[found[-1]]))
    return found


@pytest.mark.parametrize("reach", [1, 3, 100])
def test_paths_meet_at_the_first_pixel_that_they_share(reach):
    rng = np.random.default_rng(reach)
    # A tree of which each pixel hangs on one of the last few: a chain, or bushy.
    before = np.maximum(np.arange(200) - rng.integers(1, reach + 1, 200), 0)
    one, other = rng.integers(0, 200, (2, 300))
    expected = [
        next(p for p in path(before, a) if p in path(before, b)) for a, b in zip(one, other, strict=True)
    ]
    assert meeting(one, other, before).tolist() == expected


def test_long_paths_are_not_walked_step_by_step():
    # Two lines from one source, 200,000 pixels each; walked, they take seconds.
    before = np.maximum(np.arange(400_001) - 2, 0)
    start = time.process_time()
    assert meeting(np.array([399_999, 400_000]), np.array([400_000, 200_000]), before).tolist() == [
        0,
        200_000,
    ]
    assert time.process_time() - start < 0.8
