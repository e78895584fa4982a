"""The faster layers are Keras' layers."""

import keras
import numpy as np
import pytest
from keras import ops

from unetpp.model.fast import BatchNormalization, Dropout

IMAGES = np.random.default_rng(0).normal(3, 2, (4, 6, 5, 7)).astype(np.float32)


def arrays(variables):
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def test_batch_normalisation_is_that_of_keras_in_values_statistics_and_gradients():
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 5, 7))
        outputs = keras.layers.Conv2D(2, 3)(kind(momentum=0.9)(keras.layers.Conv2D(7, 1)(inputs)))
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        for _ in range(3):
            loss = model.train_on_batch(IMAGES, np.ones((4, 4, 3, 2), np.float32))
        found.append([np.array(loss), *arrays(model.variables), model.predict(IMAGES, verbose=0)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_normalisation_in_half_precision_keeps_its_type(dtype):
    layer = BatchNormalization(dtype=keras.DTypePolicy(f"mixed_{dtype}"))
    found = layer(ops.cast(IMAGES, dtype), training=True)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    values = np.array(ops.convert_to_numpy(ops.cast(found, "float32")))
    np.testing.assert_allclose(values.mean((0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(values.std((0, 1, 2)), 1, atol=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.75])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = np.ones((3, 70, 71, 5), np.float32)
    layer = Dropout(rate, seed=1)
    found, again = (np.array(ops.convert_to_numpy(layer(x, training=True))) for _ in range(2))
    assert abs((found == 0).mean() - rate) < 0.01
    np.testing.assert_allclose(found[found > 0], 1 / (1 - rate), rtol=1e-4)
    assert abs(found.mean() - 1) < 0.02
    assert not np.array_equal(found, again)
    # No value tells of its neighbour.
    assert abs(np.corrcoef(found.ravel()[:-1], found.ravel()[1:])[0, 1]) < 0.01
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), x)


def test_over_many_calls_dropout_drops_exactly_its_rate():
    x, layer = np.ones((1, 64, 64, 4), np.float32), Dropout(0.2, seed=3)
    found = [np.mean(ops.convert_to_numpy(layer(x, training=True)) == 0) for _ in range(400)]
    # 51 of 256 in every call would be 0.0008 too few; the mean's standard deviation is below 0.0002.
    assert abs(np.mean(found) - 0.2) < 0.0006


def test_dropout_passes_gradients_only_where_it_kept():
    inputs = keras.Input((40,))
    outputs = Dropout(0.5, seed=2)(keras.layers.Dense(40, use_bias=False, name="d")(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(1.0), lambda y_true, y_pred: ops.sum(y_pred, -1))
    model.get_layer("d").set_weights([np.zeros((40, 40), np.float32)])
    model.train_on_batch(np.ones((1, 40), np.float32), np.zeros((1, 40), np.float32))
    change = -np.array(model.get_layer("d").get_weights()[0])
    assert set(np.round(np.unique(change), 3)) == {0.0, 2.0}
    assert (change == change[:1]).all()
