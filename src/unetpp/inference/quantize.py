"""A graph in 8-bit integers, beside the one in a bundle."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unetpp.bundle import GRAPH, INT8, Bundle, add_files, find_bundle, read_bundle, verified
from unetpp.data.dataset import Sample
from unetpp.data.images import read_image
from unetpp.errors import InstallError
from unetpp.inference.engine import openvino_core
from unetpp.inference.evaluate import evaluate
from unetpp.inference.padding import pad_by_reflection
from unetpp.inference.predict import Predictor, open_predictor
from unetpp.inference.tiles import round_up, tiles

# Images that show the ranges of the network's activations, and how many must be left to score.
CALIBRATION, LEFT = 48, 10
# The most IoU that a class may lose for the quantised graph to become the default.
MOST_LOST = 0.01
# Parts of the network that stay in floating point, tried in turn: none; the ends; all of the full resolution.
KEPT: dict[str, tuple[str, ...]] = {
    "all layers": (),
    "all but the first and last layers": (".*/x_0_0_conv_a.*", ".*/head_.*"),
    "all but the full resolution": (".*/x_0_.*", ".*/head_.*"),
}


def quantize(
    path: Path, samples: Sequence[Sample], *, say: Callable[[str], None] = lambda line: None
) -> tuple[dict, dict, Bundle]:
    """Quantise a bundle's graph, and make it the default if no class loses more than a point of IoU.

    Up to `CALIBRATION` of the images calibrate; the others are scored, or all if fewer than `LEFT` remain. If a
    class loses more, ever more layers stay in floating point.

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
    bundle = add_files(folder, {}, graph=GRAPH)
    calibrating = spread_over(samples, CALIBRATION)
    rest = [sample for sample in samples if sample not in calibrating]
    rest = rest if len(rest) >= LEFT else list(samples)
    _, predictor = open_predictor(folder)
    say(f"scoring {len(rest)} images as it is")
    before = evaluate(predictor, rest, bundle.classes)
    inputs = [piece for sample in calibrating for piece in network_inputs(predictor, sample)]
    after: dict = {}
    for what, kept in KEPT.items():
        say(f"quantising {what}, by {len(inputs)} tiles of {len(calibrating)} images")
        with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder) as scratch:
            small = nncf.quantize(
                openvino_core().read_model(graph),
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(patterns=list(kept), validate=False),
            )
            names = (INT8, Path(INT8).with_suffix(".bin").name)
            _save(small, Path(scratch) / INT8)
            add_files(folder, {name: Path(scratch) / name for name in names})
        after = evaluate(open_predictor(folder, precision="int8")[1], rest, bundle.classes)
        if most_lost(before, after) <= MOST_LOST:
            return before, after, add_files(folder, {}, graph=INT8)
    return before, after, bundle


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
