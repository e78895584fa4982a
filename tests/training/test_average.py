"""The moving average of the weights."""

import keras
import numpy as np

from unetpp.training.average import Average
from unetpp.training.checkpoints import Progress


def test_a_step_leaves_the_average_before_it_as_it_was():
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), layer])
    progress = Progress()
    average = Average(progress, model, [])
    average.set_model(model)
    layer.kernel.assign(np.zeros((3, 2)))
    average.on_train_batch_end(0)
    former = progress.average
    layer.kernel.assign(np.ones((3, 2)))
    average.on_train_batch_end(1)
    assert (former[0] == 0).all()
    # After two steps the average has gone 1 - 3 / 12 of the way.
    np.testing.assert_allclose(progress.average[0], 0.75)
