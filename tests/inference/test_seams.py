"""What a network that knows seams says of the classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unetpp.analysis.separate import separate
from unetpp.analysis.uncertainty import entropy, uncertainty
from unetpp.data.normalization import Normalization
from unetpp.inference.predict import Ensemble, Predictor, to_labels
from unetpp.inference.seams import close_seams, label_seams


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


def test_how_sure_it_is_may_be_asked_without_another_answer():
    rng = np.random.default_rng(0)

    def views(count):
        """An engine that says something else of each view."""
        return lambda images: rng_of(images).dirichlet(np.ones(count), images.shape[:3]).astype(np.float32)

    def rng_of(images):
        return np.random.default_rng(int(1000 * images[0, 0, 0, 0]))

    image = rng.integers(0, 256, (32, 32, 1), np.uint8)
    as_it_is = Normalization((0.0,), (1.0,))
    knowing = Predictor(views(4), as_it_is, symmetries=8, seams=True)
    for predictor in (knowing, Ensemble((Predictor(views(3), as_it_is, symmetries=8), knowing))):
        found, (spread, disagreement) = uncertainty(predictor.members(image), predictor.closed)
        np.testing.assert_allclose(found, predictor(image), atol=1e-6)
        np.testing.assert_allclose(spread, entropy(predictor(image)), atol=1e-5)
        assert disagreement.max() > 0.1


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5), scale=st.floats(0.1, 10))
def test_a_label_of_seams_lies_where_its_class_will(seed, classes, scale):
    rng = np.random.default_rng(seed)
    given_ = rng.dirichlet(np.full(classes + 1, 0.5), 50)
    labels, closed = label_seams(scale * given_), close_seams(given_[None].astype(np.float32))[0].argmax(-1)
    seam = labels == classes
    assert np.array_equal(labels[~seam], closed[~seam])
    assert (closed[seam] > 0).all()
    assert (given_[seam, -1] > given_[seam, 1:-1].max(-1)).all()


def one_of(*outputs):
    """A network that gives the same everywhere, in turn."""
    left = iter(outputs)
    return lambda images: np.broadcast_to(np.float32(next(left)), (1, 32, 32, len(outputs[0])))


def test_one_view_that_differs_opens_no_seam():
    views = [(0.03, 0.02, 0.95)] * 7 + [(0.6, 0.35, 0.05)]
    predictor = Predictor(one_of(*views), Normalization((0.0,), (1.0,)), symmetries=8, seams=True)
    assert (predictor.labels(np.zeros((32, 32, 1), np.uint8)) == 1).all()


def test_a_model_that_knows_seams_is_averaged_with_one_that_does_not():
    scale = Normalization((0.0,), (1.0,))
    knows = Predictor(one_of((0.1, 0.1, 0.8)), scale, seams=True)
    other = Predictor(one_of((0.3, 0.7)), scale)
    found = Ensemble((knows, other))(np.zeros((32, 32, 1), np.uint8))
    # Of 0.2, 0.4 and 0.4 half the foreground is seam: half the lead of 0.6 is left.
    np.testing.assert_allclose(found, np.broadcast_to([0.35, 0.65], (32, 32, 2)), atol=1e-6)
