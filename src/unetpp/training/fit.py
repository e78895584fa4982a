"""The training loop: build, compile, fit, validate, and keep the best in a run folder.

RUN/
  model/              the bundle with the best averaged weights
  plan.json           options, classes, normalisation
  split.json          which images were trained on and which were held out
  history.csv         a row an epoch
  events/             the same for TensorBoard
  checkpoints/        to resume from
  validation/         image, truth and prediction of held-out images, side by side
"""

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetpp.analysis.overlay import draw_overlay, panel, to_display
from unetpp.bundle import Bundle, load_model, read_bundle
from unetpp.data.dataset import Sample
from unetpp.data.images import as_float, read_image, write_png
from unetpp.data.resample import resize_image
from unetpp.errors import DatasetError, ImageError, InstallError, MaskError, TrainingError, UnetppError
from unetpp.export import add_graph
from unetpp.model import losses
from unetpp.model.recompute import recomputing
from unetpp.model.unet import UNet
from unetpp.model.unetpp import UNetPP
from unetpp.training.average import Average
from unetpp.training.batches import Batches, Continue
from unetpp.training.callbacks import Follow, Report, Validate
from unetpp.training.checkpoints import Progress, load_checkpoint
from unetpp.training.patches import Picture, Sampler, load_picture
from unetpp.training.plan import Plan
from unetpp.training.schedule import Budget
from unetpp.training.trackers import tensorboard, tracking

# Optimiser steps an epoch: each training image about twice, and never so few that validation prevails.
PASSES, LEAST_STEPS = 2, 10
# Batches by which the averaged weights' statistics are measured before each validation.
STATISTICS = 10
# How often a run is taken back before it is given up.
ROLLBACKS = 3
# The share of the images that may turn out to be unreadable.
UNREADABLE = 0.01
# Held-out images drawn for the eye when a run ends.
PICTURES = 12


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
        TrainingError: if the loss is not a number again and again.
        DatasetError: if more than 1 % of the images cannot be read.
    """
    options = plan.options
    train_samples, pictures = load_pictures(plan.train, plan, report.warn)
    held_samples, held_out = load_pictures(plan.validation, plan, report.warn)
    plan = replace(plan, train=train_samples, validation=held_samples)
    steps = max(LEAST_STEPS, PASSES * len(pictures) // options.batch)
    if budget.seconds is None:
        budget.steps = options.epochs * steps
    else:
        # Until the first validation has been timed.
        budget.reserve = min(0.3 * budget.seconds, 10) + 0.05 * budget.seconds
    sampler = Sampler(pictures, options.patch, focus=options.focus, strength=options.augmentation)
    batches = Batches(sampler, options, steps)
    statistics = [batches[step][0] for step in range(min(STATISTICS, steps))]
    labels: list[np.ndarray] = []
    diverged = 0
    with (
        interruptible() as interrupted,
        precision(options.precision),
        tracking(trackers, plan, run) as tracked,
    ):
        for rollbacks in range(ROLLBACKS + 1):
            model, progress = start(plan, run, resume=resume or rollbacks > 0)
            budget.spent, budget.taken = budget.spent if rollbacks else progress.spent, progress.steps
            progress.rollbacks = diverged if rollbacks else progress.rollbacks
            average = Average(progress, statistics)
            rate = options.learning_rate * 0.5**progress.rollbacks
            follow = Follow(budget, rate, report, interrupted)
            validate = Validate(plan, held_out, run, average, progress, follow)
            callbacks = [
                Continue(batches, progress),
                follow,
                average,
                validate,
                *tensorboard(run / "events", held_out, validate),
                *tracked,
            ]
            if budget.share < 1:
                model.fit(
                    batches,
                    epochs=sys.maxsize,
                    initial_epoch=progress.epoch,
                    shuffle=False,
                    callbacks=callbacks,
                    verbose=0,
                )
            if not follow.diverged:
                labels = validate.best
                break
            diverged = progress.rollbacks + 1
            report.warn(
                f"the loss is not a number at step {budget.taken}: back a checkpoint, at half the rate"
            )
        else:
            raise TrainingError(
                f"the loss was not a number {ROLLBACKS + 1} times",
                where=run,
                mend="start anew with a lower --learning-rate, --precision float32, or another --loss",
            )
    if interrupted():
        raise KeyboardInterrupt
    if labels:
        draw_validation(plan, held_out, labels, run / "validation")
    # Without what the graph is made by, Keras predicts.
    with suppress(InstallError):
        add_graph(run)
    return read_bundle(run)


def start(plan: Plan, run: Path, *, resume: bool):
    """The compiled network and how far it has come: from the newest checkpoint, or anew."""
    keras.utils.set_random_seed(plan.options.seed)
    model = build(plan)
    found = load_checkpoint(run / "checkpoints", model) if resume else None
    return model, found or Progress()


def load_pictures(samples: Sequence[Sample], plan: Plan, warn: Callable[[str], None]):
    """Samples as the network sees them; single ones that cannot be read are named and left out.

    Returns:
        (samples, pictures): tuples of those that can be read.

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
    return tuple(zip(*found, strict=True))


@contextmanager
def interruptible():
    """Gives a function that tells whether SIGINT or SIGTERM came; a second one is raised as ever."""
    asked = threading.Event()
    former: dict[int, Any] = {}

    def handle(number, frame):
        asked.set()
        signal.signal(number, former[number])

    main = threading.current_thread() is threading.main_thread()
    for number in (signal.SIGINT, signal.SIGTERM) if main else ():
        former[number] = signal.signal(number, handle)
    try:
        yield asked.is_set
    finally:
        for which, handler in former.items():
            signal.signal(which, handler)


def build(plan: Plan) -> UNetPP:
    """The compiled network of a plan, with the weights of the model that it starts from."""
    options = plan.options
    network: Any = {"UNetPP": UNetPP, "UNet": UNet}[options.network]
    settings: dict[str, Any] = {"filters": options.filters, "deep_supervision": options.deep_supervision}
    former: Any = None
    if options.start:
        bundle, former = load_model(Path(options.start))
        settings = {k: v for k, v in bundle.settings.items() if k not in ("input_shape", "num_classes")}
    network = recomputing(network) if options.low_memory else network
    model = network((None, None, len(plan.normalization.mean)), len(plan.classes), **settings)
    if former:
        heads_too = bundle.classes == plan.classes
        copy_weights(former, model, skip="" if heads_too else "head_")
    # Without decay, AdamW is Adam.
    optimizer = keras.optimizers.AdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        clipnorm=1.0,
        gradient_accumulation_steps=options.accumulate if options.accumulate > 1 else None,
    )
    loss = losses.get(options.loss, class_weights=plan.class_weights)
    model.compile(optimizer, loss=loss, metrics=[], head_weights=options.head_weights)
    return model


def copy_weights(source, model, *, skip: str = "") -> None:
    """Give a model's layers the weights of another's of the same names, but for names that begin with `skip`."""
    names = {layer.name for layer in source.layers}
    for layer in model.layers:
        if layer.weights and layer.name in names and not (skip and layer.name.startswith(skip)):
            layer.set_weights(source.get_layer(layer.name).get_weights())


@contextmanager
def precision(name: str):
    """Keras' dtype policy within; "auto" is bfloat16 where the processor has it, else float32."""
    if name == "auto":
        info = Path("/proc/cpuinfo")
        flags = info.read_text(encoding="utf-8") if info.is_file() else ""
        name = "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def draw_validation(plan: Plan, pictures, labels, folder: Path) -> None:
    """Image, truth and prediction of some held-out images side by side."""
    for sample, picture, found in list(zip(plan.validation, pictures, labels, strict=True))[:PICTURES]:
        image = to_display(resize_image(as_float(read_image(sample.image)), found.shape))
        columns = [
            ("image", image),
            ("truth", draw_overlay(image, picture.mask)),
            ("prediction", draw_overlay(image, found)),
        ]
        write_png(folder / f"{sample.stem}.png", panel(columns, classes=plan.classes))
