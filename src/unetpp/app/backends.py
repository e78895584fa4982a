"""What runs networks: a backend of Keras that is installed, or OpenVINO."""

import importlib.util
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from unetpp.app.terminal import errors
from unetpp.errors import InstallError

BACKENDS = ("tensorflow", "jax", "torch")


def open_models(paths: list[Path], **options):
    """`open_predictors`, with a backend of Keras that is installed if Keras is to run a network."""
    from unetpp.inference.predict import open_predictors

    prepare_engine(paths, options.get("engine", "auto"))
    return open_predictors(paths, **options)


def prepare_engine(paths: list[Path], engine: str) -> None:
    """Choose a backend of Keras if it is to run a model, and say so where that was not asked for."""
    from unetpp.bundle import GRAPH, read_bundle

    lacking = [path for path in paths if GRAPH not in read_bundle(path).sha256]
    for path in lacking if engine == "auto" else ():
        errors.say(f"{path} has no graph for OpenVINO: Keras runs it, slower (unetpp export adds one)")
    if engine == "keras" or lacking:
        choose_backend()


def import_training(*, several=False):
    """The training room, on a backend that is installed; for several devices on JAX."""
    choose_backend(("jax",) if several else BACKENDS)
    # TensorBoard's events are written by TensorFlow on any backend.
    with native_errors_hidden(), suppress(ImportError):
        importlib.import_module("tensorflow")
    try:
        from unetpp.training import fit
    except ImportError as error:
        raise InstallError(
            "Keras is not installed", mend='in the clone, run: pip install ".[train]"'
        ) from error
    return fit


def choose_backend(backends=BACKENDS) -> None:
    """Keras on the first installed of some backends, unless KERAS_BACKEND says which."""
    found = [name for name in backends if importlib.util.find_spec(name)]
    if found and importlib.util.find_spec("keras"):
        os.environ.setdefault("KERAS_BACKEND", found[0])
        try:
            with native_errors_hidden():
                importlib.import_module("keras")
        except (ImportError, ValueError) as error:
            raise InstallError(
                f"Keras cannot start with KERAS_BACKEND={os.environ['KERAS_BACKEND']}",
                mend="install that backend, or set KERAS_BACKEND to tensorflow, jax or torch",
            ) from error


@contextmanager
def native_errors_hidden():
    """Nothing that native code writes to the standard error within reaches the terminal.

    TensorFlow greets from C++ when it is imported, whatever its log level. Python's own errors are raised
    as ever.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
