"""Prediction against what people would otherwise use: python benchmarks/predict.py MODEL [--rounds N].

MODEL is a bundle; with deep supervision its levels are measured too, with an 8-bit graph (unetpp quantize) that as
well. Every contender runs in a process of its own, in turns; medians over the rounds are printed as tables. The peers
are measured where they are installed: torch, segmentation-models-pytorch, monai.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from unetpp.bundle import INT8, load_model, read_bundle
from unetpp.data.images import write_png
from unetpp.data.synthetic import draw
from unetpp.inference.levels import peak_memory
from unetpp.inference.predict import open_predictor

SIDE, PASSES, IMAGES = 512, 9, 200


def network_input(model: str) -> np.ndarray:
    """A drawn micrograph as the network sees it: (1, SIDE, SIDE, C) float32."""
    normalization = read_bundle(Path(model)).normalization
    image = (draw(0, (SIDE, SIDE))[0] / np.float32(255)).astype(np.float32)
    return normalization.of(image)(image)[None]


def keras_on_tensorflow(model):
    network = load_model(Path(model))[1]

    def run(x):
        found = network.predict(x, verbose=0)
        return found[-1] if isinstance(found, list) else found

    return run


def ours(precision, level=None):
    def prepare(model):
        return open_predictor(Path(model), engine="openvino", precision=precision, level=level)[1].engine

    return prepare


def torch_runner(network, autocast=False):
    import torch

    network.eval()

    def run(x):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = network(torch.from_numpy(x).permute(0, 3, 1, 2))
            logits = logits[-1] if isinstance(logits, (list, tuple)) else logits
            return logits.float().softmax(1).permute(0, 2, 3, 1).numpy()

    return run


def pytorch(autocast):
    def prepare(model):
        from torch_unetpp import TorchUNetPP, carry_over

        bundle, network = load_model(Path(model))
        same = TorchUNetPP(
            len(bundle.normalization.mean), bundle.settings["num_classes"], bundle.settings["filters"]
        )
        carry_over(network, same)
        return torch_runner(same, autocast)

    return prepare


def smp(model):
    import segmentation_models_pytorch

    classes = len(read_bundle(Path(model)).classes)
    return torch_runner(
        segmentation_models_pytorch.UnetPlusPlus("resnet18", encoder_weights=None, classes=classes)
    )


def monai(model):
    from monai.networks.nets import BasicUNetPlusPlus

    bundle = read_bundle(Path(model))
    filters = bundle.settings["filters"]
    widths = (*filters, filters[0])
    if len(widths) != 6:
        raise ImportError("five levels only")
    return torch_runner(BasicUNetPlusPlus(2, 3, len(bundle.classes), features=widths))


def contenders(model: str) -> dict:
    """What is compared, by name; the first is what all are measured against."""
    bundle = read_bundle(Path(model))
    found = {
        "Keras predict, TensorFlow, float32": keras_on_tensorflow,
        "PyTorch eager, float32": pytorch(False),
        "PyTorch eager, bfloat16 autocast": pytorch(True),
        "smp UnetPlusPlus resnet18, float32": smp,
        "MONAI BasicUNetPlusPlus, float32": monai,
        "unetpp float32": ours("float32"),
        "unetpp bfloat16": ours("bfloat16"),
    }
    if INT8 in bundle.sha256:
        found["unetpp int8"] = ours("int8")
    for level in bundle.levels[:-1]:
        found[f"unetpp bfloat16, level {level}"] = ours("bfloat16", level)
    return found


def measure(model: str, name: str, out: Path) -> None:
    """One contender in this process: seconds a pass, memory, probabilities."""
    prepare, x = contenders(model)[name], network_input(model)
    try:
        run = prepare(model)
    except ImportError as error:
        out.write_text(json.dumps({"missing": str(error)}))
        return
    found = [run(x) for _ in range(2)][-1]
    seconds = []
    for _ in range(PASSES):
        begun = time.perf_counter()
        run(x)
        seconds.append(time.perf_counter() - begun)
    np.save(out.with_suffix(".npy"), found)
    out.write_text(json.dumps({"seconds": seconds, "memory": peak_memory()}))


def forward(model: str, rounds: int, scratch: Path) -> None:
    """Print a row a contender."""
    results: dict[str, list[dict]] = {name: [] for name in contenders(model)}
    for _ in range(rounds):
        for k, name in enumerate(results):
            out = scratch / f"{k}.json"
            child([__file__, model, "--measure", name, "--out", str(out)])
            results[name].append(json.loads(out.read_text()))
    reference, *_ = results
    base = median(results[reference])
    truth = np.load(scratch / "0.npy")
    work = gflop(load_model(Path(model))[1])
    print(f"\nOne image of {SIDE} x {SIDE}, {work:.1f} GFLOP; {rounds} rounds of {PASSES} passes.\n")
    print("| | times faster | ms | peak MB | labels as float32 |\n|---|---|---|---|---|")
    for k, (name, found) in enumerate(results.items()):
        if "missing" in found[0]:
            print(f"| {name} | not installed | | | |")
            continue
        same = np.mean(np.load(scratch / f"{k}.npy").argmax(-1) == truth.argmax(-1))
        own = "–" if name.startswith(("smp", "MONAI")) else f"{100 * same:.2f} %"
        memory = max(result["memory"] for result in found) / 1e6
        print(f"| {name} | {base / median(found):.2f} | {1e3 * median(found):.0f} | {memory:.0f} | {own} |")
    limits(results, work)


def limits(results: dict, work: float) -> None:
    """Print the share of what a large matrix product reaches."""
    for precision in ("float32", "bfloat16"):
        reached = work / median(results[f"unetpp {precision}"])
        product = matrix_product(precision)
        print(
            f"\n{precision}: {reached:.0f} GFLOP/s, a matrix product of 4096 x 4096 {product:.0f}: "
            f"{reached / product:.2f} of it"
        )


def matrix_product(precision: str, side: int = 4096) -> float:
    """GFLOP/s of a large matrix product on OpenVINO."""
    import openvino
    from openvino import opset13 as ops

    left = ops.parameter([side, side], np.float32)
    weights = np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)
    product = ops.reduce_sum(ops.matmul(left, weights, False, True), 1, False)
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    model = openvino.Core().compile_model(
        openvino.Model([product], [left]), "CPU", {"INFERENCE_PRECISION_HINT": hint}
    )
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        model([weights])
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / 1e9 / statistics.median(seconds)


def gflop(network) -> float:
    """Arithmetic of one pass over SIDE x SIDE pixels: the convolutions' multiplications and additions."""
    total = 0
    for layer in network.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            level = int(layer.name.split("_")[1]) if layer.name.startswith("x_") else 0
            # A transposed convolution of stride 2 does its kernel's work at each pixel of the level below.
            level += layer.name.endswith("_up")
            total += 2 * int(np.prod(kernel.shape)) * (SIDE >> level) ** 2
    return total / 1e9


def whole_commands(model: str, rounds: int, scratch: Path) -> None:
    """Print the time of whole commands: one image, and a folder against the bare network on the same tiles."""
    folder = scratch / "images"
    folder.mkdir()
    for k in range(IMAGES):
        write_png(folder / f"{k:03}.png", draw(k, (SIDE, SIDE))[0])
    single, peer, many, bare = [], [], [], []
    predict = ["-m", "unetpp", "predict", model]
    one = str(folder / "000.png")
    child([*predict, one, "--out", str(scratch / "warm")])
    for k in range(rounds):
        single.append(child([*predict, one, "--out", str(scratch / f"one{k}")]))
        peer.append(child([__file__, model, "--peer", one]))
        many.append(child([*predict, str(folder), "--out", str(scratch / f"many{k}")]))
        out = scratch / "bare.json"
        child([__file__, model, "--bare", str(folder), "--out", str(out)])
        bare.append(json.loads(out.read_text()))
    one_s, peer_s, many_s, bare_s = (statistics.median(values) for values in (single, peer, many, bare))
    print(f"\nWhole processes, medians of {rounds}, compiled graph in the cache.\n")
    print("| | s | ratio |\n|---|---|---|")
    print(f"| unetpp predict, one image of {SIDE} x {SIDE} | {one_s:.2f} | |")
    print(f"| import Keras on TensorFlow, load, predict | {peer_s:.2f} | {peer_s / one_s:.1f} times longer |")
    print(f"| unetpp predict, {IMAGES} images: labels and overlays | {many_s:.2f} | |")
    print(f"| the same less the time of one image's process | {many_s - one_s:.2f} | |")
    print(f"| the compiled graph alone on the same tiles | {bare_s:.2f} | {many_s / bare_s:.2f} |")


def bare_network(model: str, folder: Path, out: Path) -> None:
    """Seconds that the compiled graph alone takes for the tiles of a folder's images, two at a time as the command."""
    from unetpp.data.images import read_image

    _, predictor = open_predictor(Path(model), streams=2)
    inputs = [predictor.prepare(read_image(path))[None] for path in sorted(folder.iterdir())]
    predictor.engine(inputs[0])
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(predictor.engine, inputs))
    out.write_text(json.dumps(time.perf_counter() - begun))


def keras_script(model: str, image: Path) -> None:
    """What one would write with Keras: load, predict, save."""
    from unetpp.data.images import read_image

    _, predictor = open_predictor(Path(model), engine="keras")
    with tempfile.TemporaryDirectory() as scratch:
        write_png(Path(scratch) / "labels.png", predictor.labels(read_image(image)))


def child(arguments: list[str]) -> float:
    """Seconds of a Python process that must succeed."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=environment, capture_output=True)
    return time.perf_counter() - begun


def median(results: list[dict]) -> float:
    """Of all rounds' passes, in seconds."""
    return statistics.median(second for result in results for second in result["seconds"])


def main() -> None:
    """Measure, or be one of the measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    for hidden in ("--measure", "--peer", "--bare", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        return measure(chosen.model, chosen.measure, Path(chosen.out))
    if chosen.peer:
        return keras_script(chosen.model, Path(chosen.peer))
    if chosen.bare:
        return bare_network(chosen.model, Path(chosen.bare), Path(chosen.out))
    with tempfile.TemporaryDirectory() as scratch:
        forward(chosen.model, chosen.rounds, Path(scratch))
        whole_commands(chosen.model, chosen.rounds, Path(scratch))
    return None


if __name__ == "__main__":
    main()
