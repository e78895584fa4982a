"""What a network that knows seams says of the classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unetpp.analysis.separate import separate
from unetpp.data.normalization import Normalization
from unetpp.inference.predict import Predictor, to_labels
from unetpp.inference.seams import close_seams


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5))
def test_the_likeliest_class_is_that_of_class_and_seam_together(seed, classes):
    rng = np.random.default_rng(seed)
    given_ = rng.dirichlet(np.full(classes + 1, 0.5), (6, 7)).astype(np.float32)
    found = close_seams(given_)
    together = given_[..., :-1].copy()
    for place in np.ndindex(6, 7):
        likeliest = 1 + given_[(*place, slice(1, classes))].argmax()
        together[(*place, likeliest)] += given_[(*place, -1)]
    ordered = np.sort(together, -1)
    clear = ordered[..., -1] - ordered[..., -2] > 1e-4
    assert np.array_equal(to_labels(found)[clear], together.argmax(-1)[clear])
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert found.min() >= 0


def test_without_a_seam_nothing_changes_and_it_lowers_the_lead_by_its_share():
    plain = np.array([[[0.2, 0.8, 0.0]]], np.float32)
    np.testing.assert_allclose(close_seams(plain), plain[..., :2], atol=1e-7)
    # Of q = (0.2, 0.8) the seam has a half of 0.8, so a half of the lead of 0.6 is left.
    half = np.array([[[0.2, 0.4, 0.4]]], np.float32)
    np.testing.assert_allclose(close_seams(half), [[[0.35, 0.65]]], atol=1e-6)


def test_where_the_background_is_likeliest_a_seam_changes_no_label():
    found = close_seams(np.array([[[0.6, 0.1, 0.3]]], np.float32))
    np.testing.assert_allclose(found, [[[0.6, 0.4]]], atol=1e-6)


def test_a_seam_takes_apart_what_has_no_neck():
    chances = np.zeros((1, 32, 64, 3), np.float32)
    chances[..., 0] = 1
    chances[:, 8:24, 8:56] = 0, 1, 0
    whole = Predictor(lambda image: chances, Normalization((0.0,), (1.0,)), seams=True)
    image = np.zeros((32, 64, 1), np.uint8)
    assert separate(whole.labels(image), split=[1], probabilities=whole(image))[0].max() == 1
    chances[:, 8:24, 30:34] = 0, 0.3, 0.7
    parted = Predictor(lambda image: chances, Normalization((0.0,), (1.0,)), seams=True)
    assert np.array_equal(parted.labels(image), whole.labels(image))
    numbers, _ = separate(parted.labels(image), split=[1], probabilities=parted(image))
    assert numbers.max() == 2
    assert numbers[16, 10] != numbers[16, 54]
