"""What small runs are trained on, and without."""

import threading
from contextlib import contextmanager

import pytest

from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import write_dataset
from unetpp.training import fit


@pytest.fixture
def samples(tmp_path):
    write_dataset(tmp_path / "data", 6, size=(64, 64), seed=5)
    return find_samples(tmp_path / "data")


@pytest.fixture
def no_graph(monkeypatch):
    """Making the runtime graph takes longer than these runs, and is tested elsewhere."""
    monkeypatch.setattr(fit, "add_graph", lambda run: None)


@pytest.fixture
def interrupt(monkeypatch):
    """Asks the run that is on to end, as a signal does, which could end more than the run; see test_survival.py."""
    asked = threading.Event()

    @contextmanager
    def interruptible():
        asked.clear()
        yield asked.is_set

    monkeypatch.setattr(fit, "interruptible", interruptible)
    return asked.set
