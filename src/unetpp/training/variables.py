"""What variables hold, on any backend."""

import keras
import numpy as np


def values(variables) -> list:
    """What variables hold, as JAX has it, whose arrays never change and may lie on a GPU; else as NumPy has it."""
    if keras.backend.backend() == "jax":
        return [variable.value for variable in variables]
    return arrays(variables)


def arrays(variables) -> list[np.ndarray]:
    """Copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables, values) -> None:
    """Put arrays into variables, one by one."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
