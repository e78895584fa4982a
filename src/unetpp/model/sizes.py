"""Sizes of images that suit a backend."""

import keras


def multiple() -> int:
    """What heights and widths of images to predict are best multiples of, in pixels.

    JAX compiles a network for each size, on a GPU for many seconds: so there shall be few.
    """
    return 128 if keras.backend.backend() == "jax" else 32
