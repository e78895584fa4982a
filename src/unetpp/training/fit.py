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

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetpp.analysis.overlay import draw_overlay, panel, to_display
from unetpp.bundle import Bundle, read_bundle
from unetpp.data.images import as_float, read_image, write_png
from unetpp.data.resample import resize_image
from unetpp.errors import InstallError
from unetpp.export import add_graph
from unetpp.model import losses
from unetpp.model.unet import UNet
from unetpp.model.unetpp import UNetPP
from unetpp.training.average import Average
from unetpp.training.callbacks import Follow, Report, Validate, tensorboard
from unetpp.training.checkpoints import Progress, load_checkpoint
from unetpp.training.patches import Sampler, load_picture
from unetpp.training.plan import Plan
from unetpp.training.schedule import Budget

# Optimiser steps an epoch: each training image about twice, and never so few that validation prevails.
PASSES, LEAST_STEPS = 2, 10
# Batches by which the averaged weights' statistics are measured before each validation.
STATISTICS = 10
# Held-out images drawn for the eye when a run ends.
PICTURES = 12


class Batches(keras.utils.PyDataset):
    """Augmented crops, batch after batch, the same for the same seed.

    Gives images (batch, patch, patch, C) float32, normalised, and masks (batch, patch, patch) int32.
    """

    def __init__(self, sampler: Sampler, plan: Plan, steps: int, epoch: int = 0):
        super().__init__()
        self.sampler, self.plan, self.steps, self.epoch = sampler, plan, steps, epoch

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        plan, images, masks = self.plan, [], []
        for k in range(plan.options.batch):
            rng = np.random.default_rng((plan.options.seed, self.epoch, step, k))
            image, mask = self.sampler(rng)
            images.append(image)
            masks.append(mask)
        return np.stack(images), np.stack(masks).astype(np.int32)

    def on_epoch_end(self):
        """Other crops in the next epoch."""
        self.epoch += 1


def train(plan: Plan, run: Path, budget: Budget, *, report: Report, resume: bool = False) -> Bundle:
    """Train a network as planned, and leave a run folder with the best model.

    Args:
        plan: what to do.
        run: the run folder, which exists.
        budget: how long; its clock runs from the command's start.
        report: is told of each step and each validation.
        resume: go on from the newest checkpoint, if there is one.

    Returns:
        the description of the best model, which lies in `run / "model"`.
    """
    options = plan.options
    keras.utils.set_random_seed(options.seed)
    loading: dict[str, Any] = {
        "normalization": plan.normalization,
        "num_classes": len(plan.classes),
        "scaling": plan.scaling,
    }
    pictures, held_out = (
        [load_picture(sample, **loading) for sample in side] for side in (plan.train, plan.validation)
    )
    with precision(options.precision):
        found = load_checkpoint(run / "checkpoints") if resume else None
        model, progress = found or (build(plan), Progress())
    steps = max(LEAST_STEPS, PASSES * len(pictures) // options.batch)
    budget.spent, budget.taken = progress.spent, progress.epoch * steps
    epochs = options.epochs
    if budget.seconds is None:
        budget.steps = epochs * steps
    else:
        # Until the first validation has been timed.
        epochs, budget.reserve = sys.maxsize, min(0.3 * budget.seconds, 10) + 0.05 * budget.seconds
    batches = Batches(
        Sampler(pictures, options.patch, strength=options.augmentation), plan, steps, progress.epoch
    )
    average = Average(progress, [batches[step][0] for step in range(min(STATISTICS, steps))])
    validate = Validate(plan, held_out, run, average, progress, budget, report)
    if budget.share < 1:
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=progress.epoch,
            callbacks=[
                Follow(budget, options.learning_rate, report),
                average,
                validate,
                *tensorboard(run / "events"),
            ],
            verbose=0,
        )
        draw_validation(plan, held_out, validate.best, run / "validation")
    # Without what the graph is made by, Keras predicts.
    with suppress(InstallError):
        add_graph(run)
    return read_bundle(run)


def build(plan: Plan) -> UNetPP:
    """The compiled network of a plan."""
    options = plan.options
    network = {"UNetPP": UNetPP, "UNet": UNet}[options.network]
    model = network(
        (None, None, len(plan.normalization.mean)),
        len(plan.classes),
        filters=options.filters,
        deep_supervision=options.deep_supervision,
    )
    rate = options.learning_rate
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=1.0),
        loss=losses.get(options.loss, class_weights=plan.class_weights),
        metrics=[],
    )
    return model


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
