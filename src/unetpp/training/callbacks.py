"""What happens beside the steps: learning rate, progress, validation, checkpoints."""

import csv
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from unetpp import __version__
from unetpp.analysis.scores import foreground_iou
from unetpp.bundle import Bundle, read_bundle, save_bundle
from unetpp.data.groups import table_of
from unetpp.data.images import atomic_path
from unetpp.errors import BundleError
from unetpp.training.average import Average
from unetpp.training.checkpoints import Progress, is_finite, save_checkpoint
from unetpp.training.devices import agree, alone, place
from unetpp.training.patches import Picture
from unetpp.training.plan import Plan
from unetpp.training.schedule import Budget, learning_rate
from unetpp.training.validation import predict, score

# Validations in a row without a pixel of a class after which it counts as collapsed.
COLLAPSED = 3
# The share of the budget that is kept back after the first validation, at most.
FIRST = 0.15


class Report(Protocol):
    """Whoever watches a run."""

    def warn(self, line: str) -> None:
        """Something is not as it should be."""

    def step(self, budget: Budget, loss: float) -> None:
        """A step is done."""

    def epoch(self, row: dict) -> None:
        """A validation is done."""


class Follow(keras.callbacks.Callback):
    """Sets the learning rate by the share of the budget that is spent, and stops when it is all spent.

    Args:
        budget: what the run may use.
        peak: the highest learning rate.
        report: is told of each step.
        stop: whether someone asked to stop.

    Attributes:
        diverged: whether the loss, or a weight, is not a number; the run stops then, too.
    """

    def __init__(self, budget: Budget, peak: float, report: Report, stop: Callable[[], bool]):
        super().__init__()
        self.budget, self.peak, self.report, self.stop = budget, peak, report, stop
        self.diverged, self.share = False, 0.0

    def on_train_begin(self, logs=None):
        """Where the run stands."""
        [self.share] = agree(self.budget.share)

    def on_train_batch_begin(self, batch, logs=None):
        """The rate of this step."""
        self.model.optimizer.learning_rate = learning_rate(self.share, self.peak)

    def on_train_batch_end(self, batch, logs=None):
        """Count, show, and stop on time."""
        loss = float((logs or {}).get("loss", np.nan))
        self.diverged = not np.isfinite(loss)
        if self.diverged:
            self.model.stop_training = True
            return
        self.budget.taken += 1
        self.report.step(self.budget, loss)
        self.ended()

    def ended(self) -> bool:
        """Stop if the budget is spent, which it tells, or if someone has asked to."""
        self.share, stop = agree(self.budget.share, self.stop())
        if self.share >= 1 or stop:
            self.model.stop_training = True
        return self.share >= 1


class Validate(keras.callbacks.Callback):
    """After each epoch: score the averaged weights, keep the best as the bundle, write a checkpoint.

    Attributes:
        labels: of the held-out pictures, by the last validation.
        compiled: whether there was one, so that the network has been compiled for prediction.
    """

    def __init__(
        self,
        plan: Plan,
        pictures: list[Picture],
        run: Path,
        average: Average,
        progress: Progress,
        follow: Follow,
    ):
        super().__init__()
        self.plan, self.pictures, self.run, self.average = plan, pictures, run, average
        self.progress, self.follow = progress, follow
        self.budget, self.report = follow.budget, follow.report
        self.labels: list[np.ndarray] = []
        self.compiled = False

    @property
    def end(self) -> list:
        """What `Progress.finished` becomes when all is spent."""
        return [self.budget.seconds, self.budget.steps, self.plan.options.patience]

    def on_epoch_end(self, epoch, logs=None):
        """Validate and save, unless the weights are not numbers."""
        self.follow.diverged = self.follow.diverged or not is_finite(self.model, self.progress)
        if self.follow.diverged:
            self.model.stop_training = True
            return
        begun, logs = time.monotonic(), {} if logs is None else logs
        progress, first = self.progress, place()[0] == 0
        progress.epoch, progress.spent = progress.epoch + 1, self.budget.elapsed
        with alone():
            model = self.average.applied()
            labels = self.labels = predict(model, self.plan, self.pictures)
        result = score(labels, self.plan, self.pictures)
        self.keep_best(model, result)
        row = {
            "epoch": progress.epoch,
            "seconds": round(progress.spent, 1),
            "loss": float(logs.get("loss", np.nan)),
        }
        row |= {"learning_rate": float(self.model.optimizer.learning_rate), "mean_iou": result["mean_iou"]}
        row |= {f"iou_{name}": figures["iou"] for name, figures in result["classes"].items()}
        # The TensorBoard and other callbacks read the logs after this one; MLflow takes no other names.
        logs |= {
            re.sub(r"[^\w./ -]", "_", f"val_{name}"): row[name]
            for name in row
            if "iou" in name and row[name] is not None
        }
        progress.history.append(row)
        self.keep_back(time.monotonic() - begun)
        # What this took may have used up the budget, and someone may have asked to stop meanwhile.
        spent = self.follow.ended()
        if self.watch(result) or spent:
            progress.finished = self.end
        if first:
            write_history(progress.history, self.run / "history.csv")
            save_checkpoint(self.run / "checkpoints", self.model, progress)
        self.report.epoch(row)

    def keep_best(self, model, result: dict) -> None:
        """Save the weights as the run's model if they are the best so far; with nothing held out, always."""
        progress, value = self.progress, foreground_iou(result["confusion"])
        if value > progress.best or not self.pictures:
            progress.best, progress.best_epoch = value, progress.epoch
            if place()[0] == 0:
                bundle = describe(self.run, self.plan, model, progress, result)
                save_bundle(self.run / "model", bundle, model)

    def keep_back(self, took: float) -> None:
        """Keep back what the last validation and the offsets will take, by the seconds that a validation took.

        There is room for a noisy machine, pictures and the graph. On JAX the first one also compiles, for a minute or
        more, which shall not cut the run short.
        """
        compiles = keras.backend.backend() == "jax" and not self.compiled
        most = FIRST * (self.budget.seconds or math.inf) if compiles else math.inf
        self.budget.reserve, self.compiled = min(1.3 * 3 * took + 10, most), True

    def watch(self, result: dict) -> bool:
        """Warn of a class that is never predicted, and stop a run that no longer gains: true."""
        progress = self.progress
        # Seams may well be found late.
        for name, found in zip(self.plan.classes, np.sum(result["confusion"], 0), strict=False):
            missed = result["classes"][name]["support"] and not found
            progress.silent[name] = progress.silent.get(name, 0) + 1 if missed else 0
            if progress.silent[name] == COLLAPSED:
                self.report.warn(
                    f"{name} was not predicted in {COLLAPSED} validations: try --class-weights balanced, "
                    "a lower --learning-rate, or --loss focal+tversky"
                )
        patience = self.plan.options.patience
        over = patience is not None and any(agree(progress.epoch - progress.best_epoch >= patience))
        if over:
            self.report.warn(f"no gain in {patience} validations: the run ends")
            self.model.stop_training = True
        return over


def describe(run: Path, plan: Plan, model, progress: Progress, result: dict) -> Bundle:
    """The bundle's description of a model in training."""
    origin = {
        "unetpp": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "training_images": len(plan.train),
        "validation_images": len(plan.validation),
        "epoch": progress.epoch,
        "seconds": round(progress.spent, 1),
        "options": without_places(asdict(plan.options)),
        "validation_at_working_size": result,
    }
    return Bundle(
        plan.options.network,
        model.get_config(),
        plan.classes,
        plan.normalization,
        plan.scaling,
        seams=plan.seams,
        objects=objects_of(run, plan),
        origin=origin,
    )


def without_places(options: dict[str, Any]) -> dict[str, Any]:
    """Options with the last two names of each path alone: whoever gets a model need not learn where it was made."""
    places = [name for name in ("start", "validation") if isinstance(options[name], str)]
    if table_of(options["group_by"]):
        places.append("group_by")
    return options | {name: "/".join(Path(options[name]).parts[-2:]) for name in places}


def objects_of(run: Path, plan: Plan) -> dict[str, Any]:
    """What `unetpp objects` has said of a run's model so far, or else of the one that it starts from."""
    try:
        return read_bundle(run / "model").objects
    except BundleError:
        return plan.objects


def write_history(history: list[dict], path: Path) -> None:
    """A row an epoch, as CSV."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
