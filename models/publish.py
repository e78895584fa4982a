"""A run's model as one that ships: graphs, half the weights' size, and the names of the images that it never saw.

    python models/publish.py RUN models/NAME

Quantisation is calibrated and judged on training images; a graph that loses accuracy does not ship. Then
models/score.py scores the model.
"""

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np
from score import HELD_OUT

from unetpp.bundle import INT8, WEIGHTS, add_files, find_bundle
from unetpp.data.files import exchange, former
from unetpp.export import add_graph
from unetpp.inference.quantize import quantize
from unetpp.training.planfile import load_plan


def halve(folder: Path) -> None:
    """Save a bundle's weights in float16."""
    half = folder / f".{WEIGHTS}"
    with h5py.File(folder / WEIGHTS) as full, h5py.File(half, "w") as small:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                values = item[()]
                small.create_dataset(
                    name, data=values.astype(np.float16) if values.dtype == np.float32 else values
                )
            else:
                small.require_group(name).attrs.update(item.attrs)

        full.visititems(copy)
        small.attrs.update(full.attrs)
    add_files(folder, {WEIGHTS: half})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    plan = load_plan(chosen.run)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for path in find_bundle(chosen.run).iterdir():
        shutil.copy(path, chosen.out)
    halve(chosen.out)
    add_graph(chosen.out)
    trial = Path(shutil.copytree(chosen.out, chosen.out.with_name(f".{chosen.out.name}")))
    before, after, bundle = quantize(trial, plan.train, say=print)
    print(
        f"int8 on training images: {before['mean_iou']:.4f} to {after['mean_iou']:.4f}; default {bundle.graph}"
    )
    if bundle.graph == INT8:
        exchange(chosen.out, trial, former(chosen.out))
    shutil.rmtree(trial, ignore_errors=True)
    # A run that held nothing out in its folder of data leaves the names of what it never saw as they were.
    if plan.validation:
        names = "".join(f"{sample.stem}\n" for sample in plan.validation)
        (chosen.out / HELD_OUT).write_text(names, encoding="utf-8")
