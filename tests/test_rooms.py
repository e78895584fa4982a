"""Data walks through the rooms in one direction, and `import unetpp` opens none of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unetpp

PACKAGE = Path(unetpp.__file__).parent
# Top to bottom: a room imports from rooms above it and from itself.
ROOMS = [
    "errors",
    "data",
    "analysis",
    "model",
    "description",
    "bundle",
    "export",
    "inference",
    "training",
    "app",
    "__main__",
]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
KERAS_ROOMS = {"model", "export", "training"}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                [f"unetpp.{alias.name}" for alias in node.names] if node.module == "unetpp" else [node.module]
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "unetpp" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(room(path)), f"{path} imports {name}"


def test_every_room_is_in_the_plan():
    assert {room(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_model_and_training_are_written_in_keras(path):
    used = {name.split(".")[0] for name in imports(path)} & {"keras", "tensorflow", "jax", "torch"}
    assert not used or room(path) in KERAS_ROOMS


def test_importing_the_package_loads_no_keras():
    code = "import sys, unetpp; print(sorted({'keras', 'numpy', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_public_names_are_these():
    assert set(unetpp.__all__) == {
        "__version__", "UNetPP", "UNet", "losses", "metrics", "weighted_loss", "Bundle", "load_model",
        "save_bundle", "Predictor", "open_predictor", "UnetppError", "train",
    }  # fmt: skip
    for name in unetpp.__all__:
        assert getattr(unetpp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unetpp.nothing  # noqa: B018


def test_no_file_is_longer_than_a_reader_s_patience():
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 320} == {}
