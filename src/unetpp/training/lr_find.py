"""The learning rate at which the loss falls fastest."""

from collections.abc import Callable

import keras
import numpy as np

from unetpp.training import fit, network
from unetpp.training.batches import Batches
from unetpp.training.patches import Sampler
from unetpp.training.plan import Plan

STEPS, LOWEST, HIGHEST = 100, 1e-6, 1.0
# The share of the last loss in its moving average, and the rise above the least at which to stop.
SHARE, RISE = 0.1, 4.0


def find_rate(plan: Plan, *, step: Callable[[], None] = lambda: None, warn: Callable[[str], None] = print):
    """Train for `STEPS` at rates that rise from `LOWEST` to `HIGHEST`, and stop where the loss explodes.

    Args:
        plan: of the run.
        step: called after each step.
        warn: is told of images that cannot be read.

    Returns:
        rates and smoothed losses, (n,) arrays, and the rate to take: where the smoothed loss falls fastest.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.
    """
    options = plan.options
    keras.utils.set_random_seed(options.seed)
    _, pictures = fit.load_pictures(plan.train, plan, warn)
    sampler = Sampler(pictures, options.patch, focus=options.focus, strength=options.augmentation)
    batches = Batches(sampler, options, STEPS)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    with network.precision(options.precision):
        model = network.build(plan)
        network.take_start_weights(model, plan)
        losses: list[float] = []
        found: list[float] = []
        for k, rate in enumerate(rates):
            model.optimizer.learning_rate = rate
            loss = float(model.train_on_batch(*batches[k]))
            step()
            smooth = losses[-1] + SHARE * (loss - losses[-1]) if losses else loss
            if not np.isfinite(loss) or smooth > RISE * min([*losses, loss]):
                break
            losses.append(smooth)
            found.append(loss)
    rates, measured = rates[: len(found)], smoothed(np.array(found))
    return rates, measured, steepest(rates, measured)


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Moving averages from both ends, and their mean: from one alone, it would lag behind.

    >>> smoothed(np.arange(99.0))[49]
    49.0
    """
    both = []
    for values in (losses, losses[::-1]):
        average = [*values[:1]]
        for value in values[1:]:
            average.append(average[-1] + SHARE * (value - average[-1]))
        both.append(np.array(average))
    return (both[0] + both[1][::-1]) / 2


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate at which losses fall fastest by the rate's logarithm.

    Example:
        >>> rates = np.geomspace(1e-5, 1, 51)
        >>> round(steepest(rates, 1 / (1 + (rates / 1e-3) ** 2)), 4)
        0.001
    """
    if len(rates) < 3:
        return float(rates[0])
    return float(rates[np.argmin(np.gradient(losses, np.log(rates)))])
