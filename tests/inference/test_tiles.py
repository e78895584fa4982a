"""Tiles cover every pixel, and blending is an average."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unetpp.inference.tiles import axis, blocks, round_up, starts, tiles

GRIDS = st.sampled_from([1, 16, 32])


@given(cells=st.integers(1, 40), extra=st.integers(0, 300), share=st.floats(0, 1), grid=GRIDS)
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


@given(height=st.integers(1, 90), width=st.integers(1, 90), overlap=st.integers(0, 40))
def test_blending_gives_back_what_was_cut_up(height, width, overlap):
    image = np.arange(1.0, height * width + 1).reshape(height, width)
    total = np.zeros_like(image)
    for tile in tiles(image.shape, 16, overlap):
        total[tile.place] += tile.weight[..., 0] * image[tile.place]
    np.testing.assert_allclose(total, image, rtol=1e-5)


def test_a_tile_counts_wholly_within_and_next_to_nothing_at_its_rim():
    (_, first), (_, second) = axis(56, 32, 8)
    assert first[16] == 1
    assert first[0] == 1
    assert 0 < first[-1] < 0.001
    np.testing.assert_allclose(first, second[::-1], rtol=1e-6)


@given(
    height=st.integers(1, 300), width=st.integers(1, 300), core=st.integers(20, 120), halo=st.integers(0, 50)
)
def test_the_cores_of_blocks_make_the_image(height, width, core, halo):
    image = np.arange(height * width).reshape(height, width)
    found = np.full_like(image, -1)
    for block in blocks((height, width), core, halo):
        assert (found[block.core] == -1).all()
        found[block.core] = image[block.region][block.inner]
        assert max(image[block.region].shape) <= core + 2 * halo
    np.testing.assert_array_equal(found, image)
