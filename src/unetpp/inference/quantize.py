"""A graph in 8-bit integers, beside the one in a bundle."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unetpp.bundle import GRAPH, INT8, Bundle, add_files, find_bundle, read_bundle, verified
from unetpp.data.dataset import Sample
from unetpp.data.images import read_image
from unetpp.errors import InstallError
from unetpp.inference.engine import openvino_core, openvino_engine
from unetpp.inference.evaluate import evaluate
from unetpp.inference.padding import pad_by_reflection
from unetpp.inference.predict import Predictor, open_predictor
from unetpp.inference.tiles import round_up, tiles

# Images that show the ranges of the network's activations, and how many must be left to score.
CALIBRATION, LEFT = 48, 10
# The most IoU that a class may lose for the quantised graph to become the default.
MOST_LOST = 0.01
# Pixels of a side at which a network's sizes are looked at: a multiple of what 6 levels need.
SIDE = 64


def quantize(
    path: Path, samples: Sequence[Sample], *, say: Callable[[str], None] = lambda line: None
) -> tuple[dict, dict, Bundle]:
    """Quantise a bundle's graph, and make it the default if no class loses more than a point of IoU.

    Up to `CALIBRATION` of the images calibrate; the others are scored, or all if fewer than `LEFT` remain. The first
    convolution, which sees the image itself, stays in floating point; if a class loses more, all at full resolution do.
    A failure leaves the bundle as it was.

    Args:
        path: a bundle's folder, or the run folder that holds one.
        samples: images with masks; best such as the network was not trained on.
        say: is told how it goes.

    Returns:
        the scores of `evaluate` before and after, and the bundle's new description, whose `graph` is the default.

    Raises:
        InstallError: if NNCF is not installed.
        BundleError: if the bundle has no graph.
    """
    nncf = import_nncf()
    folder = find_bundle(path)
    graph = verified(folder, read_bundle(folder), GRAPH)
    calibrating = spread_over(samples, CALIBRATION)
    rest = [sample for sample in samples if sample not in calibrating]
    rest = rest if len(rest) >= LEFT else list(samples)
    bundle, predictor = open_predictor(folder, engine="openvino")
    predictor = replace(predictor, engine=openvino_engine(graph))
    say(f"scoring {len(rest)} images as it is")
    before = evaluate(predictor, rest, bundle.classes)
    inputs = [piece for sample in calibrating for piece in network_inputs(predictor, sample)]
    network = openvino_core().read_model(graph)
    floating = {"the first layer": convolutions(network)[:1], "the full resolution": full_resolution(network)}
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder) as scratch:
        for k, (what, layers) in enumerate(floating.items()):
            # A file of its own: OpenVINO may still have the former mapped.
            trial = Path(scratch) / f"{k}.xml"
            say(f"quantising all but {what}, by {len(inputs)} tiles of {len(calibrating)} images")
            small = nncf.quantize(
                openvino_core().read_model(graph),
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=[layer.get_friendly_name() for layer in layers]),
            )
            _save(small, trial)
            after = evaluate(replace(predictor, engine=openvino_engine(trial)), rest, bundle.classes)
            default = INT8 if most_lost(before, after) <= MOST_LOST else GRAPH
            if default == INT8:
                break
        files = {INT8: trial, Path(INT8).with_suffix(".bin").name: trial.with_suffix(".bin")}
        return before, after, add_files(folder, files, graph=default)


def convolutions(model) -> list:
    """The convolutions of an OpenVINO graph, transposed ones, too, from the image on."""
    kinds = ("Convolution", "ConvolutionBackpropData")
    return [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]


def full_resolution(model) -> list:
    """Those whose output is as large as the image; gives the graph a size, if it has none."""
    shape = model.input().partial_shape
    if shape.is_dynamic:
        model.reshape([1, SIDE, SIDE, shape[3].get_length()])
    # (B, C, H, W)
    height = {node: node.output(0).shape[2] for node in convolutions(model)}
    return [node for node, own in height.items() if own == max(height.values())]


def spread_over(samples: Sequence[Sample], most: int) -> list[Sample]:
    """So many samples at most, evenly spread, for those beside one another may be of one slide."""
    places = np.linspace(0, len(samples) - 1, min(most, len(samples)))
    return [samples[k] for k in places.round().astype(int)]


def most_lost(before: dict, after: dict) -> float:
    """The most IoU that a class loses."""
    pairs = [(before["classes"][name]["iou"], after["classes"][name]["iou"]) for name in before["classes"]]
    return max((a - (b or 0.0) for a, b in pairs if a is not None), default=0.0)


def network_inputs(predictor: Predictor, sample: Sample) -> list[np.ndarray]:
    """What the network sees of an image: (1, h, w, C) float32 a tile."""
    pixels = predictor.prepare(read_image(sample.image))
    padded = pad_by_reflection(pixels, round_up(pixels.shape[:2], predictor.multiple))
    pieces = tiles(padded.shape[:2], predictor.tile, predictor.overlap, predictor.multiple)
    return [np.ascontiguousarray(padded[piece.place][None]) for piece in pieces]


def import_nncf():
    """NNCF, if it is installed, without its chatter."""
    try:
        with contextlib.redirect_stdout(None):
            import nncf
    except ImportError as error:
        raise InstallError(
            "NNCF is not installed", mend='in the clone, run: pip install ".[quantize]"'
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _save(model, path: Path) -> None:
    import openvino

    openvino.save_model(model, path, compress_to_fp16=True)
