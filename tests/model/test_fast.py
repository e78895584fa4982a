"""The faster layers are Keras' layers."""

import keras
import numpy as np
import pytest
from keras import ops

from unetpp.model.fast import AdamW, BatchNormalization, Conv2D, Conv2DTranspose, Dropout

IMAGES = np.random.default_rng(0).normal(3, 2, (4, 6, 5, 7)).astype(np.float32)


def arrays(variables):
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


@pytest.mark.parametrize("trainable", [True, False])
def test_batch_normalisation_is_that_of_keras_in_values_statistics_and_gradients(trainable):
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 5, 7))
        outputs = keras.layers.Conv2D(2, 3)(
            kind(momentum=0.9, trainable=trainable)(keras.layers.Conv2D(7, 1)(inputs))
        )
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        for _ in range(3):
            loss = model.train_on_batch(IMAGES, np.ones((4, 4, 3, 2), np.float32))
        found.append([np.array(loss), *arrays(model.variables), model.predict(IMAGES, verbose=0)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_convolutions_are_those_of_keras_in_values_and_gradients():
    def network(conv, transposed):
        inputs = keras.Input((6, 5, 7), batch_size=4)
        both = keras.layers.Concatenate(axis=0)([inputs, -inputs])
        a, _ = ops.split(keras.layers.LeakyReLU()(conv(4, 3, padding="same")(both)), 2)
        b = transposed(3, 2, strides=2)(keras.layers.MaxPooling2D(2, padding="same")(a))
        joined = keras.layers.Concatenate()([b[:, :6, :5], a, inputs])
        return keras.Model(inputs, keras.layers.BatchNormalization()(conv(2, 3, padding="same")(joined)))

    found = []
    for kinds in ((Conv2D, Conv2DTranspose), (keras.layers.Conv2D, keras.layers.Conv2DTranspose)):
        keras.utils.set_random_seed(0)
        model = network(*kinds)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses = [model.train_on_batch(IMAGES, IMAGES[..., :2]) for _ in range(3)]
        found.append([np.array(losses), *arrays(model.variables), model.predict(IMAGES, verbose=0)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Conv2D, keras.layers.Conv2D, {"kernel_size": 3, "padding": "same"}),
        (Conv2DTranspose, keras.layers.Conv2DTranspose, {"kernel_size": 2, "strides": 2}),
    ],
)
def test_convolutions_are_those_of_keras_outside_a_graph(ours, theirs, settings):
    ours, theirs = ours(3, **settings), theirs(3, **settings)
    expected = theirs(IMAGES)
    ours.build(IMAGES.shape)
    ours.set_weights(theirs.get_weights())
    found = ours(ops.convert_to_tensor(IMAGES), training=True)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found, expected)), rtol=1e-4, atol=1e-4)


def test_biases_before_a_frozen_normalisation_are_trained():
    inputs = keras.Input((6, 5, 7))
    model = keras.Model(inputs, BatchNormalization(name="n")(Conv2D(2, 3, name="c")(inputs)))
    model.get_layer("n").trainable = False
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(IMAGES, IMAGES[:, :4, :3, :2])
    assert (model.get_layer("c").get_weights()[1] != 0).all()


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"gradient_accumulation_steps": 2}])
def test_adamw_is_that_of_keras(settings):
    found = []
    for kind in (AdamW, keras.optimizers.AdamW):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3), keras.layers.Dense(2)])
        model.compile(kind(0.05, weight_decay=0.1, clipnorm=1.0, **settings), "mse")
        for _ in range(6):
            model.train_on_batch(IMAGES[0, 0], IMAGES[0, 1, :, :2])
        found.append([*arrays(model.variables), *arrays(model.optimizer.variables)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_normalisation_in_half_precision_keeps_its_type(dtype):
    layer = BatchNormalization(dtype=keras.DTypePolicy(f"mixed_{dtype}"))
    found = layer(ops.cast(IMAGES, dtype), training=True)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    values = np.array(ops.convert_to_numpy(ops.cast(found, "float32")))
    np.testing.assert_allclose(values.mean((0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(values.std((0, 1, 2)), 1, atol=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_normalisation_whose_variables_are_of_half_precision_is_that_of_keras(dtype):
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(dtype=dtype, momentum=0.5)
        values = layer(ops.cast(IMAGES, dtype), training=True)
        kept = (values, layer.moving_mean, layer.moving_variance)
        assert {keras.backend.standardize_dtype(each.dtype) for each in kept} == {dtype}
        found.append([np.array(ops.convert_to_numpy(ops.cast(each, "float32"))) for each in kept])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=0.05)


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
