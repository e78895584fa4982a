"""Any image in, probabilities at its own size out."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unetpp import UNetPP
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.errors import ImageError
from unetpp.inference.engine import keras_engine
from unetpp.inference.padding import crop_middle, pad_by_reflection
from unetpp.inference.predict import Predictor, to_labels

PLAIN = Normalization((0.0,), (1.0,))


def pointwise(images):
    """An engine whose answer at a pixel depends on this pixel alone."""
    return np.stack([images[..., 0], 1 - images[..., 0]], axis=-1)


@settings(deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), tile=st.sampled_from([16, 32]))
def test_a_pointwise_network_sees_every_pixel_where_it_is(height, width, tile):
    image = np.random.default_rng(height * 71 + width).random((height, width, 1), np.float32)
    predictor = Predictor(pointwise, PLAIN, multiple=8, tile=tile, overlap=5)
    np.testing.assert_allclose(predictor(image)[..., 0], image[..., 0], atol=1e-6)


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_padding_is_undone_by_cropping(height, width):
    image = np.random.default_rng(0).random((height, width, 2))
    padded = pad_by_reflection(image, (33, 17))
    assert padded.shape[0] >= 33
    assert padded.shape[1] >= 17
    np.testing.assert_array_equal(crop_middle(padded, (height, width)), image)


def test_normalisation_is_that_of_the_bundle():
    seen = []

    def engine(images):
        seen.append(images)
        return pointwise(images)

    image = np.full((8, 8, 2), (51, 255), np.uint8)
    Predictor(engine, Normalization((0.1, 0.5), (0.1, 0.25)), multiple=8)(image)
    np.testing.assert_allclose(seen[0][0, 0, 0], [(0.2 - 0.1) / 0.1, (1 - 0.5) / 0.25], rtol=1e-5)


def test_an_image_may_be_lists_of_numbers():
    image = np.random.default_rng(0).random((8, 8, 1), np.float32)
    predictor = Predictor(pointwise, PLAIN, multiple=8)
    for found in (predictor(image.tolist()), *predictor.members(image.tolist())):
        np.testing.assert_allclose(found, predictor(image), atol=1e-6)


DIM = np.linspace(50, 225, 64, dtype=np.uint16).reshape(8, 8, 1)
# With a hot pixel, and a white scale bar.
MARKED = np.tile(DIM, (16, 16, 1))
MARKED[3, 5], MARKED[-4:-1, 20:60] = 40_000, 65_535


@pytest.mark.parametrize(
    ("image", "normalization", "saying"),
    [
        (DIM, Normalization((0.2,), (0.25,), per_image=True, bits=8), "16-bit values is 225"),
        (DIM, Normalization((0.2,), (0.1,), bits=8), "16-bit values is 225"),
        (DIM * np.uint16(70), Normalization((0.2,), (0.1,), bits=8), "16-bit values is 15750"),
        (MARKED, Normalization((0.2,), (0.1,), bits=8), "16-bit values is 225"),
        (MARKED.astype(">u2"), Normalization((0.2,), (0.1,), bits=8), "16-bit values is 225"),
        (DIM / 255e3, Normalization((0.2,), (0.1,), per_image=True, bits=8), "are not of the model's kind"),
        (DIM.astype(np.float32), Normalization((0.2,), (0.1,)), "50 to 225, are not of the model's kind"),
        (
            DIM.astype(np.uint8),
            Normalization((0.03,), (0.01,), bits=16),
            "0.196 to 0.882, are not of the model's kind",
        ),
        (DIM.astype(np.int32), Normalization((0.2,), (0.1,)), "50 to 225"),
    ],
)
def test_numbers_of_another_kind_than_the_model_s_are_refused(image, normalization, saying):
    predictor = Predictor(pointwise, normalization, multiple=8)
    with pytest.raises(ImageError, match=saying):
        predictor(image)
    with pytest.raises(ImageError, match=saying):
        predictor.for_regions((8, 8), image[None])


@pytest.mark.parametrize(
    ("image", "normalization"),
    [
        (DIM, Normalization((0.002,), (0.001,), bits=16)),
        # A blank image among those that the model has learnt from, or of a model that does not say from what.
        (DIM, Normalization((0.2,), (0.1,), bits=16)),
        (DIM, Normalization((0.2,), (0.1,))),
        (DIM * np.uint16(200), Normalization((0.2,), (0.1,), bits=8)),
        (DIM.astype(np.float32) / 255, Normalization((0.2,), (0.1,), per_image=True, bits=8)),
        # Of 12 bits, normalised by itself.
        (DIM * np.uint16(16), Normalization((0.01,), (0.2,), per_image=True, bits=8)),
        (np.zeros((8, 8, 1), np.uint8), Normalization((0.5,), (0.01,), bits=8)),
        (DIM.astype(np.float32), Normalization((0.2,), (0.1,), per_image=True)),
        (DIM.astype(np.float32), Normalization((150.0,), (70.0,))),
        (DIM.astype(np.float32) / 255, Normalization((0.2,), (0.1,))),
    ],
)
def test_dark_images_and_the_model_s_own_kind_of_numbers_are_taken(image, normalization):
    assert np.isfinite(Predictor(pointwise, normalization, multiple=8)(image)).all()


@pytest.mark.parametrize("per_image", [True, False])
def test_a_dark_or_even_region_of_an_image_is_taken(per_image):
    model = Normalization((0.2,), (0.1,), per_image, bits=8)
    sample = np.stack([DIM, DIM * np.uint16(200)])
    regions = Predictor(pointwise, model, multiple=8).for_regions((16, 8), sample)
    assert np.isfinite(regions(DIM)).all()
    if per_image:
        flat = np.full((64, 8, 8, 1), 0.015, np.float32)
        flat[0, :4] = 0.02
        regions = Predictor(pointwise, model, multiple=8).for_regions((64, 64), flat)
        assert np.isfinite(regions(np.full((8, 8, 1), 0.35, np.float32))).all()


def test_regions_are_normalised_as_the_whole_image_is_at_working_size():
    noisy = np.random.default_rng(0).normal(120, 40, (256, 256, 1)).clip(0, 255).astype(np.uint8)
    predictor = Predictor(pointwise, Normalization((0.5,), (0.2,), per_image=True), Scaling(scale=0.25))
    parts = noisy.reshape(8, 32, 8, 32, 1).swapaxes(1, 2).reshape(64, 32, 32, 1)
    found = predictor.for_regions((256, 256), parts).normalization
    whole = predictor.normalization.of(predictor.resized(noisy))
    assert found.std[0] == pytest.approx(whole.std[0], rel=0.1)
    assert found.mean[0] == pytest.approx(whole.mean[0], abs=0.005)


@pytest.mark.parametrize(
    ("image", "saying"),
    [
        (np.full((8, 8, 1), np.nan, np.float32), "NaN or infinite"),
        (np.zeros((8, 8), np.uint8), "the image is 8 x 8, not height x width x channels"),
        (np.zeros((1, 8, 8, 1), np.uint8), "1 x 8 x 8 x 1"),
        (np.zeros((0, 8, 1), np.uint8), "0 x 8 x 1"),
    ],
)
def test_arrays_that_are_no_image_are_refused(image, saying):
    with pytest.raises(ImageError, match=saying):
        Predictor(pointwise, PLAIN, multiple=8)(image)


def test_pillow_s_images_and_lists_are_arrays_too():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = np.stack([image] * 3, -1)
    predictor = Predictor(pointwise, Normalization((0.0,) * 3, (1.0,) * 3), multiple=8)
    np.testing.assert_array_equal(predictor(Image.fromarray(colours)), predictor(colours))


def test_the_long_side_is_scaled_for_the_network_and_back():
    sizes = []

    def engine(images):
        sizes.append(images.shape[1:3])
        return pointwise(images)

    found = Predictor(engine, PLAIN, scaling=Scaling(64), multiple=32, tile=64)(
        np.zeros((300, 200, 1), np.uint8)
    )
    assert sizes == [(64, 64)]
    assert found.shape == (300, 200, 2)


def test_tiled_and_whole_predictions_agree():
    # Of some first weights, two classes are all but alike everywhere, or one is found alone.
    keras.utils.set_random_seed(0)
    model = UNetPP((None, None, 3), filters=(4, 8, 16))
    rows, columns = np.mgrid[:300, :420]
    wave = 127 + 60 * np.sin(rows / 17) + 60 * np.cos(columns / 23)
    image = np.stack([wave, wave[::-1], wave[:, ::-1]], -1).astype(np.uint8)
    options = {"engine": keras_engine(model), "normalization": Normalization((0.5,) * 3, (0.25,) * 3)}
    whole = Predictor(**options, tile=448).labels(image)
    tiled = Predictor(**options, tile=192, overlap=64).labels(image)
    assert len(np.unique(whole)) > 1
    assert (whole == tiled).mean() >= 0.999


def test_a_single_channel_is_foreground_from_one_half_on():
    np.testing.assert_array_equal(to_labels(np.array([[[0.49], [0.5]]])), [[0, 1]])


def test_the_most_probable_class_is_that_of_argmax_also_where_classes_tie():
    probabilities = np.random.default_rng(0).integers(0, 4, (30, 40, 5)) / 4
    np.testing.assert_array_equal(to_labels(probabilities), probabilities.argmax(-1))


def test_wrong_channels_are_refused_with_both_numbers():
    with pytest.raises(ImageError, match=r"5 channels.* 3"):
        Predictor(pointwise, Normalization((0.0,) * 3, (1.0,) * 3))(np.zeros((8, 8, 5), np.uint8))
