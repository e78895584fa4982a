"""A small data set and a model that all commands are tried on."""

import shutil

import pytest
from commands import FAST, run

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
