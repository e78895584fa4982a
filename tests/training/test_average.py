"""The moving average of the weights."""

import keras
import numpy as np
import pytest

from unetpp import UNetPP
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


def test_statistics_are_the_means_of_those_of_each_batch():
    rng = np.random.default_rng(0)
    batches = [rng.normal(k, 1 + k, (4, 8, 8, 2)).astype(np.float32) for k in range(3)]
    layer = keras.layers.BatchNormalization(momentum=0.9)
    twin = keras.Sequential([keras.Input((8, 8, 2)), layer])
    average = Average(Progress(average=[np.ones(2), np.zeros(2)]), twin, batches)
    average.set_model(keras.models.clone_model(twin))
    for _ in range(2):  # what was measured before leaves no trace
        average.applied()
        means, variances = zip(*((b.mean((0, 1, 2)), b.var((0, 1, 2))) for b in batches), strict=True)
        np.testing.assert_allclose(layer.moving_mean, np.mean(means, 0), rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, np.mean(variances, 0), rtol=1e-5)
    assert layer.momentum == 0.9


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles operation by operation")
def test_jax_compiles_what_measures_statistics_as_one_and_once():
    import jax

    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    model, twin = (UNetPP((16, 16, 1), 2, filters=(2, 4, 8)) for _ in range(2))
    batches = [np.random.default_rng(k).random((2, 16, 16, 1), np.float32) for k in range(3)]
    average = Average(Progress(average=[np.array(v) for v in model.trainable_variables]), twin, batches)
    average.set_model(model)
    compiled.clear()
    average.applied()
    assert sum("backend_compile" in name for name in compiled) == 1
    compiled.clear()
    average.applied()
    assert not compiled
