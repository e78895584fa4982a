"""Data set, machine and options to the settings of a run, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

from unetpp.bundle import Bundle, read_bundle
from unetpp.data import dataset
from unetpp.data.groups import find_groups, fold_of_each, split
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, measure_scaling
from unetpp.errors import DatasetError, SettingError
from unetpp.model.weights import resolve_class_weights
from unetpp.training.options import Options

LONG_SIDE, PATCH, BATCH, EPOCHS = 512, 256, 8, 60
LEARNING_RATE, GENTLE = 1e-3, 2e-4
# Images whose objects are measured; the side of those that a network should still see.
MEASURED, SMALLEST = 100, 12
# Of what a step holds, a plane of activations takes so many bytes a pixel.
BYTES = 10
GIVEN = "as given"


@dataclass(frozen=True)
class Plan:
    """Everything a run is decided by, saved as plan.json.

    Attributes:
        options: as given, with what was None decided.
        classes: names by index.
        class_weights: of the loss, by index, or None.
        normalization: of the images.
        scaling: of the images.
        train, validation: samples.
        reasons: why each of the plan's rows is as it is.
    """

    options: Options
    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None
    normalization: Normalization
    scaling: Scaling
    train: tuple[dataset.Sample, ...]
    validation: tuple[dataset.Sample, ...]
    reasons: dict[str, str] = field(default_factory=dict)


def make_plan(
    samples: list[dataset.Sample], options: Options, classes: tuple[str, ...] | None = None
) -> Plan:
    """Look at a data set and the machine, and decide on the settings of a run.

    Args:
        samples: images with masks.
        options: what the user decided.
        classes: names by index; None to count the masks' values.

    Raises:
        DatasetError, ImageError, MaskError: for data that cannot be trained on.
        SettingError: for options that do not fit the data.
        BundleError: if the model to start from cannot be read.
    """
    sizes = [dataset.check_sizes(sample) for sample in samples]
    names = dataset.infer_classes(samples, classes)
    counts = dataset.count_pixels(samples, len(names))
    start = read_bundle(Path(options.start)) if options.start else None
    why: dict[str, str] = {}
    if start:
        options = options_of(start, options)
        why["network"] = why["normalisation"] = f"as {options.start}, whose weights it starts from"
        if start.classes != names:
            why["classes"] = (
                f"the heads are made anew: the model to start from knows {', '.join(start.classes)}"
            )
    options = decide_size(samples, sizes, len(names), options, start, why)
    options = decide_steps(options, sizes, why)
    groups = find_groups(samples, options.group_by)
    train, validation = held_out(samples, counts, groups, options)
    why["images"] = "near-duplicates" + (f", and {options.group_by}," if options.group_by else "")
    why["images"] += " on one side, classes alike on both"
    train_counts = sum(
        row for row, sample in zip(counts, samples, strict=True) if sample.stem in {s.stem for s in train}
    )
    for name, count in zip(names, train_counts, strict=True):
        if not count:
            raise DatasetError(f"no training image shows the class {name}", mend="give --classes that occur")
    weights = resolve_class_weights(options.class_weights, len(names), class_names=names, counts=train_counts)
    if start:
        normalization, scaling = start.normalization, start.scaling
        check_channels(start, dataset.data_channels(samples))
    else:
        scaling = measure_scaling(sizes, options.long_side or None)
        per_image = None if options.normalization == "auto" else options.normalization == "image"
        normalization = dataset.measure_normalization(
            train, dataset.data_channels(samples), per_image=per_image
        )
        why["normalisation"] = _why(options.normalization != "auto") or (
            "images differ more from one another than within"
            if normalization.per_image
            else "images are lit alike; brightness may carry meaning"
        )
    return Plan(options, names, weights, normalization, scaling, tuple(train), tuple(validation), why)


def options_of(start: Bundle, options: Options) -> Options:
    """The options, with the network of the model to start from and a gentler rate."""
    settings = start.settings
    return replace(
        options,
        network=start.network,
        filters=tuple(settings["filters"]),
        deep_supervision=bool(settings.get("deep_supervision")),
        learning_rate=options.learning_rate or GENTLE,
    )


def check_channels(start: Bundle, channels: int) -> None:
    """Raise unless images of so many channels fit a model: grey is repeated for RGB."""
    wanted = len(start.normalization.mean)
    if channels != wanted and (channels, wanted) != (1, 3):
        raise SettingError(
            f"the model to start from takes {wanted} channels, the images have {channels}",
            mend="train without --from",
        )


def decide_size(
    samples: Sequence[dataset.Sample],
    sizes: Sequence[tuple[int, int]],
    num_classes: int,
    options: Options,
    start: Bundle | None,
    why: dict[str, str],
) -> Options:
    """At what size the network sees the images: as they are, or all with the same long side.

    Where objects grow with the image, all images show the same field, larger or smaller: their long sides are
    brought to one length, unless that makes them too small to see. Where objects are alike in pixels, images keep
    their size.
    """
    if start:
        why["size"] = f"as {options.start}"
        return replace(options, long_side=start.scaling.long_side or 0)
    if options.long_side is not None:
        why["size"] = GIVEN
        return options
    longest = np.array([max(size) for size in sizes])
    if longest.max() <= LONG_SIDE and longest.max() <= 1.2 * longest.min():
        why["size"] = "the images are small and alike"
        return replace(options, long_side=0)
    chosen = range(0, len(samples), max(1, len(samples) // MEASURED))
    objects = np.array(dataset.object_sides([samples[k] for k in chosen], num_classes))
    shown = objects > 0
    pixels, shares = np.log(objects[shown]), np.log(objects[shown] / longest[chosen][shown])
    if pixels.size and pixels.std() < shares.std():
        why["size"] = (
            f"objects are about {np.exp(np.median(pixels)):.0f} pixels wide, however large the image"
        )
        return replace(options, long_side=0)
    side = int(min(LONG_SIDE, longest.max()))
    shrunk = (objects * np.minimum(1, side / longest[chosen]))[shown & (longest[chosen] > side)]
    if shrunk.size and np.quantile(shrunk, 0.1) < SMALLEST:
        why["size"] = (
            f"brought to {side} pixels, objects would be only {np.quantile(shrunk, 0.1):.0f} pixels wide"
        )
        return replace(options, long_side=0)
    share = f"{100 * np.exp(np.median(shares)):.0f} % of it wide" if shares.size else "alike"
    why["size"] = f"of the long side: objects grow with the image, and are about {share}"
    return replace(options, long_side=side)


def decide_steps(options: Options, sizes: Sequence[tuple[int, int]], why: dict[str, str]) -> Options:
    """Crops, batch, rate and length."""
    multiple = options.multiple
    scaling = measure_scaling(list(sizes), options.long_side or None)
    shorter = int(np.median([min(scaling.size(size)) for size in sizes]))
    fitting = max(multiple, min(PATCH, shorter // multiple * multiple))
    patch = options.patch or fitting
    why["crops"] = _why(options.patch) or ("the usual" if patch == PATCH else "as large as the images")
    room = psutil.virtual_memory().available / 2
    most = max(1, int(room // step_memory(replace(options, patch=patch, batch=1, devices=1))))
    devices = options.devices
    batch = options.batch or max(1, min(BATCH, most) // devices) * devices
    why["batch"] = _why(options.batch) or (
        "the usual" if batch == BATCH else "all that the memory holds" if batch < BATCH else "one a device"
    )
    why["length"] = _why(options.budget or options.epochs) or "give --budget for another"
    why["learning rate"] = _why(options.learning_rate) or "the usual; unetpp lr-find measures another"
    return replace(
        options,
        patch=patch,
        batch=batch,
        epochs=options.epochs or EPOCHS,
        learning_rate=options.learning_rate or LEARNING_RATE,
    )


def step_memory(options: Options) -> float:
    """About how many bytes the activations of a step take."""
    filters, depth = options.filters, len(options.filters)
    planes = 0.0
    for i, j in np.argwhere(np.add.outer(range(depth), range(depth)) < depth):
        inner = filters[i] if options.inner_filters == "level" else filters[0]
        width = filters[i] if j in (0, depth - 1 - i) else inner
        planes += (6 * width + j * inner) / 4.0**i
    return BYTES * options.batch * options.patch**2 * planes


def held_out(samples, counts, groups, options: Options):
    """Training and validation samples: a share held out, or a fold."""
    if not options.folds:
        return split(samples, counts, validation=options.validation, seed=options.seed, groups=groups)
    fold = fold_of_each(samples, counts, options.folds, seed=options.seed, groups=groups)
    sides = [
        [s for s, f in zip(samples, fold, strict=True) if (f == options.fold - 1) == held] for held in (0, 1)
    ]
    return sides[0], sides[1]


def rows(plan: Plan) -> list[tuple[str, str, str]]:
    """The plan as a reader wants it: setting, value, why."""
    options, why = plan.options, plan.reasons
    shown: dict[str, tuple[str, str]] = {
        "classes": (", ".join(plan.classes), ""),
        "images": (f"{len(plan.train)} to train on, {len(plan.validation)} held out", ""),
        "network": (
            f"{options.network}, filters {', '.join(map(str, options.filters))}",
            "--network, --filters",
        ),
        "size": (f"{options.long_side} pixels" if options.long_side else "as it is", ""),
        "normalisation": ("by each image" if plan.normalization.per_image else "by the data set", ""),
        "crops": (f"{options.patch} x {options.patch} pixels", ""),
        "batch": (
            f"{options.batch} crops" + (f" x {options.accumulate}" if options.accumulate > 1 else ""),
            "",
        ),
        "sampling": (
            f"{100 * options.focus:.0f} % of the crops on a class",
            "each class alike, however rare; the rest anywhere",
        ),
        "augmentation": (
            f"{options.augmentation:g}",
            "zoom, rotation, bending, light, blur, noise; 0: flips alone",
        ),
        "loss": (options.loss, ""),
        "class weights": (
            "all alike" if plan.class_weights is None else ", ".join(f"{w:g}" for w in plan.class_weights),
            "sampling balances the classes" if plan.class_weights is None else "",
        ),
        "learning rate": (f"{options.learning_rate:g}, warm-up and cosine", ""),
        "length": (_length(options), ""),
        "devices": (f"{options.devices}, data-parallel" if options.devices > 1 else "1", ""),
        "precision": (
            options.precision,
            "bfloat16 where the processor has it" if options.precision == "auto" else "",
        ),
    }
    return [(name, value, why.get(name, reason)) for name, (value, reason) in shown.items()]


def _why(given) -> str:
    return GIVEN if given else ""


def _length(options: Options) -> str:
    if options.budget:
        return f"{options.budget / 60:g} minutes"
    return f"{options.epochs} epochs" + (
        f", at most {options.patience} without gain" if options.patience else ""
    )
