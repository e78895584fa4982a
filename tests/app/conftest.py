"""A small data set, a model and label images that commands are tried on."""

import shutil

import numpy as np
import pytest
from commands import FAST, run
from drawn import drawn_objects

from unetpp.data.images import write_png
from unetpp.data.synthetic import write_dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, 5, size=(40, 56), seed=3)
    return folder


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run("train", data, "--out", folder, *FAST) == 0
    return folder


@pytest.fixture
def copy(data, tmp_path):
    """A data set that a test may spoil."""
    return shutil.copytree(data, tmp_path / "data")


@pytest.fixture
def labelled(tmp_path):
    """Two label images, of which one is empty, and their images."""
    rng = np.random.default_rng(0)
    for name, labels in (("some", drawn_objects()), ("none", np.zeros((80, 120), np.uint8))):
        write_png(tmp_path / "labels" / f"{name}.png", labels)
        write_png(tmp_path / "images" / f"{name}.png", rng.integers(0, 255, (80, 120, 3), np.uint8))
    return tmp_path
