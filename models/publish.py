"""A run's model as one that ships: graphs, half the weights' size, and the scores of its card.

    python models/publish.py RUN models/NAME [--split CLASS] [--thin CLASS] [--smallest N] [--instances FOLDER]

Quantisation is calibrated and judged on training images; the scores are of the validation images, which chose the
run's best epoch. They are written to models/NAME/scores.json: float16, bfloat16 and int8, and float16 with test-time
augmentation. models/NAME/failures.png shows truth and prediction of the images with the largest share of wrong pixels,
without the micrographs, which are not ours to give.
"""

import argparse
import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from unetpp.analysis.legend import GREY, panel
from unetpp.analysis.overlay import draw_overlay, shrink_labels
from unetpp.analysis.rules import Rules
from unetpp.analysis.summary import summarize
from unetpp.bundle import WEIGHTS, add_files, find_bundle
from unetpp.data.images import read_image, write_png
from unetpp.data.masks import read_mask
from unetpp.data.threads import ahead
from unetpp.export import add_graph
from unetpp.inference.evaluate import predictions, to_record
from unetpp.inference.predict import open_predictor
from unetpp.inference.quantize import quantize
from unetpp.training.planfile import load_plan

# Of a picture of failures: pixels of the long side at most.
SIDE = 360
VARIANTS = {
    "float16": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "int8": {"precision": "int8"},
    "float16, tta": {"precision": "float32", "tta": True},
}


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


def scores(folder: Path, samples, rules: Rules, instances: Path | None) -> dict:
    """The figures of every variant."""
    found = {}
    for name, options in VARIANTS.items():
        bundle, predictor = open_predictor(folder, **options)
        made = predictions(predictor, samples, bundle.classes, instances)
        records = list(ahead(lambda p, classes=bundle.classes: to_record(p, classes, rules), made))
        result = summarize(records, bundle.classes)
        kept = ("classes", "mean_iou", "mean_dice", "accuracy", "images", "figures", "intervals", "objects")
        found[name] = {key: result[key] for key in kept}
        print(
            f"{name}: mean IoU {result['mean_iou']:.4f}",
            {n: round(c["iou"], 4) for n, c in result["classes"].items()},
        )
    return found


def draw_failures(folder: Path, samples, count: int = 4) -> None:
    """Truth and prediction of the images where the model is wrong most."""
    bundle, predictor = open_predictor(folder)
    found = []
    for sample in samples:
        truth, labels = (
            read_mask(sample.mask, len(bundle.classes)),
            predictor.labels(read_image(sample.image)),
        )
        found.append((float((truth != labels).mean()), sample.stem, truth, labels))
    rows = []
    for wrong, stem, *sides in sorted(found, key=lambda item: item[0], reverse=True)[:count]:
        small = [shrink_labels(side, -(-max(side.shape) // SIDE)) for side in sides]
        drawn = [draw_overlay(np.zeros((*side.shape, 3), np.uint8), side) for side in small]
        titles = f"{stem}: truth", f"predicted, {100 * wrong:.0f} % wrong"
        rows.append(panel(list(zip(titles, drawn, strict=True)), classes=bundle.classes))
    wide = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0)), constant_values=GREY[0]) for row in rows]
    write_png(folder / "failures.png", np.concatenate(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", action="append", default=[])
    parser.add_argument("--thin", action="append", default=[])
    parser.add_argument("--smallest", type=int, default=0)
    parser.add_argument("--instances", type=Path)
    chosen = parser.parse_args()
    plan = load_plan(chosen.run)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for path in find_bundle(chosen.run).iterdir():
        shutil.copy(path, chosen.out)
    halve(chosen.out)
    add_graph(chosen.out)
    before, after, bundle = quantize(chosen.out, plan.train, say=print)
    print(
        f"int8 on training images: {before['mean_iou']:.4f} to {after['mean_iou']:.4f}; default {bundle.graph}"
    )
    rules = Rules(tuple(chosen.split), tuple(chosen.thin), chosen.smallest)
    draw_failures(chosen.out, plan.validation)
    found = scores(chosen.out, plan.validation, rules, chosen.instances)
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
