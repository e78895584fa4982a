"""Tiles cover every pixel, and blending is an average."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unetpp.inference.tiles import corners, round_up, starts, window


@given(
    cells=st.integers(1, 40),
    extra=st.integers(0, 300),
    share=st.floats(0, 1),
    grid=st.sampled_from([1, 16, 32]),
)
def test_tiles_cover_an_axis_from_end_to_end_with_the_overlap_asked_for(cells, extra, share, grid):
    tile, length = cells * grid, (cells + extra) * grid
    overlap = int(share * (tile - grid))
    found = starts(length, tile, overlap, grid)
    assert found[0] == 0
    assert found[-1] + tile == length
    assert all(start % grid == 0 for start in found)
    assert all(0 < b - a <= tile - overlap for a, b in pairwise(found))


@given(length=st.integers(1, 2000))
def test_an_axis_no_longer_than_a_tile_takes_one(length):
    assert starts(length, length, length // 3) == [0]


@given(height=st.integers(1, 900), width=st.integers(1, 900))
def test_rounding_up_gives_the_next_multiple(height, width):
    for side, length in zip(round_up((height, width), 32), (height, width), strict=True):
        assert side % 32 == 0
        assert length <= side < length + 32


@given(height=st.integers(16, 90), width=st.integers(16, 90), overlap=st.integers(0, 20))
def test_blending_gives_back_what_was_cut_up(height, width, overlap):
    image = np.arange(height * width, dtype=np.float64).reshape(height, width)
    tile = (16, 16)
    weight = window(tile, overlap)
    total, weights = np.zeros_like(image), np.zeros_like(image)
    for top, left in corners(image.shape, tile, overlap):
        place = np.s_[top : top + 16, left : left + 16]
        total[place] += weight * image[place]
        weights[place] += weight
    assert weights.min() > 0
    np.testing.assert_allclose(total / weights, image, rtol=1e-6)


def test_the_window_is_whole_within_and_falls_to_its_rim():
    weight = window((32, 32), 7)
    assert weight[16, 16] == 1
    assert 0 < weight[0, 0] < weight[0, 16] < weight[4, 16] < 1
    assert weight[0, 16] < 0.001
    np.testing.assert_array_equal(weight, weight[::-1, ::-1])
