"""Training against what people would otherwise use: python benchmarks/train.py --help.

One step on crops of 256 x 256, two at a time. Every contender runs in a process of its own, in turns; medians over the
rounds. Then how fast crops are drawn, and what share of the time the network waits for them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from unetpp.inference.levels import peak_memory

SIDE, BATCH, PASSES = 256, int(os.environ.get("BATCH", "2")), 8


def crops():
    rng = np.random.default_rng(0)
    return (
        rng.normal(0, 1, (BATCH, SIDE, SIDE, 3)).astype(np.float32),
        rng.integers(0, 3, (BATCH, SIDE, SIDE)).astype(np.int32),
    )


def stock_keras(filters):
    """What any Keras user gets: the network of Keras' own layers, compiled with defaults, in float32."""
    import keras

    from unetpp import UNetPP

    def keras_own(layer):
        kind = getattr(keras.layers, type(layer).__name__, type(layer))
        return kind.from_config({key: v for key, v in layer.get_config().items() if key != "normalized"})

    ours = UNetPP((SIDE, SIDE, 3), 3, filters=filters)
    model = keras.models.clone_model(keras.Model(ours.input, ours.output), clone_function=keras_own)
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = crops()
    return lambda: model.train_on_batch(x, y)


def our_network(filters, low_memory=False):
    """A network as `unetpp train` compiles it."""
    from unetpp.data.normalization import Normalization
    from unetpp.data.resample import Scaling
    from unetpp.training.network import build, precision
    from unetpp.training.options import Options
    from unetpp.training.plan import Plan

    options = Options(filters=filters, learning_rate=1e-3, low_memory=low_memory)
    as_they_are = Normalization((0.0,) * 3, (1.0,) * 3, per_image=False)
    plan = Plan(options, ("a", "b", "c"), None, as_they_are, Scaling(), (), ())
    with precision("auto"):
        return build(plan)


def ours(low_memory=False):
    def prepare(filters):
        model = our_network(filters, low_memory)
        x, y = crops()
        return lambda: model.train_on_batch(x, y)

    return prepare


def pytorch(autocast, tuned=False):
    """PyTorch as one would write it, or with what its guide to performance adds: channels last, and fused Adam."""

    def prepare(filters):
        import torch
        from torch_unetpp import TorchUNetPP

        model = TorchUNetPP(3, 3, filters)
        layout = torch.channels_last if tuned else torch.contiguous_format
        model = model.to(memory_format=layout)
        optimizer = torch.optim.Adam(model.parameters(), fused=tuned)
        x, y = crops()
        x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        y = torch.from_numpy(y).long()

        def step():
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = torch.nn.functional.cross_entropy(model(x).float(), y)
            loss.backward()
            optimizer.step()

        return step

    return prepare


CONTENDERS = {
    "Keras compile() defaults, TensorFlow, float32": stock_keras,
    "PyTorch eager, float32": pytorch(False),
    "PyTorch eager, bfloat16 autocast": pytorch(True),
    "PyTorch eager, bfloat16 autocast, channels last, fused Adam": pytorch(True, tuned=True),
    "unetpp (bfloat16 where the processor has it)": ours(),
    "unetpp --low-memory": ours(low_memory=True),
}


def measure(name: str, filters, out: Path) -> None:
    """One contender in this process."""
    try:
        step = CONTENDERS[name](filters)
    except ImportError as error:
        out.write_text(json.dumps({"missing": str(error)}))
        return
    for _ in range(2):
        step()
    seconds = []
    for _ in range(PASSES):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    out.write_text(json.dumps({"seconds": seconds, "memory": peak_memory()}))


def pipeline(filters) -> None:
    """Crops a second of one core, and what share of its time training waits for them."""
    from unetpp.data.synthetic import draw
    from unetpp.training.batches import Batches
    from unetpp.training.options import Options
    from unetpp.training.patches import Picture, Sampler

    pictures = []
    for k in range(8):
        image, mask = draw(k, (512, 512))[:2]
        centres = tuple(np.argwhere(mask == index)[:2000] for index in (1, 2))
        pictures.append(Picture((image / 255).astype(np.float32), mask, centres))
    sampler = Sampler(pictures, SIDE)
    begun, count = time.perf_counter(), 200
    for k in range(count):
        sampler(np.random.default_rng(k))
    rate = count / (time.perf_counter() - begun)
    print(
        f"\nAugmented crops of {SIDE} x {SIDE}: {rate:.0f} a second and core; 8 cores deliver about {8 * rate:.0f}."
    )

    waits: list[float] = []

    class Timed(Batches):
        """Notes how long each batch is waited for."""

        def __getitem__(self, step):
            begun = time.perf_counter()
            batch = super().__getitem__(step)
            waits.append(time.perf_counter() - begun)
            return batch

    batches, model = Timed(sampler, Options(batch=8), 20), our_network(filters)
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    waits.clear()
    begun = time.perf_counter()
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    share = sum(waits) / (time.perf_counter() - begun)
    print(
        f"Training with {batches.options.batch} crops a step waits for them {100 * share:.1f} % of the time."
    )


def main() -> None:
    """Measure, or be one of the measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filters", default="32,64,128,256,512")
    for hidden in ("--measure", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    filters = tuple(map(int, chosen.filters.split(",")))
    if chosen.measure:
        measure(chosen.measure, filters, Path(chosen.out))
        return
    results: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(chosen.rounds):
            for name in results:
                out = Path(scratch) / "result.json"
                out.unlink(missing_ok=True)
                command = [
                    sys.executable,
                    __file__,
                    "--filters",
                    chosen.filters,
                    "--measure",
                    name,
                    "--out",
                    str(out),
                ]
                subprocess.run(command, env=environment, capture_output=True, check=False)
                found = {"missing": "it failed"} if not out.exists() else json.loads(out.read_text())
                results[name].append(found)
    first = next(iter(results))
    base = median(results[first])
    print(
        f"\nFilters {chosen.filters}: a step on {BATCH} crops of {SIDE} x {SIDE}, {chosen.rounds} rounds of {PASSES}.\n"
    )
    print("| | times faster | s an image | peak MB |\n|---|---|---|---|")
    for name, found in results.items():
        if any("missing" in result for result in found):
            print(f"| {name} | {found[0].get('missing')} | | |")
            continue
        memory = max(result["memory"] for result in found) / 1e6
        print(f"| {name} | {base / median(found):.2f} | {median(found) / BATCH:.3f} | {memory:.0f} |")
    os.environ.update(environment)
    pipeline(filters)


def median(results: list[dict]) -> float:
    """Of all rounds' passes, in seconds."""
    return statistics.median(second for result in results for second in result["seconds"])


if __name__ == "__main__":
    main()
