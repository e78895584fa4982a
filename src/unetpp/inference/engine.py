"""What runs the network: one small interface, `engine(images) -> probabilities`."""

from collections.abc import Callable

import numpy as np

# float32 (batch, height, width, channels) -> float32 (batch, height, width, classes).
Engine = Callable[[np.ndarray], np.ndarray]


def keras_engine(model) -> Engine:
    """Run a `keras.Model` on whatever device its backend uses.

    Args:
        model: gives probabilities, or a list of them whose last counts (deep supervision).
    """

    def run(images: np.ndarray) -> np.ndarray:
        probabilities = model.predict_on_batch(images)
        if isinstance(probabilities, list):
            probabilities = probabilities[-1]
        return np.asarray(probabilities, np.float32)

    return run
