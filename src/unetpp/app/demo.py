"""The main job on drawn images, from nothing to scores and overlays."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from unetpp.analysis.figures import duration
from unetpp.app import evaluating
from unetpp.app.objects import keep
from unetpp.app.order import Order
from unetpp.app.run import run_prediction
from unetpp.app.terminal import console
from unetpp.app.training import start_run
from unetpp.data.images import atomic_path
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import OutputError

TRAINING, TEST = 60, 12
SETTINGS = {
    "filters": (8, 16, 32, 64),
    "patch": 128,
    "batch": 8,
    "long_side": 0,
    "learning_rate": 3e-3,
    "augmentation": 0.0,
}
OBJECTS = {"split": ("blood_cell",), "thin": ("bacteria",), "smallest": 20}
# By this a demo is told from other folders, and from the first moment on.
MARK = "demo.txt"
PLACES: dict[str, Any] = {"images": None, "masks": None, "mask_suffix": None}


def run_demo(out: Path, budget: float, *, overwrite: bool) -> None:
    """Draw, train, evaluate and predict, and say what was made.

    Args:
        out: the folder to make: data/, run/, test/, prediction/ and scores.json.
        budget: seconds of training.
        overwrite: replace a former demo.
    """
    started = time.monotonic()
    clear(out, overwrite=overwrite)
    with console.status("drawing micrographs ..."):
        write_dataset(out / "data", TRAINING, seed=0)
        write_dataset(out / "test", TEST, seed=10_000)
    order = Order(
        data=out / "data",
        places=PLACES,
        names=CLASSES,
        chosen={**SETTINGS, "budget": budget},
        run=out / "run",
        overwrite=overwrite,
    )
    start_run(order)
    keep(out / "run", OBJECTS)
    scores = out / "scores.json"
    evaluating.run_evaluation(out / "run", out / "test", output=scores, overwrite=True, **PLACES)
    run_prediction([out / "run"], [str(out / "test" / "images")], out / "prediction", existing="overwrite")
    mean_iou = json.loads(scores.read_text(encoding="utf-8"))["mean_iou"]
    say = console.say
    say(
        f"\nIn {duration(time.monotonic() - started)}: mean IoU {mean_iou:.3f} on {TEST} images never trained on."
    )
    for folder, what in {
        "data": f"{TRAINING} drawn micrographs with masks, which the model was trained on",
        "run/model": "the model",
        "run/validation": "image, truth and prediction side by side",
        "prediction/labels": f"the classes of the {TEST} test images, {', '.join(CLASSES)}",
        "prediction/overlays": "the same, drawn on the images",
        "scores.json": "the scores",
    }.items():
        say(f"  {out / folder}: {what}")
    say("Next, with your own images and masks:\n  unetpp train DATA --out RUN --budget 45m")


def clear(out: Path, *, overwrite: bool) -> None:
    """Mark a demo's folder, and remove what a former demo has drawn there, of which nothing shall join the new.

    Raises:
        OutputError: if something lies there that may not be replaced, or that no demo has made.
    """
    mark = out / MARK
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise OutputError("the folder is not empty", where=out, mend="give --overwrite or another --out")
        if not mark.is_file():
            what = "this is no demo's, and shall not be replaced"
            raise OutputError(what, where=out, mend="choose another --out")
    for folder in (out / "data", out / "test"):
        if folder.exists():
            shutil.rmtree(folder)
    with atomic_path(mark) as path:
        path.write_text(
            "Made by unetpp demo, which replaces what it made with --overwrite.\n", encoding="utf-8"
        )
