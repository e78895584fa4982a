"""A network's weights in a file, or as bytes."""

import io
from contextlib import contextmanager
from pathlib import Path

from unetpp.errors import SettingError

# Of a network's configuration, what is no argument.
STATE = ("frozen", "dtype")


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


def check_layers(path, count: int) -> None:
    """Refuse a file of weights of more or fewer layers than `count`; what is no such file, Keras tells.

    Raises:
        SettingError: such as for a network with other heads, whose weights would come in the wrong ones.
    """
    if not str(path).endswith(".weights.h5") or not Path(path).is_file():
        return
    # Comes with Keras; a bundle is written and read without either.
    import h5py

    with h5py.File(path) as file:
        found = len(file.get("layers", ()))
    if found and found != count:
        raise SettingError(
            f"these are weights of {found} layers, the network has {count}",
            where=Path(path),
            mend="load them into a network with the same settings; pruned(level) has one head of several",
        )


@contextmanager
def without_optimizer(model):
    """The model without its optimiser, whose state Keras would save with the weights: twice their size."""
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer
