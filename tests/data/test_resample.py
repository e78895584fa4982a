"""At what size the network sees an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetpp.data.resample import Scaling, measure_scaling, resize_image, resize_labels


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_long_side_is_what_it_shall_be_and_the_shape_stays(height, width):
    found = Scaling(512).size((height, width))
    assert max(found) == 512
    assert abs(found[0] * width - found[1] * height) <= max(height, width) or 1 in found


@given(side=st.integers(1, 3000))
def test_without_a_long_side_images_stay_as_they_are(side):
    assert Scaling().size((side, 7)) == (side, 7)


def test_the_objects_of_a_mosaic_are_as_large_as_in_training():
    scaling = measure_scaling([(400, 800), (600, 1000), (512, 512)], 400)
    assert scaling == Scaling(400, 1000, 0.5)
    assert scaling.size((1800, 2000)) == (360, 400)
    assert scaling.size((1800, 2001)) == (900, 1000)


@pytest.mark.parametrize("size", [(3, 5), (8, 8), (1, 1)])
def test_labels_are_never_blended(size):
    labels = np.array([[0, 7], [7, 0]], np.uint8)
    assert set(np.unique(resize_labels(labels, size))) <= {0, 7}


def test_a_constant_image_stays_constant():
    image = np.full((7, 9, 3), (1.0, 2.0, 3.0), np.float32)
    np.testing.assert_allclose(
        resize_image(image, (20, 4)), np.broadcast_to([1.0, 2.0, 3.0], (20, 4, 3)), rtol=1e-6
    )
