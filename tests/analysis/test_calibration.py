"""Calibration, against scikit-learn and a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from unetpp.analysis.calibration import BINS, expected_calibration_error, reliability


def drawn(seed, classes=3, shape=(20, 30)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (*shape, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return rng.integers(0, classes, shape), probabilities


@given(st.integers(0, 1000))
def test_curves_agree_with_scikit_learn(seed):
    truth, probabilities = drawn(seed)
    counts = reliability(truth, probabilities)
    best = probabilities.argmax(-1)
    sides = [(best == truth, probabilities.max(-1)), *((truth == k, probabilities[..., k]) for k in range(3))]
    for found, (came, chance) in zip(counts, sides, strict=True):
        frequency, mean = calibration_curve(came.ravel(), chance.ravel(), n_bins=BINS)
        pixels, chances, true = found[found[:, 0] > 0].T
        np.testing.assert_allclose(true / pixels, frequency)
        np.testing.assert_allclose(chances / pixels, mean)


@given(st.integers(0, 1000))
def test_the_error_is_that_of_a_loop(seed):
    truth, probabilities = drawn(seed)
    confidence, right = probabilities.max(-1).ravel(), (probabilities.argmax(-1) == truth).ravel()
    total = 0.0
    for k in range(BINS):
        within = (confidence >= k / BINS) & (confidence < (k + 1) / BINS)
        if within.any():
            total += within.mean() * abs(right[within].mean() - confidence[within].mean())
    assert expected_calibration_error(reliability(truth, probabilities))[0] == pytest.approx(total)


def test_what_is_right_as_often_as_it_says_has_no_error_and_what_is_sure_and_wrong_has_all():
    truth = np.array([[0] * 7 + [1] * 3])
    says = np.broadcast_to([0.7, 0.3], (1, 10, 2))
    np.testing.assert_allclose(expected_calibration_error(reliability(truth, says)), 0, atol=1e-12)
    sure = np.broadcast_to([0.0, 1.0], (1, 5, 2))
    assert expected_calibration_error(reliability(np.zeros((1, 5), int), sure))[0] == 1


def test_no_pixels_have_no_error():
    found = reliability(np.zeros((0, 4), int), np.zeros((0, 4, 2)))
    assert np.isnan(expected_calibration_error(found)).all()
