"""A network's weights as bytes."""

import io
from contextlib import contextmanager


class File(io.BytesIO):
    """A file in memory, which Keras takes by its name for one of weights."""

    def __str__(self):
        return "memory.weights.h5"


def weights_of(model) -> bytes:
    """The content of the file that `model.save_weights` writes, without the optimiser's state.

    It is made in memory: where HDF5 writes to a disk that fills up, it ends the process.
    """
    file = File()
    with without_optimizer(model):
        model.save_weights(file)
    return file.getvalue()


@contextmanager
def without_optimizer(model):
    """The model without its optimiser, whose state Keras would save with the weights: twice their size."""
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer
