"""What runs the network: one small interface, `engine(images) -> probabilities`.

OpenVINO runs the graph in a bundle on processors, without Keras; Keras runs the weights on whatever its
backend uses.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.errors import BundleError, InstallError, SettingError

# float32 (batch, height, width, channels) -> float32 (batch, height, width, classes).
Engine = Callable[[np.ndarray], np.ndarray]
# Compiled graphs in a cache, of a model's size each.
KEPT = 32
PRECISIONS = {"auto": None, "float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def keras_engine(model) -> Engine:
    """Run a `keras.Model`; threads may share the engine.

    Args:
        model: gives probabilities, or a list of them whose last counts (deep supervision).
    """

    lock = threading.Lock()

    def run(images: np.ndarray) -> np.ndarray:
        with lock:
            probabilities = model.predict_on_batch(images)
        if isinstance(probabilities, list):
            probabilities = probabilities[-1]
        return np.asarray(probabilities, np.float32)

    return run


def openvino_engine(
    graph: Path,
    *,
    device: str = "CPU",
    precision: str = "auto",
    output: int = -1,
    threads: int | None = None,
    streams: int = 1,
    cache: Path | None = None,
) -> Engine:
    """Run a graph with OpenVINO; threads may share the engine.

    Args:
        graph: the .xml file; its .bin file lies beside it.
        device: as OpenVINO names it: CPU, GPU, NPU, AUTO.
        precision: of the arithmetic: "float32", "bfloat16", "float16", or "auto" for the fastest that the
            device has.
        output: which of the graph's outputs counts; what only the others need is not computed.
        threads: how many it uses; None for all cores.
        streams: how many images it runs at a time, on a share of the threads each.
        cache: a folder where the compiled graph is kept, made again if it is stale or damaged.

    Raises:
        InstallError: if OpenVINO is not installed.
        SettingError: for an unknown device, or a precision that it does not have.
        BundleError: if the graph cannot be read.
    """
    core = openvino_core()
    check_device(core, device, precision)
    warm_up()
    settings: dict[str, Any] = {"NUM_STREAMS": streams}
    if device == "CPU":
        # It would keep what it makes for each size of images, 10 to 20 MB, without end.
        settings["CPU_RUNTIME_CACHE_CAPACITY"] = "0"
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    if PRECISIONS[precision]:
        settings["INFERENCE_PRECISION_HINT"] = PRECISIONS[precision]
    try:
        model = core.read_model(graph)
        compiled = _compile(core, _only(model, output), device, settings, cache)
    except RuntimeError as error:
        what = f"the graph cannot be compiled ({str(error).strip().splitlines()[-1][:120]})"
        raise BundleError(what, where=graph, mend="export it again: unetpp export") from error
    local = threading.local()

    def run(images: np.ndarray) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return local.request.infer([np.ascontiguousarray(images)], share_inputs=True)[0]

    return run


def openvino_core():
    """OpenVINO, if it is installed."""
    try:
        import openvino
    except ImportError as error:
        raise InstallError("OpenVINO is not installed", mend="run: pip install openvino") from error
    return openvino.Core()


def warm_up() -> None:
    """Let one thread make OpenVINO's first array: two at once can wait for each other for ever."""
    import openvino

    openvino.Tensor(np.zeros(1, np.float32))


def check_device(core, device: str, precision: str) -> None:
    """Raise `SettingError` unless the device is there and computes in the precision."""
    family = device.split(".")[0].split(":")[0]
    have = {name.split(".")[0] for name in core.available_devices}
    if family not in have | {"AUTO"}:
        raise SettingError(f"there is no device {device}", mend=f"choose one of: {', '.join(sorted(have))}")
    if precision not in PRECISIONS:
        raise SettingError(
            f"there is no precision {precision}", mend=f"choose one of: {', '.join(PRECISIONS)}, int8"
        )
    short = {"bfloat16": "BF16", "float16": "FP16"}.get(precision)
    if short and family != "AUTO" and short not in core.get_property(family, "OPTIMIZATION_CAPABILITIES"):
        raise SettingError(f"this {family} does not compute in {precision}", mend="give --precision float32")


def _only(model, output: int):
    """The part of a graph that one of its outputs needs."""
    import openvino

    if len(model.outputs) == 1:
        return model
    return openvino.Model([model.outputs[output]], model.get_parameters(), model.get_friendly_name())


def trim(cache: Path) -> None:
    """Leave the newest `KEPT` compiled graphs of a cache."""
    # Another process may trim it, too.
    with suppress(OSError):
        for path in sorted(cache.glob("*.blob"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            path.unlink()


def _compile(core, model, device, settings, cache):
    """Compile, by way of the cache where there is one; a cache that fails is no reason to fail."""
    if cache is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            compiled = core.compile_model(model, device, {**settings, "CACHE_DIR": str(cache)})
            trim(cache)
            return compiled
        except (RuntimeError, OSError) as error:
            logging.getLogger(__name__).info("compiling without the cache %s: %s", cache, error)
    return core.compile_model(model, device, settings)
