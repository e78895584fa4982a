"""Options and data set to the settings of a run."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unetpp.data import dataset
from unetpp.data.images import atomic_path
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, measure_scaling
from unetpp.errors import DatasetError, SettingError


@dataclass(frozen=True)
class Options:
    """What a user may decide about a run; every field has a default that works.

    Attributes:
        budget: seconds of wall clock, or None.
        epochs: passes over the training images, used without a budget.
        network: "UNetPP" or "UNet".
        filters: the width of each level.
        deep_supervision: heads on all of X[0, 1..].
        long_side: pixels of an image's long side when the network sees it; 0 for its own size.
        patch: pixels of a training crop's side.
        batch: crops a step.
        loss: a sum of names of `unetpp.model.losses`.
        class_weights: one a class, or "balanced", or None for all alike.
        learning_rate: the highest of the schedule.
        precision: "auto" (bfloat16 where the processor has it), "float32" or "mixed_bfloat16".
        validation: the share of the images that is held out.
        seed: of the split, the crops, and the first weights.
        normalization: by the "dataset", by each "image", or "auto": see `Normalization`.
        augmentation: how strongly crops differ from the images; 0 for flips and right angles alone.
    """

    budget: float | None = None
    epochs: int = 60
    network: str = "UNetPP"
    filters: tuple[int, ...] = (16, 32, 64, 128, 256)
    deep_supervision: bool = False
    long_side: int = 512
    patch: int = 256
    batch: int = 8
    loss: str = "crossentropy + dice"
    class_weights: tuple[float, ...] | str | None = None
    learning_rate: float = 1e-3
    precision: str = "auto"
    validation: float = 0.15
    seed: int = 0
    normalization: str = "auto"
    augmentation: float = 1.0

    def __post_init__(self):
        least = 2 ** (len(self.filters) - 1)
        problems = {
            "budget": self.budget is not None and self.budget <= 0,
            "epochs": self.epochs < 1,
            "network": self.network not in ("UNetPP", "UNet"),
            "filters": not 2 <= len(self.filters) <= 6 or min(self.filters) < 1,
            "long_side": self.long_side < 0,
            "patch": self.patch < least or self.patch % least,
            "batch": self.batch < 1,
            "learning_rate": self.learning_rate <= 0,
            "precision": self.precision not in ("auto", "float32", "mixed_bfloat16"),
            "normalization": self.normalization not in ("auto", "dataset", "image"),
            "augmentation": self.augmentation < 0,
            "validation": not 0 < self.validation < 1,
        }
        for name in (name for name, wrong in problems.items() if wrong):
            hint = f"a multiple of {least}" if name == "patch" else "see `unetpp train --help`"
            raise SettingError(f"--{name.replace('_', '-')} cannot be {getattr(self, name)!r}", mend=hint)


@dataclass(frozen=True)
class Plan:
    """Everything a run is decided by, saved as plan.json.

    Attributes:
        options: as given.
        classes: names by index.
        class_weights: of the loss, by index, or None.
        normalization: of the images.
        scaling: of the images.
        train, validation: samples.
    """

    options: Options
    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None
    normalization: Normalization
    scaling: Scaling
    train: tuple[dataset.Sample, ...]
    validation: tuple[dataset.Sample, ...]


def make_plan(
    samples: list[dataset.Sample], options: Options, classes: tuple[str, ...] | None = None
) -> Plan:
    """Look at a data set and decide on the settings of a run.

    Args:
        samples: images with masks.
        options: what the user decided.
        classes: names by index; None to count the masks' values.

    Raises:
        DatasetError, ImageError, MaskError: for data that cannot be trained on.
        SettingError: for options that do not fit the data.
    """
    from unetpp.model.weights import resolve_class_weights

    sizes = [dataset.check_sizes(sample) for sample in samples]
    scaling = measure_scaling(sizes, options.long_side or None)
    names = dataset.infer_classes(samples, classes)
    counts = dataset.count_pixels(samples, len(names))
    groups = dataset.duplicate_groups(samples)
    train, validation = dataset.split(
        samples, counts, validation=options.validation, seed=options.seed, groups=groups
    )
    chosen = {sample.stem for sample in train}
    train_counts = sum(row for row, sample in zip(counts, samples, strict=True) if sample.stem in chosen)
    for name, count in zip(names, train_counts, strict=True):
        if not count:
            raise DatasetError(f"no training image shows the class {name}", mend="give --classes that occur")
    weights = resolve_class_weights(options.class_weights, len(names), class_names=names, counts=train_counts)
    per_image = None if options.normalization == "auto" else options.normalization == "image"
    normalization = dataset.measure_normalization(train, dataset.data_channels(samples), per_image=per_image)
    return Plan(options, names, weights, normalization, scaling, tuple(train), tuple(validation))


def save_plan(plan: Plan, run: Path) -> None:
    """Write plan.json and split.json into a run folder."""
    settings = {name: value for name, value in asdict(plan).items() if name not in ("train", "validation")}
    split = {side: [_row(sample) for sample in getattr(plan, side)] for side in ("train", "validation")}
    for name, content in (("plan.json", settings), ("split.json", split)):
        with atomic_path(run / name) as path:
            path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_plan(run: Path) -> Plan:
    """Read what `save_plan` wrote.

    Raises:
        SettingError: if there is nothing to resume, or it is damaged.
    """
    try:
        settings = json.loads((run / "plan.json").read_text(encoding="utf-8"))
        split = json.loads((run / "split.json").read_text(encoding="utf-8"))
        options = Options(**_tuples(settings.pop("options")))
        known = {f.name for f in fields(Plan)}
        values = {name: value for name, value in _tuples(settings).items() if name in known}
        for side in ("train", "validation"):
            values[side] = tuple(_sample(row) for row in split[side])
        values["scaling"] = Scaling(**values["scaling"])
        values["normalization"] = Normalization(**_tuples(values["normalization"]))
        return Plan(options, **values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            "there is no run to resume here", where=run, mend="start it without --resume"
        ) from error


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _row(sample: dataset.Sample) -> dict[str, str]:
    return {"stem": sample.stem, "image": str(sample.image.resolve()), "mask": str(sample.mask.resolve())}


def _sample(row: dict[str, str]) -> dataset.Sample:
    return dataset.Sample(row["stem"], Path(row["image"]), Path(row["mask"]))
