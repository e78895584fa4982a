"""The pieces every network of this package is built from."""

import keras
import numpy as np
from keras import layers, ops

from unetpp.errors import SettingError
from unetpp.model.fast import BatchNormalization, Conv2D, Conv2DTranspose, Dropout

NORMALIZATIONS = ("batch", "group", None)
UPSAMPLINGS = ("transposed", "bilinear")
# Named in each layer: Keras can be set to take images otherwise.
FORMAT = "channels_last"


def block(x, filters, *, activation, dropout, inner_dropout, normalization, regularizer, name):
    """Twice (conv 3x3, normalisation, activation), then dropout: (B, h, w, any) -> (B, h, w, filters)."""
    for half in ("a", "b"):
        x = Conv2D(
            filters,
            3,
            padding="same",
            data_format=FORMAT,
            kernel_regularizer=regularizer,
            name=f"{name}_conv_{half}",
        )(x)
        x = normalize(x, normalization, name=f"{name}_norm_{half}")
        x = activate(x, activation, name=f"{name}_act_{half}")
        if dropout and (half == "b" or inner_dropout):
            x = Dropout(dropout, name=f"{name}_drop_{half}")(x)
    return x


def normalize(x, normalization, *, name):
    """Batch or group normalisation, or none."""
    if normalization == "batch":
        return BatchNormalization(name=name)(x)
    if normalization == "group":
        # The largest group count up to 8 that divides the channels.
        groups = next(g for g in (8, 4, 2, 1) if x.shape[-1] % g == 0)
        return layers.GroupNormalization(groups, name=name)(x)
    return x


def activate(x, activation, *, name):
    """LeakyReLU(0.01) as a layer of its own, any other activation by its Keras name."""
    if activation == "leaky_relu":
        return layers.LeakyReLU(negative_slope=0.01, name=name)(x)
    return layers.Activation(activation, name=name)(x)


def pool(x, *, name):
    """Half the height and width, by the maximum: (B, h, w, C) -> (B, h/2, w/2, C)."""
    return layers.MaxPooling2D(2, data_format=FORMAT, name=name)(x)


def up(x, filters, *, upsampling, regularizer, name):
    """Twice the height and width: (B, h, w, any) -> (B, 2h, 2w, filters)."""
    options = {"data_format": FORMAT, "kernel_regularizer": regularizer, "name": name}
    if upsampling == "transposed":
        return Conv2DTranspose(filters, 2, strides=2, **options)(x)
    x = Bilinear(name=f"{name}_resize")(x)
    return layers.Conv2D(filters, 1, **options)(x)


@keras.saving.register_keras_serializable(package="unetpp")
class Bilinear(layers.Layer):
    """Twice the height and width by bilinear interpolation: (B, h, w, C) -> (B, 2h, 2w, C).

    Keras' own interpolation needs sizes that are known when TensorFlow's graph is made.
    """

    def call(self, x):
        """Repeat each pixel, then average it with its neighbours as 1 : 2 : 1."""
        for axis in (1, 2):
            x = ops.repeat(x, 2, axis=axis)
            x = ops.moveaxis(x, axis, 0)
            x = (ops.concatenate([x[:1], x[:-1]]) + 2 * x + ops.concatenate([x[1:], x[-1:]])) / 4
            x = ops.moveaxis(x, 0, axis)
        return x

    def compute_output_shape(self, input_shape):
        """The shape with height and width doubled where they are known."""
        batch, *sides, channels = input_shape
        return (batch, *(side and 2 * side for side in sides), channels)


def head(x, num_classes, *, name):
    """Class probabilities, in float32 under every precision policy: (B, h, w, any) -> (B, h, w, C)."""
    activation = "sigmoid" if num_classes == 1 else "softmax"
    options = {"data_format": FORMAT, "dtype": "float32", "name": name}
    return layers.Conv2D(num_classes, 1, activation=activation, **options)(x)


def name_of(activation):
    """A built-in function's name, which can be saved; not that of leaky_relu, which has another slope here."""
    name = getattr(activation, "__name__", None)
    if name in (None, "leaky_relu") or getattr(keras.activations, name, None) is not activation:
        return activation
    return name


def plain(config):
    """A configuration with Python's numbers for those of NumPy, which JSON does not know.

    >>> plain({"num_classes": np.uint8(3), "filters": (np.int64(4), 8), "inner_filters": None})
    {'num_classes': 3, 'filters': (4, 8), 'inner_filters': None}
    """

    def number(value):
        return value.item() if isinstance(value, np.generic) else value

    return {
        name: tuple(map(number, value)) if isinstance(value, tuple) else number(value)
        for name, value in config.items()
    }


def check_settings(config):
    """Refuse a configuration no network can be built from.

    Raises:
        SettingError: naming the setting, its value and what it may be.
    """
    shape, filters = config["input_shape"], config["filters"]
    problems = {
        "input_shape": len(shape) != 3
        or not _positive(shape[2])
        or not all(side is None or _positive(side) for side in shape[:2]),
        "num_classes": not _positive(config["num_classes"]),
        "filters": not 2 <= len(filters) <= 6 or not all(map(_positive, filters)),
        "inner_filters": not (
            config.get("inner_filters") in (None, "level") or _positive(config["inner_filters"])
        ),
        "activation": not _known(config["activation"]),
        "dropout": not 0 <= config["dropout"] < 1,
        "normalization": config["normalization"] not in NORMALIZATIONS,
        "upsampling": config["upsampling"] not in UPSAMPLINGS,
    }
    for setting in (name for name, wrong in problems.items() if wrong):
        raise SettingError(f"{setting} cannot be {config[setting]!r}", mend=f"give {_ALLOWED[setting]}")


def _positive(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _known(activation):
    """Whether Keras has it by name; None is no activation."""
    try:
        return activation is None or (
            isinstance(activation, str) and keras.activations.get(activation) is not None
        )
    except ValueError:
        return False


_ALLOWED = {
    "input_shape": "(height, width, channels), where height and width may be None",
    "num_classes": "1 (sigmoid) or the number of classes with the background (softmax)",
    "filters": "2 to 6 positive whole numbers, one a level",
    "inner_filters": 'a positive whole number, "level", or None for filters[0]',
    "activation": 'the name of a Keras activation, such as "relu", or "leaky_relu" of slope 0.01',
    "dropout": "a share from 0 up to, not including, 1",
    "normalization": '"batch", "group" or None',
    "upsampling": '"transposed" or "bilinear"',
}
