"""The learning rate that is found is one at which the network learns."""

import numpy as np
import pytest

from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.training.lr_find import HIGHEST, LOWEST, STEPS, find_rate, smoothed, steepest
from unetpp.training.options import Options
from unetpp.training.plan import make_plan

RATES = np.geomspace(1e-6, 1, 601)


@pytest.mark.parametrize("centre", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("steepness", [0.5, 2.0])
def test_the_rate_is_where_a_falling_loss_falls_fastest(centre, steepness):
    """A logistic curve of the logarithm falls fastest at its centre; what rises behind it does not count."""
    losses = 1 / (1 + (RATES / centre) ** steepness) + (RATES / 0.5) ** 4
    assert steepest(RATES, losses) == pytest.approx(centre, rel=0.03)


@pytest.mark.parametrize("centre", [1e-4, 1e-3, 1e-2])
def test_smoothing_does_not_move_the_rate(centre):
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses = 0.2 + 1 / (1 + (rates / centre) ** 2)
    assert steepest(rates, smoothed(losses)) == pytest.approx(centre, rel=0.15)


def test_of_two_falls_the_steeper_one_is_taken():
    losses = 1 / (1 + (RATES / 1e-4) ** 2) + 3 / (1 + (RATES / 1e-2) ** 2)
    assert steepest(RATES, losses) == pytest.approx(1e-2, rel=0.03)


def test_a_network_learns_at_the_rate_that_is_found(tmp_path):
    write_dataset(tmp_path, 4, size=(48, 48))
    given = {"filters": (2, 4), "patch": 32, "batch": 4, "precision": "float32", "augmentation": 0.0}
    done = []
    rates, losses, best = find_rate(
        make_plan(find_samples(tmp_path), Options(**given), CLASSES), step=lambda: done.append(1)
    )
    assert LOWEST == rates[0] < best < rates[-1] <= HIGHEST
    assert len(rates) == len(losses) <= len(done)
    k = int(np.argmin(np.abs(rates - best)))
    slopes = np.diff(losses)
    assert losses[k + 1] < losses[k - 1]
    # A rate at which nothing is learnt yet moves the loss less than the one that is taken.
    assert slopes[k - 1 : k + 1].min() < slopes[:5].min()
