"""What a user may decide about a run."""

import math
import os
import re
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from unetpp.data.groups import table_of
from unetpp.description import NETWORKS
from unetpp.errors import SettingError

# Threads that draw crops, unless it is said how many.
THREADS = max(2, (os.cpu_count() or 1) // 2)
# Steps between two validations, at least, so that these do not prevail.
LEAST_STEPS = 10
INNER = ("first", "level")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
NORMALIZATIONS = ("auto", "dataset", "image")
COUNT = "a whole number from 1 on"
SWITCH = "true or false"
# What each option can be.
RANGES = {
    "budget": "a time above 0, such as 45m; in a plan, seconds",
    "epochs": COUNT,
    "passes": COUNT,
    "network": f"one of: {', '.join(NETWORKS)}",
    "filters": "two to six widths, from 1 on, such as 16,32,64",
    "inner_filters": f"one of: {', '.join(INNER)}",
    "dropout": "a share from 0 to below 1",
    "deep_supervision": SWITCH,
    "head_weights": "a number from 0 on for each head",
    "start": "the folder of a model",
    "long_side": "pixels from 1 on, or 0 for each image's own size",
    "patch": "pixels from 1 on",
    "batch": COUNT,
    "accumulate": COUNT,
    "devices": COUNT,
    "low_memory": SWITCH,
    "focus": "a share from 0 to 1",
    "augmentation": "a number from 0 to 3",
    "loss": "a sum of losses, such as crossentropy + dice",
    "class_weights": "a number for each class, or balanced",
    "learning_rate": "a number above 0",
    "weight_decay": "a number from 0 on",
    "patience": "a whole number from 1 on, and with --validation above 0",
    "precision": f"one of: {', '.join(PRECISIONS)}",
    "normalization": f"one of: {', '.join(NORMALIZATIONS)}",
    "validation": "a share from 0 to below 1; or a file, without --folds",
    "group_by": "a regular expression, or FILE.csv:COLUMN",
    "folds": "a whole number from 2 on",
    "fold": "a whole number from 1 to that of --folds",
    "seams": SWITCH,
    "workers": COUNT,
    "seed": f"a whole number from 0 to {2**32 - 1}",
}


@dataclass(frozen=True)
class Options:
    """What a user may decide about a run; the plan decides what is 0 or None, and says why.

    Attributes:
        budget: seconds of wall clock, or None.
        epochs: used without a budget.
        passes: crops of each training image an epoch, on average; see `steps`.
        network: "UNetPP" or "UNet".
        filters: the width of each level.
        inner_filters: the width of UNet++'s inner nodes: the "first" level's, or each "level"'s own.
        dropout: the share dropped at the end of each block; None for 0, or as in the model that the run starts from.
        deep_supervision: heads on all of X[0, 1..].
        head_weights: how much each head's loss counts, the shallowest first; None for all alike.
        start: a bundle whose weights and normalisation the run begins with; "" for none.
        long_side: pixels of an image's long side when the network sees it; 0 for its own size.
        patch: pixels of a training crop's side.
        batch: crops a step.
        accumulate: steps whose gradients are averaged before the weights move.
        devices: how many share a batch.
        low_memory: compute activations again instead of keeping them.
        focus: the share of the crops that is centred on a pixel of a foreground class, each class alike.
        augmentation: how strongly crops differ from the images; 0 for flips and right angles alone.
        loss: a sum of names of `unetpp.model.losses`, with factors if need be.
        class_weights: one a class, or "balanced", or None for all alike.
        learning_rate: the highest of the schedule.
        weight_decay: of AdamW.
        patience: stop after so many validations without a better one; None never.
        precision: "auto" (bfloat16 where GPU or processor have it), "float32" or "mixed_bfloat16".
        normalization: by the "dataset", by each "image", or "auto": see `Normalization`.
        validation: the share of the images that is held out, or the file that names them, one a line; 0 to train on
            all, and to keep the last weights.
        group_by: what keeps images on one side: a regular expression on their names, whose groups are compared, or
            FILE.csv:COLUMN; "" for near-duplicates alone.
        folds: of a cross-validation; 0 for none.
        fold: which one is held out, from 1; 0 for each in turn.
        seams: learn where objects touch, too; so if their instances are given.
        workers: threads that draw crops.
        seed: of the split, the crops, and the first weights.

    Raises:
        SettingError: for a value that cannot be.
    """

    budget: float | None = None
    epochs: int = 0
    passes: int = 2
    network: str = "UNetPP"
    filters: tuple[int, ...] = (16, 32, 64, 128, 256)
    inner_filters: str = "first"
    dropout: float | None = None
    deep_supervision: bool = False
    head_weights: tuple[float, ...] | None = None
    start: str = ""
    long_side: int | None = None
    patch: int = 0
    batch: int = 0
    accumulate: int = 1
    devices: int = 1
    low_memory: bool = False
    focus: float = 0.67
    augmentation: float = 1.0
    loss: str = "crossentropy + dice"
    class_weights: tuple[float, ...] | str | None = None
    learning_rate: float = 0.0
    weight_decay: float = 1e-4
    patience: int | None = None
    precision: str = "auto"
    normalization: str = "auto"
    validation: float | str = 0.15
    group_by: str = ""
    folds: int = 0
    fold: int = 0
    seams: bool = False
    workers: int = 0
    seed: int = 0

    def __post_init__(self):
        types = get_type_hints(Options)
        self._refuse({name: not _is_a(getattr(self, name), hint) for name, hint in types.items()})
        problems = {
            "budget": self.budget is not None and not 0 < self.budget < math.inf,
            "epochs": self.epochs < 0,
            "passes": self.passes < 1,
            "network": self.network not in NETWORKS,
            "filters": not 2 <= len(self.filters) <= 6 or min(self.filters) < 1,
            "inner_filters": self.inner_filters not in (INNER if self.network == "UNetPP" else ("first",)),
            "dropout": self.dropout is not None and not 0 <= self.dropout < 1,
            "deep_supervision": self.deep_supervision and self.network == "UNet",
            "long_side": self.long_side is not None and self.long_side < 0,
            "devices": self.devices < 1,
            "batch": self.batch < 0 or self.batch % max(self.devices, 1),
            "accumulate": self.accumulate < 1,
            "workers": self.workers < 0,
            "focus": not 0 <= self.focus <= 1,
            "augmentation": not 0 <= self.augmentation <= 3,
            "learning_rate": not 0 <= self.learning_rate < math.inf,
            "weight_decay": not 0 <= self.weight_decay < math.inf,
            "patience": self.patience is not None
            and (self.patience < 1 or not (self.validation or self.folds)),
            "precision": self.precision not in PRECISIONS,
            "normalization": self.normalization not in NORMALIZATIONS,
            "validation": self.folds if isinstance(self.validation, str) else not 0 <= self.validation < 1,
            "group_by": not table_of(self.group_by) and _fault(self.group_by),
            "folds": self.folds < 0 or self.folds == 1,
            "fold": not 0 <= self.fold <= max(1, self.folds),
            "seed": not 0 <= self.seed < 2**32,
        }
        hints = {"group_by": f"mend the regular expression ({problems['group_by']}), or give FILE.csv:COLUMN"}
        if self.network == "UNet":
            hints |= {
                "deep_supervision": "leave it out: UNet has no inner heads",
                "inner_filters": "leave it out: UNet has no inner nodes",
            }
        if self.devices > 1:
            hints["batch"] = f"give a multiple of {self.devices}, the devices"
        self._refuse(problems, **hints)
        # A model to start from brings a depth of its own.
        if not self.start:
            self.check_depth()

    def check_depth(self) -> None:
        """Raise `SettingError` for what does not fit the network's depth."""
        weights, heads = self.head_weights, len(self.filters) - 1
        fits = self.deep_supervision and len(weights or ()) == heads
        problems = {
            "patch": self.patch < 0 or self.patch % self.multiple,
            "head_weights": weights is not None and not (fits and min(weights) >= 0 < sum(weights)),
        }
        hint = (
            f"give {heads} numbers, one a head, from 0 on"
            if self.deep_supervision
            else "give --deep-supervision, too"
        )
        self._refuse(problems, patch=f"give a multiple of {self.multiple}", head_weights=hint)

    def _refuse(self, problems: dict[str, Any], **hints: str) -> None:
        for name in (name for name, wrong in problems.items() if wrong):
            what = f"--{name.replace('_', '-')} cannot be {_typed(getattr(self, name))}"
            raise SettingError(what, mend=hints.get(name, f"give {RANGES[name]}"))

    def steps(self, images: int) -> int:
        """Steps of an epoch, after which a validation follows, with so many training images."""
        return max(LEAST_STEPS, self.passes * images // self.batch)

    @property
    def multiple(self) -> int:
        """What the network's height and width are multiples of."""
        return 2 ** (len(self.filters) - 1)


def _fault(pattern: str) -> str:
    """What is wrong with a regular expression; "" for nothing."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return ""


def _typed(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"'{value}'" if isinstance(value, str) else str(value)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; a whole number is a real one, and no truth value is a number."""
    if isinstance(hint, UnionType):
        return any(_is_a(value, part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is_a(item, get_args(hint)[0]) for item in value)
    kinds = {float: (int, float)}.get(hint, hint)
    return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))
