"""The scores of a model that ships, on the images that it was not trained on.

    python models/score.py models/NAME DATA [--instances FOLDER] [--kind NAME=SIDE,SIDE,...]

The images are those of DATA that models/NAME/held_out.txt names. They chose the run's best epoch, and what else they
chose the model's card says. Objects are what the model says that they are (`unetpp objects`). The scores are written to
models/NAME/scores.json: float16, bfloat16, int8 if the model has it, and float16 with test-time augmentation; "kinds"
has those of kinds of images that their long sides tell apart. models/NAME/failures.png shows truth and prediction of
the images with the largest share of wrong pixels, without the images, which may not be ours.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from unetpp.analysis.figures import AT
from unetpp.analysis.legend import GREY, panel
from unetpp.analysis.overlay import draw_overlay, shrink_labels
from unetpp.analysis.rules import Rules
from unetpp.analysis.summary import summarize
from unetpp.bundle import INT8, read_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.images import image_size, read_image, write_png
from unetpp.data.masks import read_mask
from unetpp.data.threads import ahead
from unetpp.inference.evaluate import predictions, to_record
from unetpp.inference.predict import open_predictor

HELD_OUT = "held_out.txt"
# Of a picture of failures: pixels of the long side at most.
SIDE = 360
VARIANTS = {
    "float16": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "int8": {"precision": "int8"},
    "float16, tta": {"precision": "float32", "tta": True},
}


def scores(folder: Path, samples, kinds: dict[str, set[int]]) -> dict:
    """The figures of every variant."""
    found = {}
    model = read_bundle(folder)
    rules = Rules(**model.objects)
    given = {name: v for name, v in VARIANTS.items() if name != "int8" or INT8 in model.sha256}
    sides = {sample.stem: max(image_size(sample.image)) for sample in samples}
    for name, options in given.items():
        bundle, predictor = open_predictor(folder, **options)
        made = predictions(predictor, samples, bundle.classes)
        records = list(ahead(lambda p, classes=bundle.classes: to_record(p, classes, rules), made))
        result = summarize(records, bundle.classes)
        kept = ("classes", "mean_iou", "mean_dice", "accuracy", "images", "figures", "intervals", "objects")
        found[name] = {key: result[key] for key in kept}
        of_kinds = {kind: [r for r in records if sides[r.name] in among] for kind, among in kinds.items()}
        found[name]["kinds"] = {
            kind: brief(summarize(some, bundle.classes)) for kind, some in of_kinds.items()
        }
        print(
            f"{name}: mean IoU {result['mean_iou']:.4f}",
            {n: round(c["iou"], 4) for n, c in result["classes"].items()},
        )
    return found


def brief(result: dict) -> dict:
    """How many images there are, and each class' IoU, and AP at IoU 0.5."""
    ious = {name: figures["iou"] for name, figures in result["classes"].items()}
    precise = {name: by_iou[AT] for name, by_iou in result["figures"]["object_ap"].items()}
    return {"images": result["images"], "iou": ious, "object_ap": precise}


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
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--instances", type=Path)
    parser.add_argument("--kind", action="append", default=[])
    chosen = parser.parse_args()
    names = set((chosen.model / HELD_OUT).read_text(encoding="utf-8").splitlines())
    samples = [s for s in find_samples(chosen.data, instances=chosen.instances) if s.stem in names]
    draw_failures(chosen.model, samples)
    kinds = {
        name: set(map(int, sides.split(","))) for name, _, sides in (k.partition("=") for k in chosen.kind)
    }
    found = scores(chosen.model, samples, kinds)
    (chosen.model / "scores.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
