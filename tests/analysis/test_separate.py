"""Objects are what hangs together; round ones are split where they touch, filaments followed where they cross."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import disk, line

from unetpp.analysis.separate import in_order, separate, split_touching
from unetpp.analysis.strips import whole_objects
from unetpp.errors import SettingError


def discs(*centres, radius=20, shape=(200, 300)):
    labels = np.zeros(shape, np.uint8)
    for centre in centres:
        labels[disk(centre, radius, shape=shape)] = 1
    return labels


def lines(*pairs, width=7, shape=(200, 200)):
    labels = np.zeros(shape, bool)
    for start, end in pairs:
        labels[line(*start, *end)] = True
    return ndimage.binary_dilation(labels, np.ones((3, 3)), iterations=width // 2).astype(np.uint8)


@given(seed=st.integers(0, 1000), classes=st.integers(1, 3))
def test_objects_are_the_connected_regions_of_each_class(seed, classes):
    labels = np.random.default_rng(seed).integers(0, classes + 1, (12, 15))
    numbers, found = separate(labels)
    expected = [ndimage.label(labels == k, np.ones((3, 3)))[1] for k in range(1, classes + 1)]
    assert np.bincount(found[1:], minlength=classes + 1)[1:].tolist() == expected
    assert (found[numbers] == labels).all()
    assert np.array_equal(in_order(numbers), numbers)


@pytest.mark.parametrize(
    ("radius", "distance"), [(20, 26), (20, 30), (20, 35), (20, 39), (10, 16), (10, 18), (5, 8), (5, 9)]
)
def test_discs_that_touch_are_split(radius, distance):
    labels = discs((60, 60), (60, 60 + distance), radius=radius)
    numbers, classes = separate(labels, split=[1])
    assert len(classes) == 3
    assert numbers[60, 60] != numbers[60, 60 + distance]
    sizes = np.bincount(numbers.ravel())[1:]
    assert abs(sizes[0] - sizes[1]) <= 0.15 * sizes.sum()


def test_a_cluster_is_split_into_its_discs():
    centres = [(60, 60), (60, 98), (93, 79), (130, 200)]
    numbers, classes = separate(discs(*centres), split=[1])
    assert len(classes) == 5
    assert len({int(numbers[centre]) for centre in centres}) == 4


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_an_ellipse_is_not_split(ratio):
    y, x = np.mgrid[:100, :160] - np.array([50, 80])[:, None, None]
    labels = ((x / (15 * ratio)) ** 2 + (y / 15) ** 2 < 1).astype(np.uint8)
    assert len(separate(labels, split=[1])[1]) == 2


def test_probabilities_help_to_split():
    labels = discs((60, 60), (60, 72))
    assert len(separate(labels, split=[1])[1]) == 2
    chances = np.ones((200, 300, 2))
    chances[:, 64:69, 1] = 0.5
    assert len(separate(labels, split=[1], probabilities=chances)[1]) == 3


def test_splitting_keeps_every_pixel():
    rng = np.random.default_rng(0)
    mask = ndimage.gaussian_filter(rng.normal(size=(100, 100)), 4) > 0
    assert ((split_touching(mask) > 0) == mask).all()


def test_filaments_that_cross_are_two():
    labels = lines(((20, 20), (180, 180)), ((20, 170), (180, 30)))
    assert len(separate(labels)[1]) == 2
    numbers, classes = separate(labels, thin=[1])
    assert len(classes) == 3
    assert numbers[30, 30] == numbers[170, 170] != numbers[30, 161] == numbers[170, 39]
    assert ((numbers > 0) == (labels > 0)).all()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("diagonals", [6, 8])
def test_filaments_on_either_diagonal_cross_and_go_over_gaps(diagonals, mirrored):
    """Where Zhang and Suen's thinning leaves a pixel of some."""
    y, x = np.mgrid[:200, :200]
    bar = (2 * abs(x - y + 0.5) < diagonals) & (x + y >= 60) & (x + y <= 340)
    level = (np.abs(y - 100) <= 2) & (x > 10) & (x < 190)
    for mask, count in ((bar | level, 2), (bar & (np.abs(x + y - 200) > 1), 1)):
        _, classes = separate(mask[:, :: -1 if mirrored else 1].astype(np.uint8), thin=[1])
        assert len(classes) - 1 == count


def test_a_filament_with_a_gap_is_one_and_two_side_by_side_are_two():
    assert len(separate(lines(((50, 20), (50, 80)), ((50, 94), (52, 150))), thin=[1])[1]) == 2
    assert len(separate(lines(((50, 20), (50, 80)), ((50, 120), (52, 180))), thin=[1])[1]) == 3
    assert len(separate(lines(((50, 20), (50, 80)), ((62, 20), (62, 80))), thin=[1])[1]) == 3


def test_a_bent_filament_is_one():
    labels = lines(((30, 20), (60, 80)), ((60, 80), (50, 150)))
    assert len(separate(labels, thin=[1])[1]) == 2


def test_every_part_of_a_class_of_filaments_is_kept():
    rng = np.random.default_rng(1)
    mask = ndimage.gaussian_filter(rng.normal(size=(120, 120)), 2) > 0.1
    numbers, classes = separate(mask.astype(np.uint8), thin=[1])
    assert ((numbers > 0) == mask).all()
    assert set(np.unique(numbers)) == set(range(len(classes)))


def test_small_objects_and_those_at_the_border_are_left_out():
    labels = np.zeros((20, 20), int)
    labels[0:3, 5], labels[10, 10], labels[15:18, 15:18] = 1, 1, 2
    numbers, classes = separate(labels, smallest=2, drop_border=True)
    assert classes.tolist() == [0, 2]
    assert (numbers > 0).sum() == 9


@pytest.mark.parametrize("labels", [np.zeros((3, 3)), np.zeros((2, 3, 3), int)])
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(SettingError, match="no label image"):
        separate(labels)
    with pytest.raises(SettingError, match="round"):
        separate(np.zeros((3, 3), int), split=[1], thin=[1])


def rows_read(labels, pixels, thin=()):
    """Assert that strips hold every object once and whole; the number of rows that were read for them."""
    total = np.zeros(labels.shape, np.uint8)
    count, lengths = 0, []

    def read(rows):
        lengths.append(rows.stop - rows.start)
        return labels[rows]

    for top, strip in whole_objects(read, labels.shape, thin=thin, pixels=pixels):
        part = total[top : top + len(strip)]
        assert not (part[strip > 0]).any()
        part += strip
        count += ndimage.label(strip > 0, np.ones((3, 3)))[1]
    assert (total == labels).all()
    assert count == ndimage.label(labels > 0, np.ones((3, 3)))[1]
    return sum(lengths)


@given(seed=st.integers(0, 500), pixels=st.integers(1, 4000))
def test_strips_hold_every_object_once_and_whole(seed, pixels):
    rng = np.random.default_rng(seed)
    labels = (ndimage.gaussian_filter(rng.normal(size=(300, 20)), 3) > 0.05).astype(np.uint8)
    labels *= rng.integers(1, 3, labels.shape, dtype=np.uint8) if seed % 2 else np.uint8(1)
    for thin in ((), (1,)):
        rows_read(labels, pixels, thin)


def test_a_chain_of_filaments_makes_no_strip_of_the_whole_slide():
    labels = np.zeros((4000, 60), np.uint8)
    labels[:, 20:25] = np.arange(4000)[:, None] % 40 < 30
    labels[5::40, 50:55] = 2
    heights = [
        len(strip) for _, strip in whole_objects(labels.__getitem__, labels.shape, thin=[1], pixels=6000)
    ]
    assert max(heights) <= 8 * 100


@pytest.mark.parametrize("pixels", [150 * rows for rows in range(64, 160, 8)])
def test_what_lies_in_a_ring_of_discs_is_in_its_strip(pixels):
    """The ring's hole is empty without it, and a ring around an empty hole is one object."""
    angles = 2 * np.pi * np.arange(12) / 12
    around = [(75 + 40 * np.sin(angle), 75 + 40 * np.cos(angle)) for angle in angles]
    labels = np.zeros((260, 150), np.uint8)
    labels[:150] = discs(*around, (62, 75), radius=11, shape=(150, 150))
    strips = whole_objects(labels.__getitem__, labels.shape, pixels=pixels)
    assert sum(separate(strip, split=[1])[0].max() for _, strip in strips) == 13


@given(gap=st.integers(1, 8), end=st.integers(20, 180), step=st.integers(70, 120), dots=st.booleans())
def test_filaments_are_followed_from_strip_to_strip(gap, end, step, dots):
    labels = np.zeros((400, 60), np.uint8)
    labels[5:end, 20:25] = labels[end + gap : 260, 20:25] = 1
    labels[5:390:40, 50:55] = 2 * dots
    whole, _ = separate(labels, thin=[1])
    strips = whole_objects(labels.__getitem__, labels.shape, thin=[1], pixels=60 * step)
    assert sum(separate(strip, thin=[1])[0].max() for _, strip in strips) == whole.max() == 1 + 10 * dots


@given(seed=st.integers(0, 500), pixels=st.integers(1, 4000), tall=st.integers(1, 9))
def test_tall_objects_make_strips_read_no_row_more_than_thrice_on_average(seed, pixels, tall):
    rng = np.random.default_rng(seed)
    labels = (ndimage.gaussian_filter(rng.normal(size=(1500, 20)), 1) > 0.4).astype(np.uint8)
    for column in rng.integers(0, 20, tall):
        start, end = np.sort(rng.integers(0, 1501, 2))
        labels[start:end, max(0, column - 1) : column + 2] = 0
        labels[start:end, column] = 1
    assert rows_read(labels, pixels) <= 3 * len(labels)


def test_a_line_through_all_rows_leaves_every_object_whole_and_is_read_thrice_at_most():
    labels = np.zeros((5000, 20), np.uint8)
    labels[3::10, 2:8], labels[:, 12] = 1, 1
    assert rows_read(labels, pixels=1) <= 3 * len(labels)
