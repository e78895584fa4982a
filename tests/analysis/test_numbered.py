"""Numbers are objects as they are, and their measurements those of scikit-image."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops_table

from unetpp.analysis.numbered import as_numbered, find_numbered, last_rows
from unetpp.analysis.objects import measure
from unetpp.analysis.planes import Rows, open_numbers
from unetpp.analysis.strips import whole_objects
from unetpp.errors import MaskError

SAME = {
    "id": "label",
    "area": "area",
    "centroid_y": "centroid-0",
    "left": "bbox-1",
    "bottom": "bbox-2",
    "perimeter": "perimeter",
    "equivalent_diameter": "equivalent_diameter_area",
}


def pieces(seed, shape=(60, 40), count=12):
    """Numbers that touch, and that lie here and there."""
    rng = np.random.default_rng(seed)
    near = rng.integers(0, np.array(shape), (3 * count, 2))
    apart = np.hypot(*(np.indices(shape)[:, None] - near.T[:, :, None, None]))
    numbers = rng.integers(1, count + 1, len(near))[apart.argmin(0)]
    return np.where(apart.min(0) < 5, numbers, 0).astype(np.int32)


@given(seed=st.integers(0, 1000))
def test_measurements_agree_with_scikit_image(seed):
    drawn = pieces(seed)
    numbers, classes = as_numbered(drawn)
    found = measure(numbers, classes, ("background", "cell"))
    found["id"] = np.unique(drawn[drawn > 0])[found["id"] - 1]
    names = sorted({name.split("-")[0] for name in SAME.values()} | {"label"})
    expected = regionprops_table(drawn, properties=names)
    for own, other in SAME.items():
        np.testing.assert_allclose(found[own], expected[other], rtol=1e-5, err_msg=own)


def test_numbers_that_touch_are_two_and_one_in_two_pieces_is_one():
    drawn = np.zeros((20, 40), int)
    drawn[5:10, 5:10], drawn[5:10, 10:15] = 7, 3
    drawn[5:10, 30:34] = 3
    numbers, classes = as_numbered(drawn)
    assert classes.tolist() == [0, 1, 1]
    assert np.array_equal(numbers, np.select([drawn == 3, drawn == 7], [1, 2]))
    assert measure(numbers, classes, ("background", "cell"))["area"].tolist() == [45, 25]


@pytest.mark.parametrize(("smallest", "kept"), [(0, [1, 2, 3]), (2, [2, 3]), (3, [3]), (4, [])])
def test_objects_of_fewer_pixels_are_left_out(smallest, kept):
    drawn = np.array([[1, 2, 2, 3, 3, 3]])
    numbers, classes = as_numbered(drawn, smallest)
    assert len(classes) == 1 + len(kept)
    assert np.unique(drawn[numbers > 0]).tolist() == kept


@given(seed=st.integers(0, 500), pixels=st.integers(1, 2000))
def test_strips_hold_every_number_once_and_whole(seed, pixels):
    drawn = pieces(seed, (200, 20), count=40)
    known = last_rows(Rows(drawn.shape, drawn.__getitem__))
    last = np.array([known.get(k, -1) if k else -1 for k in range(41)])
    total, seen = np.zeros_like(drawn), []
    for top, strip in whole_objects(drawn.__getitem__, drawn.shape, last=last, pixels=pixels):
        total[top : top + len(strip)] += strip
        seen += np.unique(strip[strip > 0]).tolist()
    assert (total == drawn).all()
    assert sorted(seen) == np.unique(drawn[drawn > 0]).tolist()


@pytest.mark.parametrize(
    ("numbers", "saying"),
    [
        (np.array([[0, -4]], np.int16), "number -4"),
        (np.array([[0, 2**32]], np.uint64), "number 4294967296"),
    ],
)
def test_what_no_object_is_numbered_with_is_refused(numbers, saying, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers)
    with open_numbers(tmp_path / "a.tif") as planes, pytest.raises(MaskError, match=saying):
        find_numbered(planes.rows(()), tmp_path / "a.tif")
