"""One backend a run of the suite: KERAS_BACKEND, or TensorFlow."""

import gc
import os
import sys

import hypothesis
import pytest

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("unetpp", deadline=None)
hypothesis.settings.load_profile("unetpp")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On JAX a test is mostly XLA's compiling, which takes half as long without its optimisations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def pytest_collection_modifyitems(items):
    """What takes longest begins first, so that no process waits for another at the end."""
    items.sort(key=lambda item: "training" not in item.path.parts)


@pytest.fixture(autouse=True, scope="module")
def forget_networks():
    """What Keras keeps of a module's networks is let go: collecting garbage among millions of objects takes seconds."""
    yield
    if keras := sys.modules.get("keras"):
        keras.utils.clear_session()
    # What is left, mostly modules, is not looked through again.
    gc.freeze()
