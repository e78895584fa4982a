"""Keras' dtype policy, for a while."""

from contextlib import contextmanager

import keras


@contextmanager
def policy(name: str):
    """Layers that are made within compute as a policy says, such as "mixed_bfloat16"."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
