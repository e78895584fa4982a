"""The training loop: build, compile, fit, validate, and keep the best in a run folder.

RUN/
  model/              the bundle with the best averaged weights, or the last where nothing is held out
  plan.json           options, classes, normalisation
  split.json          which images were trained on and which were held out
  history.csv         a row an epoch
  events/             the same for TensorBoard
  checkpoints/        to resume from
  validation/         image, truth and prediction of held-out images, side by side
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetpp.bundle import WEIGHTS, Bundle, find_bundle, read_bundle, save_bundle, verified
from unetpp.data.dataset import Sample
from unetpp.errors import (
    BundleError,
    DatasetError,
    ImageError,
    InstallError,
    MaskError,
    OutputError,
    TrainingError,
    UnetppError,
)
from unetpp.export import add_graph
from unetpp.model import losses
from unetpp.training import devices
from unetpp.training.average import Average
from unetpp.training.batches import Batches, Continue
from unetpp.training.callbacks import Follow, Report, Validate
from unetpp.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from unetpp.training.interruption import interruptible
from unetpp.training.network import bare, build, precision, take_start_weights
from unetpp.training.offsets import add_offsets, best_offsets, logits_of
from unetpp.training.options import Options
from unetpp.training.patches import Picture, Sampler, load_picture
from unetpp.training.plan import Plan
from unetpp.training.schedule import Budget
from unetpp.training.trackers import check_trackers, tensorboard, tracking
from unetpp.training.validation import draw_validation, open_network, predict, score

# Batches by which the averaged weights' statistics are measured before each validation.
STATISTICS = 10
# How often a run is taken back before it is given up.
ROLLBACKS = 3
# The share of the images that may turn out to be unreadable.
UNREADABLE = 0.01
# At least so many training pictures choose the offsets, or one in so many, or as many as are held out.
TUNING = 8


def train(
    plan: Plan,
    run: Path,
    budget: Budget,
    *,
    report: Report,
    resume: bool = False,
    trackers: Sequence[str] = (),
) -> Bundle:
    """Train a network as planned, and leave a run folder with the best model.

    The first SIGINT or SIGTERM ends the step, validates and saves; `resume` goes on from there. A loss that is not a
    number takes the run back to the last checkpoint, at half the learning rate.

    Args:
        plan: what to do.
        run: the run folder, which exists.
        budget: how long; its clock runs from the command's start.
        report: is told of each step and each validation.
        resume: go on from the newest checkpoint, if there is one.
        trackers: "mlflow", "wandb".

    Returns:
        the description of the best model, which lies in `run / "model"`.

    Raises:
        KeyboardInterrupt: if it was interrupted, once all is saved.
        TrainingError: if the loss is not a number again and again, or a tracker cannot be started.
        DatasetError: if more than 1 % of the images cannot be read.
    """
    options = plan.options
    plan, pictures, held_out = load_sides(plan, report.warn)
    if plan.seams and not any(len(picture.centres[-1]) for picture in pictures):
        report.warn("no two objects touch: there are no seams to learn from")
    steps = options.steps(len(pictures))
    set_limits(budget, options, steps)
    sampler = Sampler(pictures, options.patch, focus=options.focus, strength=options.augmentation)
    batches = Batches(sampler, options, steps, share=devices.place())
    first = devices.place()[0] == 0
    with (
        interruptible() as interrupted,
        precision(options.precision),
        tracking(trackers if first else (), plan, run) as tracked,
        devices.spread(options.devices),
    ):
        with devices.alone():
            twin = bare(plan)
        try:
            sitting = Sitting(plan, run, budget, report, held_out, batches, twin, interrupted, tracked)
            train_with_rollbacks(sitting, resume)
        finally:
            batches.release()
        if any(devices.agree(interrupted())):
            raise KeyboardInterrupt
        if first:
            with devices.alone():
                labels = choose_factors(plan, run, twin, pictures, held_out)
    if first:
        draw_validation(plan, held_out, labels, run / "validation")
        try:
            add_graph(run)
        except InstallError:
            # Without what the graph is made by, Keras predicts.
            pass
        except (BundleError, OutputError) as error:
            report.warn(f"the model has no graph, and Keras predicts, until unetpp export makes one: {error}")
    # The others read what the first has written.
    devices.agree(0)
    return read_bundle(run)


def check(plan: Plan, trackers: Sequence[str] = ()) -> None:
    """Raise what would end a run before its first step: SettingError, BundleError, InstallError or TrainingError."""
    losses.get(plan.options.loss, class_weights=plan.class_weights)
    check_trackers(trackers)
    # Building takes a second or two, so only where that or what is read may fail.
    if plan.options.low_memory or plan.options.start:
        with precision(plan.options.precision):
            take_start_weights(build(plan), plan)


def set_limits(budget: Budget, options: Options, steps: int) -> None:
    """Give a budget of epochs its steps, and one of seconds what it keeps back until a validation has been timed."""
    if budget.seconds is None:
        budget.steps = options.epochs * steps
    else:
        budget.reserve = min(0.3 * budget.seconds, 10) + 0.05 * budget.seconds


@dataclass(frozen=True)
class Sitting:
    """What one call of `train` works with; `twin` is the network that takes averaged weights and predicts."""

    plan: Plan
    run: Path
    budget: Budget
    report: Report
    held_out: list[Picture]
    batches: Batches
    twin: keras.Model
    interrupted: Callable[[], bool]
    tracked: Sequence[keras.callbacks.Callback]


def train_with_rollbacks(sitting: Sitting, resume: bool) -> None:
    """Train until the budget is spent, going back a checkpoint whenever the loss is not a number.

    Raises:
        TrainingError: after too many such losses.
    """
    plan, run, budget = sitting.plan, sitting.run, sitting.budget
    model, progress = start_or_resume(plan, run, resume=resume)
    budget.spent, budget.taken = progress.spent, progress.steps
    while train_sitting(sitting, model, progress).diverged:
        rollbacks = progress.rollbacks + 1
        if rollbacks > ROLLBACKS:
            raise TrainingError(
                f"the loss was not a number {rollbacks} times",
                where=run,
                mend="start anew with a lower --learning-rate, --precision float32, or another --loss",
            )
        step = budget.taken
        model, progress = start_or_resume(plan, run, resume=True)
        progress.rollbacks, progress.spent = rollbacks, budget.elapsed
        budget.taken = progress.steps
        # So that it counts in a run that is resumed, too.
        if devices.place()[0] == 0:
            save_checkpoint(run / "checkpoints", model, progress)
        sitting.report.warn(f"the loss is not a number at step {step}: back a checkpoint, at half the rate")


def train_sitting(sitting: Sitting, model, progress: Progress) -> Follow:
    """Train from where `progress` stands to the budget's end, an interruption or a loss that is not a number."""
    plan, run, budget = sitting.plan, sitting.run, sitting.budget
    with devices.alone():
        average = Average(progress, sitting.twin, sitting.batches.whole(STATISTICS))
    rate = plan.options.learning_rate * 0.5**progress.rollbacks
    follow = Follow(budget, rate, sitting.report, sitting.interrupted)
    validate = Validate(plan, sitting.held_out, run, average, progress, follow)
    callbacks = [Continue(sitting.batches, progress), follow, average, validate]
    if devices.place()[0] == 0:
        callbacks += [*tensorboard(run / "events", sitting.held_out, validate), *sitting.tracked]
    [share] = devices.agree(budget.share)
    # A run that has come to its end stays as it is. A budget that loading has used up still gives a model, if a poor
    # one.
    if progress.finished != validate.end and (share < 1 or not progress.steps):
        # JAX and PyTorch would take a batch for this out of turn, and give each step that of another.
        if keras.backend.backend() != "tensorflow":
            model._symbolic_build(data_batch=sitting.batches.draw(0))
        # As many epochs as the budget holds.
        options = {"epochs": sys.maxsize, "initial_epoch": progress.epoch, "shuffle": False, "verbose": 0}
        model.fit(sitting.batches, callbacks=callbacks, **options)
    else:
        sitting.report.warn("nothing is left to train: --budget and --epochs count all sittings together")
    return follow


def start_or_resume(plan: Plan, run: Path, *, resume: bool):
    """The compiled network and how far it has come: from the newest checkpoint, or anew."""
    keras.utils.set_random_seed(plan.options.seed)
    model = build(plan)
    found = load_checkpoint(run / "checkpoints", model) if resume else None
    if not found:
        take_start_weights(model, plan)
    return model, found or Progress()


def choose_factors(
    plan: Plan, run: Path, model: keras.Model, pictures: list[Picture], held_out: list[Picture]
) -> list[np.ndarray]:
    """Choose on training pictures how readily the best model finds each class, and score it anew.

    Its weights go into `model`, a network like it: one that has predicted is compiled already.

    Returns:
        its labels of the held-out pictures.
    """
    bundle = read_bundle(run)
    model.load_weights(verified(find_bundle(run), bundle, WEIGHTS))
    if "factors" in bundle.origin:
        # A finished run that was resumed, and found nothing better.
        return predict(model, plan, held_out)
    wanted = max(TUNING, len(pictures) // TUNING, len(held_out))
    some = pictures[:: max(1, len(pictures) // wanted)]
    offsets = best_offsets(*logits_of(open_network(model, plan), some), seams=plan.seams)
    add_offsets(model, offsets)
    labels = predict(model, plan, held_out)
    factors = dict(zip(plan.outputs, np.exp(offsets, dtype=float).round(2).tolist(), strict=True))
    found = {"validation_at_working_size": score(labels, plan, held_out), "factors": factors}
    save_bundle(run / "model", replace(bundle, origin=bundle.origin | found), model)
    return labels


def load_sides(plan: Plan, warn: Callable[[str], None]) -> tuple[Plan, list[Picture], list[Picture]]:
    """The pictures to train on and those held out, and the plan with what can be read of both.

    Raises:
        DatasetError: if more than 1 % of all cannot be read, or none of a side.
    """
    kept, pictures = load_pictures((*plan.train, *plan.validation), plan, warn)
    held = set(plan.validation)
    train, validation = (
        tuple(sample for sample in kept if (sample in held) == side) for side in (False, True)
    )
    if not train or (plan.validation and not validation):
        what = "held out" if train else "to train on"
        raise DatasetError(f"none of the images {what} can be read", mend="mend them and start anew")
    plan = replace(plan, train=train, validation=validation)
    return plan, pictures[: len(train)], pictures[len(train) :]


def load_pictures(samples: Sequence[Sample], plan: Plan, warn: Callable[[str], None]):
    """Samples as the network sees them; single ones that cannot be read are named and left out.

    Returns:
        (samples, pictures): a tuple and a list of those that can be read.

    Raises:
        DatasetError: if more than 1 % cannot be read.
    """
    found: list[tuple[Sample, Picture]] = []
    failed: list[UnetppError] = []
    options: dict[str, Any] = {
        "normalization": plan.normalization,
        "num_classes": len(plan.classes),
        "scaling": plan.scaling,
    }
    for sample in samples:
        try:
            found.append((sample, load_picture(sample, **options)))
        except (ImageError, MaskError) as error:
            failed.append(error)
            warn(f"left out: {error}")
    if not found or len(failed) > UNREADABLE * len(samples):
        raise DatasetError(
            f"{len(failed)} of {len(samples)} images cannot be read, such as {failed[0].what}",
            where=failed[0].where,
            mend="mend them, or take them away and start anew",
        )
    kept, pictures = zip(*found, strict=True)
    return kept, list(pictures)
