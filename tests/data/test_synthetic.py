"""Drawn micrographs: always the same, truly labelled, and like the real ones where it matters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, label

from unetpp.data.synthetic import CLASSES, COLOURS, draw, write_dataset
from unetpp.errors import SettingError

SEEDS = range(24)


@pytest.fixture(scope="module")
def drawn():
    return [draw(seed) for seed in SEEDS]


def light(image):
    return image.mean(axis=2)


def test_same_seed_gives_the_same_pixels():
    for first, second in zip(draw(5, (96, 130)), draw(5, (96, 130)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_seeds_give_different_pictures():
    assert len({draw(seed, (64, 64))[1].tobytes() for seed in range(10)}) == 10


def test_drawing_does_not_touch_the_global_generator():
    state = np.random.get_state()[1].copy()
    draw(0, (32, 32))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(1, 150), st.integers(1, 150)))
def test_any_size_can_be_drawn(seed, size):
    image, mask = draw(seed, size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (mask.shape, mask.dtype) == (size, np.uint8)
    assert mask.max() < len(CLASSES)
    assert (mask == 2).any()


@pytest.mark.parametrize("size", [(96, 130), (128, 128), (256, 256)])
def test_every_class_is_present(size):
    for seed in range(10):
        assert set(np.unique(draw(seed, size)[1])) == {0, 1, 2}


def test_classes_have_the_shares_of_real_micrographs(drawn):
    shares = np.array([np.bincount(mask.ravel(), minlength=3) / mask.size for _, mask in drawn])
    assert np.all((shares[:, 2] > 0.01) & (shares[:, 2] < 0.04))
    assert np.all((shares[:, 1] > 0.03) & (shares[:, 1] < 0.25))
    assert shares.mean(axis=0) == pytest.approx([0.86, 0.115, 0.026], abs=0.03)


def test_pictures_are_dark_with_bright_shapes(drawn):
    for image, mask in drawn:
        background = light(image)[mask == 0]
        assert np.median(background) < 50
        assert np.median(light(image)[mask == 2]) > 70 + np.median(background)


def test_filaments_stand_out_of_their_surroundings(drawn):
    for image, mask in drawn:
        bacteria = mask == 2
        near = (
            binary_dilation(bacteria, iterations=9) & ~binary_dilation(bacteria, iterations=4) & (mask == 0)
        )
        core = binary_erosion(bacteria)
        contrast = light(image)[core].mean() - light(image)[near].mean()
        assert contrast > 4 * light(image)[mask == 0].std()


def test_filaments_are_thin_and_long(drawn):
    for _, mask in drawn:
        bacteria = np.pad(mask == 2, 1)
        ridge = distance_transform_edt(bacteria)[bacteria]
        assert ridge.max() < 9  # where some cross
        assert 1.5 < np.percentile(ridge, 90) < 4.5
        largest = max(np.bincount(label(bacteria, np.ones((3, 3)))[0].ravel())[1:])
        assert largest > 20 * 4


def test_rims_are_brighter_than_the_inside_of_cells(drawn):
    for image, mask in drawn:
        depth = distance_transform_edt(np.pad(mask == 1, 1, mode="edge"))[1:-1, 1:-1]
        rim, inside = (depth > 1) & (depth < 4), (depth > 7) & (depth < 11)
        assert light(image)[rim].mean() > 1.5 * light(image)[inside].mean()


def test_inside_of_cells_is_brighter_than_the_background(drawn):
    inside, background = [], []
    for image, mask in drawn:
        depth = distance_transform_edt(mask == 1)
        inside.append(np.median(light(image)[depth > 7]))
        background.append(np.median(light(image)[mask == 0]))
    assert np.all(np.array(inside) > np.array(background) + 5)


def test_debris_is_bright_and_not_labelled():
    specks = 0
    for seed in range(6):
        image, mask = draw(seed)
        far = ~binary_dilation(mask > 0, iterations=12)
        specks += label((light(image) > 60) & far)[1]
    assert specks > 20


def test_pictures_differ_in_light_focus_and_noise(drawn):
    levels = [np.median(image) for image, _ in drawn]
    assert max(levels) > 1.5 * min(levels)
    noise = [np.std(np.diff(image[:, :, 2].astype(float), axis=1)[mask[:, 1:] == 0]) for image, mask in drawn]
    assert max(noise) > 1.5 * min(noise)


@pytest.mark.parametrize(("seed", "size"), [(-1, (8, 8)), (0, (0, 8)), (0, (8, -3))])
def test_what_cannot_be_drawn_is_refused(seed, size):
    with pytest.raises(SettingError, match="cannot be drawn"):
        draw(seed, size)


def test_data_set_has_pairs_palette_and_class_names(tmp_path):
    write_dataset(tmp_path / "new" / "set", 3, size=(40, 48), seed=7)
    folder = tmp_path / "new" / "set"
    assert (folder / "classes.txt").read_text(encoding="utf-8").split() == list(CLASSES)
    names = ["0007.png", "0008.png", "0009.png"]
    assert sorted(path.name for path in (folder / "images").iterdir()) == names
    assert sorted(path.name for path in (folder / "masks").iterdir()) == names
    for seed, name in enumerate(names, 7):
        image, mask = draw(seed, (40, 48))
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / name)), image)
        with Image.open(folder / "masks" / name) as stored:
            assert stored.mode == "P"
            assert stored.getpalette()[:9] == [value for colour in COLOURS for value in colour]
            np.testing.assert_array_equal(np.asarray(stored), mask)


def test_masks_are_read_as_class_indices(tmp_path):
    from unetpp.data.masks import read_mask

    write_dataset(tmp_path, 1, size=(64, 64))
    np.testing.assert_array_equal(read_mask(tmp_path / "masks" / "0000.png", 3), draw(0, (64, 64))[1])


def test_data_set_needs_an_image_and_a_place(tmp_path):
    with pytest.raises(SettingError):
        write_dataset(tmp_path, 0)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError):
        write_dataset(tmp_path / "file", 1, size=(8, 8))
