"""Sure is 0, a guess is 1, and only members that differ disagree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unetpp.analysis.uncertainty import entropy, uncertainty


@given(classes=st.integers(2, 6), seed=st.integers(0, 99))
def test_entropy_is_scipy_s_as_a_share_of_the_most(classes, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(classes), (4, 5)).astype(np.float32)
    np.testing.assert_allclose(entropy(p), stats.entropy(p, axis=-1) / np.log(classes), atol=1e-5)


def test_a_single_foreground_probability_counts_as_two_classes():
    np.testing.assert_allclose(entropy(np.array([[0.5], [1.0], [0.0]])), [1, 0, 0])


@given(members=st.integers(1, 5))
def test_members_that_agree_have_no_disagreement(members):
    p = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5)).astype(np.float32)
    mean, (spread, disagreement) = uncertainty([p] * members)
    np.testing.assert_allclose(mean, p, atol=1e-6)
    np.testing.assert_allclose(spread, entropy(p), atol=1e-5)
    np.testing.assert_allclose(disagreement, 0, atol=1e-5)


def test_sure_members_that_contradict_one_another_disagree_wholly():
    first = np.array([[[1.0, 0.0]]], np.float32)
    mean, (spread, disagreement) = uncertainty([first, first[..., ::-1]])
    assert mean.tolist() == [[[0.5, 0.5]]]
    assert spread == pytest.approx(1)
    assert disagreement == pytest.approx(1)
