"""A bundle's network in the form that other runtimes take."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from unetpp.bundle import (
    DESCRIPTION,
    GRAPH,
    Bundle,
    add_files,
    check_level,
    find_bundle,
    load_model,
    read_bundle,
    save_bundle,
)
from unetpp.errors import BundleError, InstallError, OutputError

# Keras exports to OpenVINO with free height and width from these.
BACKENDS = {"tensorflow": "tensorflow", "torch": "torch"}
# What a shape that is traced looks like; PyTorch's sizes are free after, TensorFlow's are never fixed.
TRACED = 64


def add_graph(path: Path) -> Bundle:
    """Add the runtime graph to a bundle: free height and width, weights in float16.

    Args:
        path: a bundle's folder, or the run folder that holds one.

    Returns:
        the bundle's description, which lists the graph from now on.

    Raises:
        BundleError: if the bundle cannot be read.
        InstallError: if OpenVINO, or both TensorFlow and PyTorch, are not installed.
        OutputError: if it cannot be written.
    """
    folder = find_bundle(path)
    if not importlib.util.find_spec("openvino"):
        raise InstallError("OpenVINO is not installed", mend="run: pip install openvino")
    import keras

    if keras.backend.backend() in BACKENDS:
        return _add_graph(folder)
    others = [backend for backend, module in BACKENDS.items() if importlib.util.find_spec(module)]
    if not others:
        raise InstallError(
            "the graph is made by TensorFlow or PyTorch", mend='in the clone, run: pip install ".[train]"'
        )
    # Keras has one backend a process.
    environment = {**os.environ, "KERAS_BACKEND": others[0], "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "unetpp.export", str(folder)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(
            f"the graph cannot be made ({last})", where=folder, mend="set KERAS_BACKEND=tensorflow"
        )
    return read_bundle(folder)


def _add_graph(folder: Path) -> Bundle:
    """`add_graph` in this process."""
    import openvino

    _, model = load_model(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".graph-", dir=folder) as scratch:
            graph = export_openvino(model, Path(scratch) / "traced.xml")
            openvino.save_model(graph, Path(scratch) / GRAPH, compress_to_fp16=True)
            names = (GRAPH, Path(GRAPH).with_suffix(".bin").name)
            return add_files(folder, {name: Path(scratch) / name for name in names})
    # OpenVINO tells of a full disk by the latter.
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"the graph cannot be written ({error})", where=folder, mend="make room, and give unetpp export"
        ) from error


def save_pruned(path: Path, level: int, out: Path, *, overwrite: bool = False) -> Bundle:
    """Save a model cut off at a level: what only deeper levels need is left out; with the runtime graph.

    Args:
        path: a bundle's folder, or the run folder that holds one.
        level: as `UNetPP.pruned` counts.
        out: the folder to make.
        overwrite: replace a bundle that is there.

    Raises:
        BundleError: if the bundle cannot be read.
        SettingError: if the model has no such level.
        OutputError: if the folder is there, or cannot be written.
    """
    bundle = read_bundle(path)
    check_level(bundle, level, path)
    if out.exists() and not (overwrite and (out / DESCRIPTION).is_file()):
        raise OutputError(
            "the folder exists", where=out, mend="choose another, or give --overwrite for a model"
        )
    _, model = load_model(path)
    pruned = model if level == bundle.levels[-1] and len(bundle.levels) == 1 else model.pruned(level)
    save_bundle(out, replace(bundle, level=level, graph=GRAPH), pruned)
    return add_graph(out)


def export_openvino(model, scratch: Path):
    """A Keras model as an `openvino.Model`: images (?, ?, ?, channels) to probabilities, a head each.

    Args:
        model: a `UNetPP` or `UNet` of free height and width.
        scratch: an .xml file to write to.
    """
    import keras
    import openvino

    batch, height, width, channels = model.input_shape
    if keras.backend.backend() == "torch":
        batch, height, width = 1, TRACED, TRACED
    signature = [keras.InputSpec(shape=(batch, height, width, channels), dtype="float32", name="image")]
    model.export(str(scratch), format="openvino", verbose=False, input_signature=signature)
    core = openvino.Core()
    # Windows deletes no file that is mapped into memory.
    core.set_property({"ENABLE_MMAP": False})
    graph = core.read_model(scratch)
    # Group normalisation leaves sizes behind as results of their own, after the heads.
    heads = graph.outputs[: len(model.outputs)]
    graph = openvino.Model(heads, graph.get_parameters(), model.name)
    graph.reshape([-1, -1, -1, channels])
    return graph


if __name__ == "__main__":
    _add_graph(Path(sys.argv[1]))
