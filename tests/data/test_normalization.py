"""Every image reaches the network in the scale it was trained in."""

import numpy as np

from unetpp.data.normalization import FLOOR, Normalization, from_moments

rng = np.random.default_rng(0)


def of_images(images, **options):
    return from_moments([i.mean((0, 1)) for i in images], [(i**2).mean((0, 1)) for i in images], **options)


def test_a_data_set_gets_mean_zero_and_deviation_one():
    images = rng.normal((0.2, 0.7), (0.1, 0.3), (5, 30, 40, 2))
    normalised = of_images(images)(images)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), 1, rtol=1e-5)


def test_images_that_differ_more_than_their_pixels_are_normalised_each():
    alike = rng.normal(0.5, 0.1, (6, 20, 20, 1))
    unlike = np.concatenate([alike * 0.1, 0.9 - alike * 0.1])
    assert not of_images(alike).per_image
    assert of_images(unlike).per_image
    assert not of_images(unlike, per_image=False).per_image


def test_per_image_undoes_light_and_gain():
    image = rng.random((30, 30, 3)).astype(np.float32)
    normalization = Normalization((0.5,) * 3, (0.3,) * 3, per_image=True)
    plain, dark = image, 0.2 * image + 0.1
    np.testing.assert_allclose(normalization.of(plain)(plain), normalization.of(dark)(dark), atol=1e-4)


def test_noise_in_an_empty_image_stays_small():
    empty = 0.02 + rng.normal(0, 1e-4, (50, 50, 1))
    normalization = Normalization((0.5,), (0.25,), per_image=True)
    assert np.abs(normalization.of(empty)(empty)).max() < 0.1
    assert normalization.of(empty).std == (FLOOR * 0.25,)


def test_the_normalisation_of_a_data_set_ignores_the_image():
    normalization = Normalization((0.5,), (0.25,))
    assert normalization.of(rng.random((4, 4, 1))) is normalization
