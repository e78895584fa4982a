"""Data set, machine and options to the settings of a run, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from unetpp.bundle import Bundle
from unetpp.data import dataset
from unetpp.data.groups import find_groups, fold_of_each, split
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, measure_scaling
from unetpp.errors import DatasetError
from unetpp.model.weights import resolve_class_weights
from unetpp.training.options import THREADS, Options
from unetpp.training.start import check_channels, network_settings, options_of, read_start

LONG_SIDE, PATCH, BATCH, EPOCHS = 512, 256, 8, 60
LEARNING_RATE = 1e-3
# Images whose objects are measured; the side of those that a network should still see.
MEASURED, SMALLEST = 100, 12
# Of what a step holds, a plane of activations takes so many bytes a pixel.
BYTES = 10
# Pixels of the longest side that crops can be drawn from: OpenCV counts them in 16 bits.
LARGEST = 2**15 - 2
GIVEN = "as given"
# The rows that options decide, if they are given.
DECIDED_BY = {
    "network": ("network", "filters", "inner_filters", "deep_supervision"),
    "size": ("long_side",),
    "normalisation": ("normalization",),
    "crops": ("patch",),
    "batch": ("batch",),
    "sampling": ("focus",),
    "augmentation": ("augmentation",),
    "loss": ("loss", "head_weights"),
    "class weights": ("class_weights",),
    "learning rate": ("learning_rate",),
    "length": ("budget", "epochs"),
    "devices": ("devices",),
    "workers": ("workers",),
    "precision": ("precision",),
}


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
        settings: of the network, as of the model that it starts from; {} for those that the options give.
    """

    options: Options
    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None
    normalization: Normalization
    scaling: Scaling
    train: tuple[dataset.Sample, ...]
    validation: tuple[dataset.Sample, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


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
    why = reasons_given(options)
    why["classes"] = GIVEN if classes else "as many as values in the masks; --classes names them"
    start = read_start(options) if options.start else None
    if start:
        options = options_of(start, options, names, why)
    options = decide_size(samples, sizes, len(names), options, start, why)
    options = decide_steps(options, sizes, why)
    groups = find_groups(samples, options.group_by)
    train, validation = held_out(samples, counts, groups, options)
    why["images"] = f"fold {options.fold or 1} of {options.folds}: " if options.folds else ""
    why["images"] += "near-duplicates" + (f", and {options.group_by}," if options.group_by else "")
    why["images"] += " on one side, classes alike on both"
    chosen = {sample.stem for sample in train}
    train_counts = counts[[sample.stem in chosen for sample in samples]].sum(0)
    for name, count in zip(names, train_counts, strict=True):
        if not count:
            raise DatasetError(f"no training image shows the class {name}", mend="give --classes that occur")
    weights = resolve_class_weights(options.class_weights, len(names), class_names=names, counts=train_counts)
    channels = dataset.data_channels(samples)
    if start:
        normalization, scaling = start.normalization, start.scaling
        check_channels(start, channels)
        if channels < len(normalization.mean):
            why["channels"] = f"as {options.start}: grey images are repeated for it"
    else:
        scaling = measure_scaling(sizes, options.long_side or None)
        normalization = decide_normalization(train, channels, options, why)
    check_sides(samples, sizes, scaling)
    sides = {"train": tuple(train), "validation": tuple(validation)}
    settings = network_settings(start) if start else {}
    return Plan(options, names, weights, normalization, scaling, **sides, reasons=why, settings=settings)


def reasons_given(options: Options) -> dict[str, str]:
    """For each row that options decide which are not as ever: that they were given."""
    usual = Options()
    return {
        row: GIVEN
        for row, names in DECIDED_BY.items()
        if any(getattr(options, name) != getattr(usual, name) for name in names)
    }


def decide_normalization(train, channels: int, options: Options, why: dict[str, str]) -> Normalization:
    """Mean and deviation over the training images, or of each image."""
    per_image = None if options.normalization == "auto" else options.normalization == "image"
    found = dataset.measure_normalization(train, channels, per_image=per_image)
    why.setdefault(
        "normalisation",
        "images differ more from one another than within"
        if found.per_image
        else "images are lit alike; brightness may carry meaning",
    )
    return found


def check_sides(
    samples: Sequence[dataset.Sample], sizes: Sequence[tuple[int, int]], scaling: Scaling
) -> None:
    """Raise `DatasetError` for an image of which no crops can be drawn, at working size."""
    for sample, size in zip(samples, sizes, strict=True):
        height, width = scaling.size(size)
        if max(height, width) > LARGEST:
            raise DatasetError(
                f"the image is {width} x {height} pixels at working size, the most is {LARGEST} a side",
                where=sample.image,
                mend="cut it into pieces, or give a smaller --long-side",
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
    why.setdefault("crops", "the usual" if patch == PATCH else "as large as the images")
    room = psutil.virtual_memory().available / 2
    most = max(1, int(room // step_memory(replace(options, patch=patch, batch=1, devices=1))))
    devices = options.devices
    batch = options.batch or max(1, min(BATCH, most) // devices) * devices
    reason = "the usual" if most >= BATCH else "all that the memory holds"
    reason += ", as many on each device" if devices > 1 else ""
    why.setdefault("batch", "one a device" if batch == devices > 1 else reason)
    why.setdefault("length", "the usual; give --budget or --epochs for another")
    why.setdefault("learning rate", "the usual; unetpp lr-find measures another")
    precision = fastest_precision() if options.precision == "auto" else options.precision
    why.setdefault(
        "precision",
        f"this processor has {'' if precision == 'mixed_bfloat16' else 'no '}arithmetic in bfloat16",
    )
    why.setdefault("workers", "half of the processor's cores, so that the network need not wait for crops")
    return replace(
        options,
        patch=patch,
        batch=batch,
        epochs=0 if options.budget else options.epochs or EPOCHS,
        learning_rate=options.learning_rate or LEARNING_RATE,
        precision=precision,
        workers=options.workers or THREADS,
    )


def fastest_precision() -> str:
    """The dtype policy that is fastest here: bfloat16 where the processor computes in it, else float32."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8") if info.is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


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
        [s for s, f in zip(samples, fold, strict=True) if (f == (options.fold or 1) - 1) == held]
        for held in (0, 1)
    ]
    return sides[0], sides[1]
