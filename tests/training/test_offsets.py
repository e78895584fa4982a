"""How readily each class is found is chosen by what it gains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetpp.analysis.scores import scores
from unetpp.data.normalization import Normalization
from unetpp.inference.engine import keras_engine
from unetpp.inference.predict import Predictor
from unetpp.model.unetpp import UNetPP
from unetpp.training.offsets import TRIED, add_offsets, best_offsets, logits_of, value
from unetpp.training.patches import Picture


def random_logits(seed, classes, n=400):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.r_[0.8, np.full(classes - 1, 0.2 / (classes - 1))])
    return rng.normal(0, 1, (n, classes)) + 2 * np.eye(classes)[truth], truth


@given(seed=st.integers(0, 200))
def test_of_two_classes_the_best_of_all_that_is_tried_is_found(seed):
    logits, truth = random_logits(seed, 2)
    reached = value(logits + best_offsets(logits, truth), truth)
    everything = [value(logits + np.array([0, step]), truth) for step in (0, *TRIED)]
    assert reached == max(everything)


@given(seed=st.integers(0, 200), classes=st.integers(2, 5))
def test_offsets_never_cost_what_they_are_chosen_by(seed, classes):
    logits, truth = random_logits(seed, classes)
    offsets = best_offsets(logits, truth)
    assert offsets[0] == 0
    assert value(logits + offsets, truth) >= value(logits, truth)


def test_where_a_class_is_nowhere_it_is_not_called_up():
    logits = np.tile([0.5, 0.0], (100, 1))
    assert best_offsets(logits, np.zeros(100, int)).tolist() == [0, 0]


def test_what_is_hardly_known_is_not_found_everywhere():
    """That would have the IoU of its share, which is higher than none."""
    rng = np.random.default_rng(0)
    truth = (rng.random(10_000) < 0.1).astype(int)
    logits = np.stack([np.zeros(10_000), rng.normal(-0.8, 0.1, 10_000)], 1)
    assert best_offsets(logits, truth).tolist() == [0, 0]


def test_the_measure_is_the_mean_iou_of_all_classes():
    logits, truth = random_logits(1, 3)
    table = np.zeros((3, 3), int)
    np.add.at(table, (truth, logits.argmax(1)), 1)
    figures = scores(table, ("a", "b", "c"), 1)["classes"]
    assert value(logits, truth) == pytest.approx(np.mean([figures[name]["iou"] for name in "abc"]))


def test_a_class_that_was_shown_too_often_is_found_less_readily():
    """Posteriors under even priors, of images where class 1 is rare: Bayes gives the offset."""
    rng = np.random.default_rng(0)
    truth = (rng.random(200_000) < 0.05).astype(int)
    x = rng.normal(truth * 2.0, 1)
    even = np.stack([np.zeros_like(x), 2 * x - 2], 1)
    offset = best_offsets(even, truth)[1]
    assert np.log(0.05 / 0.95) - 0.3 < offset < -0.5


def test_a_network_s_heads_take_the_offsets():
    model = UNetPP((None, None, 3), 3, filters=(2, 4, 4), deep_supervision=True)
    image = np.random.default_rng(0).normal(0, 1, (16, 24, 3)).astype(np.float32)
    picture = Picture(image, np.zeros((16, 24), np.uint8), ())
    predictor = Predictor(keras_engine(model), Normalization((0.0,) * 3, (1.0,) * 3), multiple=4)
    before, _ = logits_of(predictor, [picture])
    offsets = np.array([0, -0.5, 1.5], np.float32)
    add_offsets(model, offsets)
    after, truth = logits_of(Predictor(keras_engine(model), predictor.normalization, multiple=4), [picture])
    moved = before + offsets
    np.testing.assert_allclose(after, moved - np.log(np.exp(moved).sum(1, keepdims=True)), atol=1e-4)
    assert truth.shape == (16 * 24,)
