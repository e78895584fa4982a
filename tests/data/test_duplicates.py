"""What shows one scene is told from what is merely alike."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from unetpp.data.dataset import Sample, find_samples
from unetpp.data.duplicates import SHIFT, SIDE, correlations, duplicate_groups
from unetpp.data.images import write_png

REAL = Path(__file__).parents[3] / "shared" / "data" / "darkfield"
ROWS, COLUMNS = np.mgrid[-1:1:128j, -1:1:128j]
FIELD = ROWS**2 + COLUMNS**2


def cells(seed, side=160):
    """Bright discs on a dim ground."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    light = np.full((side, side), 12.0)
    for y, x, radius in rng.uniform((0, 0, 4), (side, side, 11), (14, 3)):
        light[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.uniform(60, 200)
    return gaussian_filter(light, 1).astype(np.uint8)


def as_jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def with_noise(image):
    return (image + np.random.default_rng(9).normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


ALTERED = {
    "jpeg": as_jpeg,
    "noise": with_noise,
    "brighter": lambda image: (image * 1.25 + 8).clip(0, 255).astype(np.uint8),
    "smaller": lambda image: np.asarray(Image.fromarray(image).resize((90, 70))),
    "mirrored": lambda image: image[:, ::-1],
    "turned": np.rot90,
    "cut": lambda image: image[5:-5, 3:],
    "shifted": lambda image: image[12:, :-9],
}


def groups_of(folder, images):
    for k, image in enumerate(images):
        write_png(folder / f"{k}.png", np.ascontiguousarray(image))
    names = [str(k) for k in range(len(images))]
    return duplicate_groups([Sample(n, folder / f"{n}.png", folder / f"{n}.png") for n in names])


@pytest.mark.parametrize("how", ALTERED)
def test_a_scene_is_known_again_however_it_was_altered(how, tmp_path):
    scenes = [cells(seed) for seed in range(12)]
    groups = groups_of(tmp_path, [*scenes, ALTERED[how](scenes[4])])
    assert groups[12] == groups[4]
    assert len(set(groups)) == 12


def background_of_an_eye(rng):
    field = (FIELD < 0.9) * (
        90 + 30 * ROWS * rng.normal() + 100 * gaussian_filter(rng.normal(size=FIELD.shape), 6)
    )
    disc = 90 * np.exp(-60 * ((ROWS - 0.1 * rng.normal()) ** 2 + (COLUMNS - 0.4 - 0.05 * rng.normal()) ** 2))
    return field + disc


def one_cell(rng):
    return 200 * np.exp(
        -rng.uniform(8, 20) * ((ROWS - rng.normal() / 3) ** 2 + (COLUMNS - rng.normal() / 3) ** 2)
    )


def rods_in_a_lit_circle(rng):
    light = 120 * np.exp(-FIELD)
    for row, column in rng.integers(5, 118, (6, 2)):
        light[row : row + 4, column : column + 4] += 80
    return light


@pytest.mark.parametrize("draw", [background_of_an_eye, one_cell, rods_in_a_lit_circle])
def test_images_that_are_all_alike_are_no_duplicates(draw, tmp_path):
    rng = np.random.default_rng(1)
    images = [(draw(rng) + rng.normal(10, 2, FIELD.shape)).clip(0, 255).astype(np.uint8) for _ in range(30)]
    groups = groups_of(tmp_path, [*images, images[7]])
    assert groups[30] == groups[7]
    assert len(set(groups)) > 25


def test_a_shift_s_correlation_is_that_of_what_overlaps():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(SIDE + 7, SIDE + 11)).astype(np.float32)
    pair = np.stack([wide[:SIDE, :SIDE], wide[7:, 11:]])
    laid, moved = correlations(pair)
    assert moved[1, 0] == pytest.approx(1, abs=1e-4)
    assert abs(laid[1, 0] / np.prod(np.linalg.norm(pair, axis=(1, 2)))) < 0.1
    # Beyond the largest shift it is not found.
    wide = rng.normal(size=(SIDE + SHIFT + 3, SIDE)).astype(np.float32)
    assert correlations(np.stack([wide[:SIDE], wide[-SIDE:]]))[1][1, 0] < 0.5


@pytest.mark.skipif(not REAL.is_dir(), reason="the real micrographs are not part of the project")
def test_the_micrographs_that_occur_twice_are_found():
    samples = find_samples(REAL)
    groups = dict(zip([sample.stem for sample in samples], duplicate_groups(samples), strict=True))
    # The first two pairs are copies, the others frames of one scene, cut and shifted.
    for stem, again in (("071", "073"), ("263", "331"), ("228", "230"), ("258", "329"), ("004", "005")):
        assert groups[stem] == groups[again]
    assert len(set(groups.values())) == 281
