"""Data set, machine and options to the settings of a run, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unetpp.bundle import Bundle
from unetpp.data import dataset
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, measure_scaling
from unetpp.errors import DatasetError, SettingError
from unetpp.model.weights import resolve_class_weights
from unetpp.training.options import Options
from unetpp.training.sides import choose_sides
from unetpp.training.start import (
    check_channels,
    check_images,
    network_settings,
    options_of,
    read_start,
)
from unetpp.training.steps import decide_steps

LONG_SIDE = 512
SEAM = "seam"
# Images whose objects are measured; the side of those that a network should still see.
MEASURED, SMALLEST = 100, 12
# Pixels of the longest side that crops can be drawn from: OpenCV counts them in 16 bits.
LARGEST = 2**15 - 2
GIVEN = "as given"
# The rows that options decide, if they are given.
DECIDED_BY = {
    "network": ("network", "filters", "inner_filters", "dropout", "deep_supervision"),
    "size": ("long_side",),
    "normalisation": ("normalization",),
    "crops": ("patch",),
    "batch": ("batch",),
    "sampling": ("focus",),
    "augmentation": ("augmentation",),
    "loss": ("loss", "head_weights"),
    "class weights": ("class_weights",),
    "learning rate": ("learning_rate",),
    "length": ("budget", "epochs", "passes"),
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
        objects: what counts as one, as in the model that it starts from, if its classes are the same.
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
    objects: dict[str, Any] = field(default_factory=dict)

    @property
    def seams(self) -> bool:
        """Whether the network learns, beside the classes, where objects touch."""
        return self.options.seams

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the network tells apart, by index: the classes, and seams."""
        return (*self.classes, SEAM) if self.seams else self.classes


def make_plan(
    samples: list[dataset.Sample], options: Options, classes: tuple[str, ...] | None = None
) -> Plan:
    """Look at a data set and the machine, and decide on the settings of a run.

    Args:
        samples: images with masks.
        options: what the user decided.
        classes: names by index; None for those of the model to start from if the masks have no other values, or else as
            many as the masks' values.

    Raises:
        DatasetError, ImageError, MaskError: for data that cannot be trained on, or that the model to start from would
            refuse to predict.
        SettingError: for options that do not fit the data.
        BundleError: if the model to start from cannot be read.
    """
    sizes = [dataset.check_sizes(sample) for sample in samples]
    start = read_start(options) if options.start else None
    names = dataset.infer_classes(samples, classes)
    why = reasons_given(options)
    why["classes"] = GIVEN if classes else "as many as values in the masks; --classes names them"
    if start and not classes and len(names) <= len(start.classes):
        names = start.classes
        why["classes"] = "as the model to start from has them; --classes names others"
    counts = dataset.count_pixels(samples, len(names))
    for name, count in zip(names, counts.sum(0), strict=True):
        if not count:
            mend = "add an image that does, or give --classes that occur"
            raise DatasetError(f"no image shows the class {name}", mend=mend)
    options = replace(options, seams=check_seams(samples, names, options))
    if start:
        options = options_of(start, options, names, why)
    channels = dataset.data_channels(samples)
    if start:
        check_channels(start, channels)
        if channels < len(start.normalization.mean):
            why["channels"] = f"as {options.start}: grey images are repeated for it"
            channels = len(start.normalization.mean)
        check_images(samples, start)
    elif options.dropout is None:
        # Short runs are behind with it, of few images and of many, and long ones gain where they go on without.
        options = replace(options, dropout=0.0)
    options = decide_size(samples, sizes, len(names), options, start, why)
    scaling = start.scaling if start else measure_scaling(sizes, options.long_side or None)
    check_sides(samples, sizes, scaling)
    options = decide_steps(options, sizes, scaling, channels, why)
    train, validation, why["images"] = choose_sides(samples, counts, options, names)
    chosen = set(train)
    train_counts = counts[[sample in chosen for sample in samples]].sum(0)
    weights = resolve_class_weights(options.class_weights, len(names), class_names=names, counts=train_counts)
    normalization = start.normalization if start else decide_normalization(train, channels, options, why)
    return Plan(
        options,
        names,
        weights,
        normalization,
        scaling,
        tuple(train),
        tuple(validation),
        reasons=why,
        settings=network_settings(start) if start else {},
        objects=start.objects if start and start.classes == tuple(names) else {},
    )


def check_seams(samples: Sequence[dataset.Sample], names: Sequence[str], options: Options) -> bool:
    """Whether seams shall be learnt: if it is known which object each pixel is of.

    Raises:
        SettingError: if they shall be and it is not, or a class has their name.
    """
    known = any(sample.instances for sample in samples)
    if options.seams and not known:
        raise SettingError("the plan has seams, where objects touch", mend="give the folder of --instances")
    if known and SEAM in names:
        raise SettingError(f"a class is called {SEAM}, as is where objects touch", mend="give another name")
    return known


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
    their size. Of images alike in size neither can be told: they are shrunk as far as objects can be seen.
    """
    if start:
        why["size"] = f"as {options.start}"
        return options
    if options.long_side is not None:
        return options
    longest = np.array([max(size) for size in sizes])
    alike = longest.max() <= 1.2 * longest.min()
    if alike and longest.max() <= LONG_SIDE:
        why["size"] = "the images are small and alike"
        return replace(options, long_side=0)
    chosen = range(0, len(samples), max(1, len(samples) // MEASURED))
    objects = np.array(dataset.object_sides([samples[k] for k in chosen], num_classes))
    shown = objects > 0
    pixels, shares = np.log(objects[shown]), np.log(objects[shown] / longest[chosen][shown])
    if pixels.size and not alike and pixels.std() < shares.std():
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
    share = f"are about {100 * np.exp(np.median(shares)):.0f} % of it wide" if shares.size else "are none"
    grow = "objects can still be seen" if alike else "objects grow with the image"
    why["size"] = f"of the long side: {grow}, and {share}"
    return replace(options, long_side=side)
