"""Which images a run is trained on, and which it holds out."""

from collections.abc import Sequence
from itertools import compress
from operator import attrgetter
from pathlib import Path

import numpy as np

from unetpp.data.dataset import Sample
from unetpp.data.groups import find_groups, fold_of_each, named_in, split
from unetpp.errors import DatasetError, SettingError
from unetpp.training.options import Options
from unetpp.training.start import former_sides


def choose_sides(
    samples: Sequence[Sample], counts: np.ndarray, options: Options, names: Sequence[str]
) -> tuple[list[Sample], list[Sample], str]:
    """Training and validation samples, and why: a share is held out, what a file names, a fold, or nothing.

    Args:
        samples: in any order.
        counts: (samples, classes) pixels of each class.
        options: say how.
        names: of the classes.

    Raises:
        DatasetError: if a class, or what the model to start from has learnt, would be held out as a whole.
        SettingError: for a fold without folds, or a share beside them.
    """
    check_folds(options)
    if not options.folds and not options.validation:
        return list(samples), [], "all to train on, as given: nothing tells how good the model will be"
    groups = find_groups(samples, options.group_by)
    known, moved = former_sides(options.start, samples) if options.start else ({}, False)
    by_name = ", by their names, as none is where it was" if moved else ""
    former = [known.get(sample.image.resolve()) for sample in samples]
    why = "near-duplicates" + (f", and {options.group_by}," if options.group_by else "")
    why += " on one side, classes alike on both"
    if options.folds:
        refuse_learnt(former, options.start, by_name)
        held = one_fold(samples, counts, options, names, groups)
        why = f"fold {options.fold or 1} of {options.folds}: {why}"
    elif isinstance(options.validation, str):
        held = np.array(named_in(Path(options.validation), samples))
        refuse_learnt(list(compress(former, held)), options.start, by_name)
        check_shown(counts[~held], names, "only held-out images show")
        others = set(compress(groups, ~held))
        alike = sum(group in others for group in compress(groups, held))
        why = f"as {options.validation} says"
        why += f"; {alike} held out should not be parted from others" if alike else ""
    else:
        share, seed = options.validation, options.seed
        _, chosen = split(samples, counts, validation=share, seed=seed, groups=groups, former=former)
        held = np.isin([sample.stem for sample in samples], [sample.stem for sample in chosen])
        if learnt := former.count(False):
            why += f"; none of the {learnt} held out that {options.start} was trained on{by_name}"
    missing = [name for name, count in zip(names, counts[held].sum(0), strict=True) if not count]
    why += f"; no held-out image shows {', '.join(missing)}" if missing else ""
    train, validation = (sorted(compress(samples, side), key=attrgetter("stem")) for side in (~held, held))
    return train, validation, why


def check_folds(options: Options) -> None:
    """Raise `SettingError` for what folds do not heed; runs of former versions may have it, so `Options` takes it."""
    if options.fold and not options.folds:
        raise SettingError(
            f"--fold {options.fold} is one of --folds", mend="say of how many, or leave it out"
        )
    if options.folds and options.validation != Options.validation:
        raise SettingError(
            f"--validation {options.validation} and --folds exclude each other", mend="give one of them"
        )


def one_fold(samples, counts, options: Options, names: Sequence[str], groups: Sequence[int]) -> np.ndarray:
    """Whether each sample is held out by a fold.

    Raises:
        DatasetError: if any of the folds would hold out all that shows a class: the last shall not fail when the
            others are trained.
    """
    fold = np.array(fold_of_each(samples, counts, options.folds, seed=options.seed, groups=groups))
    for number in range(options.folds):
        check_shown(counts[fold != number], names, "only images of one fold show")
    return fold == (options.fold or 1) - 1


def check_shown(counts: np.ndarray, names: Sequence[str], whose: str) -> None:
    """Raise `DatasetError` unless every class is shown by (images, classes) pixels of it."""
    for name, count in zip(names, counts.sum(0), strict=True):
        if not count:
            raise DatasetError(f"{whose} the class {name}", mend="hold others out, or give more images of it")


def refuse_learnt(former: Sequence[bool | None], start: str, by_name: str) -> None:
    """Raise `DatasetError` if the model to start from was trained on any of the samples, False each.

    Args:
        former: as `split` takes it.
        start: the model.
        by_name: what to say if they are known by their names alone.
    """
    if learnt := former.count(False):
        raise DatasetError(
            f"{learnt} images would be held out that the model to start from was trained on{by_name}",
            where=start,
            mend="leave --from out, or hold others out",
        )
