"""Measurements agree with scikit-image, with closed forms, and with what was drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.draw import line
from skimage.measure import regionprops_table

from unetpp.analysis.objects import count_objects, measure
from unetpp.analysis.separate import separate
from unetpp.errors import SettingError

NAMES = ("background", "cell", "rod")
SAME = {
    "area": "area",
    "centroid_y": "centroid-0",
    "centroid_x": "centroid-1",
    "top": "bbox-0",
    "left": "bbox-1",
    "bottom": "bbox-2",
    "right": "bbox-3",
    "perimeter": "perimeter",
    "equivalent_diameter": "equivalent_diameter_area",
    "intensity_mean_1": "intensity_mean-0",
    "intensity_min_2": "intensity_min-1",
    "intensity_max_2": "intensity_max-1",
}


def blobs(seed, shape=(60, 80), level=0.05):
    """Regions of any shape, of two classes."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return np.where(field > level, np.where(ndimage.gaussian_filter(rng.normal(size=shape), 8) > 0, 2, 1), 0)


@given(seed=st.integers(0, 1000), level=st.floats(-0.1, 0.3))
def test_measurements_agree_with_scikit_image(seed, level):
    numbers, classes = separate(blobs(seed, level=level))
    image = np.random.default_rng(seed).random((60, 80, 2)).astype(np.float32)
    found = measure(numbers, classes, NAMES, image=image)
    properties = {name.split("-")[0] for name in SAME.values()} | {"centroid", "bbox"}
    expected = regionprops_table(numbers, image, properties=sorted(properties))
    for own, other in SAME.items():
        np.testing.assert_allclose(found[own], expected[other], rtol=1e-5, err_msg=own)


@given(seed=st.integers(0, 1000))
def test_moments_and_hulls_agree_with_a_loop_over_pixels_as_squares(seed):
    numbers, classes = separate(blobs(seed))
    found = measure(numbers, classes, NAMES)
    for k in range(1, len(classes)):
        places = np.argwhere(numbers == k)
        covariance = np.cov(places.T, bias=True).reshape(2, 2) + np.eye(2) / 12
        values, vectors = np.linalg.eigh(covariance)
        assert found["eccentricity"][k - 1] == pytest.approx(np.sqrt(1 - values[0] / values[1]), abs=1e-6)
        if values[1] - values[0] > 1e-6:
            y, x = vectors[:, 1]
            turned = (found["orientation"][k - 1] - np.arctan2(x, y)) % np.pi
            assert min(turned, np.pi - turned) < 1e-6
        corners = np.concatenate([places + step for step in ((0, 0), (0, 1), (1, 0), (1, 1))])
        assert found["area"][k - 1] / found["solidity"][k - 1] == pytest.approx(ConvexHull(corners).volume)


@pytest.mark.parametrize("degrees", range(0, 180, 15))
@pytest.mark.parametrize("width", [3, 7, 12])
def test_length_and_width_of_a_rod_are_those_it_was_drawn_with(degrees, width):
    length, angle = 60, np.deg2rad(degrees)
    y, x = np.mgrid[:100, :100] - 49.5
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    rod = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    numbers, classes = separate(2 * rod.astype(np.uint8))
    [found], [wide] = (measure(numbers, classes, NAMES)[name] for name in ("length", "width"))
    assert found == pytest.approx(length, rel=0.06)
    assert wide == pytest.approx(rod.sum() / length, rel=0.06)


@pytest.mark.parametrize("diagonals", range(1, 12))
def test_a_bar_on_either_diagonal_is_as_long_as_it_was_drawn(diagonals):
    """Where Zhang and Suen's thinning leaves a pixel of some."""
    y, x = np.mgrid[:120, :120]
    bar = (2 * (x - y) >= -diagonals) & (2 * (x - y) < diagonals) & (x + y >= 40) & (x + y <= 200)
    for turned in (bar, bar[:, ::-1], np.rot90(bar), bar[::-1]):
        [length] = measure(turned.astype(int), np.array([0, 1]), NAMES)["length"]
        assert length == pytest.approx(160 / np.sqrt(2), rel=0.03)


@given(degrees=st.floats(0, 180), length=st.floats(20, 70), width=st.floats(2.5, 8), shift=st.floats(0, 1))
def test_a_capsule_is_as_long_however_it_lies(degrees, length, width, shift):
    y, x = np.mgrid[:90, :90] - 44.5 + shift
    along = x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))
    across = y * np.cos(np.deg2rad(degrees)) - x * np.sin(np.deg2rad(degrees))
    capsule = np.hypot(np.maximum(np.abs(along) - (length - width) / 2, 0), across) <= width / 2
    [found] = measure(capsule.astype(int), np.array([0, 1]), NAMES)["length"]
    assert found == pytest.approx(length, abs=1.5)


@given(seed=st.integers(0, 10**6), level=st.floats(-0.1, 0.3))
def test_no_object_is_shorter_than_from_one_of_its_pixels_to_another(seed, level):
    numbers, classes = separate(blobs(seed, level=level))
    table = measure(numbers, classes, NAMES)
    for k, length in enumerate(table["length"], start=1):
        places = np.argwhere(numbers == k)
        farthest = pdist(places).max() if len(places) > 1 else 0
        assert length >= 0.997 * farthest
        assert length >= table["equivalent_diameter"][k - 1]


@pytest.mark.parametrize(("length", "width"), [(10, 4), (12, 3), (15, 5), (20, 8), (30, 10)])
def test_rods_are_on_average_as_long_as_they_were_drawn(length, width):
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        (cy, cx), angle = rng.uniform(23.5, 24.5, 2), rng.uniform(0, np.pi)
        y, x = np.mgrid[:48, :48]
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        rod = np.hypot(np.maximum(np.abs(along) - (length - width) / 2, 0), across) <= width / 2
        numbers, classes = separate(rod.astype(np.uint8))
        found += measure(numbers, classes, NAMES)["length"][:1].tolist()
    assert np.mean(found) == pytest.approx(length, rel=0.02)
    assert np.std(found) < 0.05 * length


def test_the_length_of_a_bent_filament_is_measured_along_it():
    mask = np.zeros((60, 120), np.uint8)
    for start, end in (((50, 10), (10, 50)), ((10, 50), (50, 90))):
        mask[line(*start, *end)] = 2
    mask = 2 * ndimage.binary_dilation(mask, np.ones((3, 3))).astype(np.uint8)
    [length] = measure(*separate(mask), NAMES)["length"]
    assert length == pytest.approx(2 * np.hypot(40, 40) + 3, rel=0.05)


def test_the_length_of_a_branched_object_is_its_longest_path_and_of_a_broken_one_the_sum():
    mask = np.zeros((120, 120), np.uint8)
    mask[30, 10:110] = mask[30:100, 10] = mask[100, 10:110] = 2
    mask[20:30, 60] = 2
    numbers, classes = separate(mask)
    assert measure(numbers, classes, NAMES)["length"] == pytest.approx([270], rel=0.02)
    numbers[:, 90:95] = 0
    assert measure(numbers, classes, NAMES)["length"] == pytest.approx([260], rel=0.02)
    # But a straight one reaches over its gaps.
    assert measure(numbers[:31], classes, NAMES)["length"] == pytest.approx([100], rel=0.02)


@pytest.mark.parametrize("turned", [False, True])
def test_rods_that_touch_are_as_long_as_each_alone(turned):
    """Whichever has the lower number."""
    numbers = np.zeros((40, 110), int)
    numbers[10:16, 10:90], numbers[16:22, 10:90] = (2, 1) if turned else (1, 2)
    found = measure(numbers, np.array([0, 1, 1]), NAMES)
    assert found["length"] == pytest.approx([80, 80], rel=0.02)
    assert found["width"] == pytest.approx([6, 6], rel=0.02)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("degrees", [10, 45, 80, 135])
def test_a_filament_within_a_cell_is_as_long_as_beside_it(degrees, width):
    y, x = np.mgrid[:100, :100] - 49.8
    along = x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))
    across = y * np.cos(np.deg2rad(degrees)) - x * np.sin(np.deg2rad(degrees))
    filament = 2 * ((np.abs(along) <= 30) & (np.abs(across) <= width / 2))
    cell = np.hypot(y, x) < 45
    found = measure(*separate(np.maximum(cell, filament)), NAMES)
    [alone] = measure(*separate(filament), NAMES)["length"]
    assert found["length"][found["class"] == "rod"].sum() == pytest.approx(alone)
    assert alone == pytest.approx(60, rel=0.05)


@given(seed=st.integers(0, 10**6))
def test_objects_are_as_long_side_by_side_as_each_alone(seed):
    rng = np.random.default_rng(seed)
    numbers, classes = separate(ndimage.zoom(rng.integers(0, 3, (8, 9)), 4, order=0))
    together = measure(numbers, classes, (*NAMES, "other"))
    alone = [measure(numbers == k, np.array([0, 1]), NAMES)["length"][0] for k in range(1, len(classes))]
    assert together["length"].tolist() == alone


def test_the_longest_path_is_that_of_most_pixels_not_of_most_steps():
    cross = np.zeros((130, 130), np.uint8)
    cross[60:63, 20:103] = 2
    cross |= 2 * ndimage.binary_dilation(np.eye(130)[::-1], iterations=1).astype(np.uint8)
    cross[:22] = cross[101:] = 0
    [length] = measure(*separate(cross), NAMES)["length"]
    assert length == pytest.approx(78 * np.sqrt(2), rel=0.04)


@pytest.mark.parametrize(("radius", "width"), [(8, 3), (12, 5), (20, 3), (25, 2)])
def test_a_ring_is_as_long_as_the_way_around_it(radius, width):
    y, x = np.indices((61, 61)) - 30
    ring = np.abs(np.hypot(y, x) - radius) <= width / 2
    [length] = measure(ring.astype(int), np.array([0, 1]), NAMES)["length"]
    assert length == pytest.approx(2 * np.pi * radius, rel=0.03)


@pytest.mark.parametrize("tail", [4, 12])
def test_a_ring_with_a_tail_is_no_shorter_than_one_without(tail):
    y, x = np.indices((121, 121)) - 60
    ring = np.abs(np.hypot(y, x) - 41) <= 4
    ring[59:62, 60 + 44 : 60 + 45 + tail] = True
    [length] = measure(ring.astype(int), np.array([0, 1]), NAMES)["length"]
    assert length == pytest.approx(2 * np.pi * 41, rel=0.03)


@pytest.mark.parametrize("degrees", range(0, 90, 15))
def test_a_frame_is_as_long_as_the_way_around_it(degrees):
    y, x = np.mgrid[:100, :100] - 49.7
    turned = x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))
    other = y * np.cos(np.deg2rad(degrees)) - x * np.sin(np.deg2rad(degrees))
    side = np.maximum(np.abs(turned), np.abs(other))
    [length] = measure((np.abs(side - 28) <= 2.5).astype(int), np.array([0, 1]), NAMES)["length"]
    assert length == pytest.approx(8 * 28, rel=0.05)


def test_a_disc_with_a_small_hole_is_as_long_as_it_is_wide():
    y, x = np.indices((61, 61)) - 30
    disc = (np.hypot(y, x) <= 20) & (np.hypot(y - 4, x) > 1.5)
    [length] = measure(disc.astype(int), np.array([0, 1]), NAMES)["length"]
    assert 38 < length < 52


def test_a_rod_with_holes_is_as_long_as_one_without():
    rod = np.zeros((15, 150), int)
    rod[5:10, 10:140] = 1
    rod[7, 14] = rod[7, 135] = 0
    assert measure(rod, np.array([0, 1]), NAMES)["length"] == pytest.approx([130], rel=0.04)


def test_a_pixel_among_others_is_as_long_as_the_disc_of_its_area():
    numbers = np.array([[2, 1], [1, 1]])
    found = measure(numbers, np.array([0, 1, 1]), NAMES)
    assert found["length"][1] == pytest.approx(found["equivalent_diameter"][1])


def test_the_mean_probability_is_of_the_own_class():
    labels = np.array([[1, 1, 0, 2]])
    chances = np.arange(12.0).reshape(1, 4, 3)
    numbers, classes = separate(labels)
    assert measure(numbers, classes, NAMES, probabilities=chances)["probability"].tolist() == [2.5, 11]


def test_a_pixel_size_adds_columns_in_micrometres():
    numbers, classes = separate(np.ones((4, 6), int))
    found = measure(numbers, classes, NAMES, pixel_size=0.5)
    assert found["area_um2"].tolist() == [6]
    for name in ("perimeter", "equivalent_diameter", "length", "width"):
        np.testing.assert_allclose(found[f"{name}_um"], found[name] / 2)
    for size in (0.0, -1.0, np.nan, np.inf, 1e7, 1e-7):
        with pytest.raises(SettingError, match="pixel-size"):
            measure(numbers, classes, NAMES, pixel_size=size)


def test_what_touches_the_border_is_told():
    labels = np.zeros((5, 7), int)
    labels[0, 3] = labels[2, 2] = labels[4, 6] = 1
    assert measure(*separate(labels), NAMES)["touches_border"].tolist() == [True, False, True]


@pytest.mark.parametrize("shape", [(0, 0), (5, 4)])
def test_an_empty_image_has_a_table_with_headers(shape):
    numbers, classes = separate(np.zeros(shape, np.uint8))
    whole = measure(
        *separate(np.ones((3, 3), int)), NAMES, image=np.ones((3, 3)), probabilities=np.ones((3, 3, 3))
    )
    found = measure(numbers, classes, NAMES, image=np.zeros(shape), probabilities=np.zeros((*shape, 3)))
    assert list(found) == list(whole)
    assert {len(column) for column in found.values()} == {0}
    assert count_objects(found, NAMES, shape)["count"].tolist() == [0, 0]


def test_images_of_other_sizes_are_refused():
    with pytest.raises(SettingError, match="does not fit"):
        measure(*separate(np.ones((3, 3), int)), NAMES, image=np.ones((3, 4)))


def test_density_is_by_area():
    table = measure(*separate(np.eye(10, dtype=int)[:, ::-1] * 0 + np.diag([1, 0] * 5)), NAMES)
    counts = count_objects(table, NAMES, (10, 10), pixel_size=10.0)
    assert counts["count"].tolist() == [5, 0]
    assert counts["per_mm2"].tolist() == [500, 0]
    assert count_objects(table, NAMES, (10, 10))["per_megapixel"].tolist() == [50_000, 0]
    assert counts["area_share"].tolist() == [0.05, 0]
    # Nobody knows of what area those are that the border does not cut.
    some = count_objects(table, NAMES, (10, 10), drop_border=True)
    assert some["count"].tolist() == [5, 0]
    assert np.isnan([some["per_megapixel"], some["area_share"]]).all()
