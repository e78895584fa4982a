"""Which images belong together, and which are held out."""

import csv
import io
import re
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from unetpp.data.dataset import Sample
from unetpp.data.duplicates import duplicate_groups
from unetpp.data.images import IMAGE_SUFFIXES
from unetpp.data.names import composed
from unetpp.errors import DatasetError, SettingError


def find_groups(samples: Sequence[Sample], group_by: str = "") -> list[int]:
    """A number for each sample that is shared by those which must not be parted.

    Args:
        samples: in any order.
        group_by: a regular expression, whose groups are compared, or all that it matches if it has none; or
            FILE.csv:COLUMN, a table whose first column has the images' stems. "" for near-duplicates alone.

    Raises:
        DatasetError: if an image's name does not match, or is not in the table.
        SettingError: if this is no regular expression.
    """
    groups = duplicate_groups(samples)
    keys = group_keys(samples, group_by) if group_by else []
    first: dict[Hashable, int] = {}
    for k, key in enumerate(keys):
        old, new = groups[k], groups[first.setdefault(key, k)]
        groups = [new if group == old else group for group in groups]
    return groups


def group_keys(samples: Sequence[Sample], group_by: str) -> list[Hashable]:
    """What each sample's name or row says of where it belongs."""
    if table := table_of(group_by):
        return keys_of_table(samples, table, group_by.rpartition(":")[2])
    try:
        pattern = re.compile(composed(group_by))
    except re.error as error:
        what = f"{group_by} is no regular expression ({error})"
        raise SettingError(what, mend="give another --group-by") from error
    found: list[Hashable] = []
    for sample in samples:
        match = pattern.search(sample.stem)
        if not match:
            raise DatasetError(
                f"the name does not match {group_by}", where=sample.image, mend="give another --group-by"
            )
        found.append(match.groups() or match.group())
    return found


def table_of(group_by: str) -> Path | None:
    """The table that FILE.csv:COLUMN names; None for a regular expression."""
    table = group_by.rpartition(":")[0]
    return Path(table) if table.lower().endswith(".csv") else None


def keys_of_table(samples: Sequence[Sample], table: Path, column: str) -> list[Hashable]:
    """The value of a column of a CSV file for each sample; its first column has stems, or names of files.

    Raises:
        DatasetError: if the table cannot be read, has no such column, or none or two values for a sample.
    """
    column = composed(column)
    first, rows = read_rows(table, column)
    if column not in first:
        mend = f"give --group-by FILE.csv:COLUMN with one of: {', '.join(first)}"
        raise DatasetError(f"the table has no column {column}", where=table, mend=mend)
    place = first.index(column)
    stems = {sample.stem for sample in samples}
    values: dict[str, str] = {}
    for row in rows:
        if len(row) <= place or not row[place]:
            continue
        stem = row[0] if row[0] in stems else _without_suffix(row[0])
        if values.setdefault(stem, row[place]) != row[place]:
            what = f"{stem} is there twice, with {values[stem]} and {row[place]} as its {column}"
            raise DatasetError(what, where=table, mend="keep one of its rows")
    missing = [sample.stem for sample in samples if sample.stem not in values]
    if missing:
        raise DatasetError(
            f"{len(missing)} images are not in the first column or have no {column}, such as {missing[0]}",
            where=table,
            mend="add them",
        )
    return [values[sample.stem] for sample in samples]


def read_rows(table: Path, column: str) -> tuple[list[str], list[list[str]]]:
    """The head and the other rows of a CSV file, without spaces around.

    Columns part at commas, semicolons or tabs: at those by which there is a column of the name that is wanted, or else
    at those of which the head has most.

    Raises:
        DatasetError: if there is none, or it is no UTF-8 or no table.
    """
    try:
        text = composed(table.read_text(encoding="utf-8-sig"))
        # Excel may say first what parts the columns.
        if text.lower().startswith("sep="):
            text = text.partition("\n")[2]
        head = text.partition("\n")[0]
        marks = sorted(",;\t", key=head.count, reverse=True)
        heads = {mark: _stripped(next(csv.reader([head], delimiter=mark), [])) for mark in marks}
        mark = next((mark for mark, names in heads.items() if column in names), marks[0])
        first, *rows = map(_stripped, csv.reader(io.StringIO(text), delimiter=mark))
    except UnicodeDecodeError as error:
        raise DatasetError("this is no UTF-8", where=table, mend="save it as CSV UTF-8") from error
    except (OSError, ValueError, csv.Error) as error:
        what = f"the table cannot be read ({error})" if table.is_file() else "there is no such table"
        raise DatasetError(what, where=table, mend="give --group-by FILE.csv:COLUMN") from error
    return first, [row for row in rows if row]


def _stripped(row: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in row]


def named_in(table: Path, samples: Sequence[Sample]) -> list[bool]:
    """Whether each sample is named in a text file: a stem, or the name of a file, a line.

    Raises:
        DatasetError: if there is no such file, or it names none of the samples, or all, or others.
    """
    try:
        lines = composed(table.read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, ValueError) as error:
        what = "the list of images cannot be read" if table.is_file() else "there is no such list of images"
        raise DatasetError(what, where=table, mend="give names, one a line") from error
    wanted = {line.strip() for line in lines if line.strip()}
    stems = {sample.stem for sample in samples}
    named = {name if name in stems else _without_suffix(name) for name in wanted}
    if unknown := sorted(named - stems):
        raise DatasetError(
            f"{len(unknown)} of the names are of no image, such as {unknown[0]}",
            where=table,
            mend="mend the list",
        )
    if not named or named == stems:
        what = "all images are named" if named else "no image is named"
        raise DatasetError(what, where=table, mend="name those to hold out, one a line")
    return [sample.stem in named for sample in samples]


def _without_suffix(name: str) -> str:
    path = Path(name)
    stem = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
    return stem.as_posix().removesuffix(".ome")


def split(
    samples: Sequence[Sample],
    counts: np.ndarray,
    *,
    validation: float = 0.15,
    seed: int = 0,
    groups: Sequence[int] | None = None,
    former: Sequence[bool | None] | None = None,
) -> tuple[list[Sample], list[Sample]]:
    """Split into training and validation: groups stay whole, and both sides show the classes alike.

    Each class is shown by what is trained on.

    Args:
        samples: in any order; the split does not depend on it.
        counts: (samples, classes) pixels of each class.
        validation: the share of the samples to hold out.
        seed: of the shuffle.
        groups: samples with the same number stay together; None: each on its own.
        former: whether each sample is held out, as it was before: True if it was, False if it was trained on, None if
            it is new. So it stays, and the share is one of the new samples. None: all are new.

    Raises:
        DatasetError: if there are fewer than two groups, or none that may be held out.
    """
    ordered = shuffled_groups(samples, counts, seed, groups)
    if len(ordered) < 2:
        raise DatasetError(
            "one image alone cannot be split", mend="give at least two different images with masks"
        )
    shown = np.array([(counts[group] > 0).any(axis=0) for group in ordered])
    # Groups to train on that show each class.
    left = shown.sum(0)

    def may(k: int) -> bool:
        return left[shown[k]].min() > 1

    # Of each group: what was trained on stays, what was held out stays so too, and the rest is new.
    sides = [{former[member] for member in group} if former else {None} for group in ordered]
    new = [k for k, side in enumerate(sides) if side == {None}]
    possible = [k for k, side in enumerate(sides) if False not in side and may(k)]
    if not possible:
        raise DatasetError(
            "no image can be held out: each alone shows a class, or has been trained on already",
            mend="give more images, or hold none out: --validation 0",
        )
    chosen: list[int] = []
    for k, side in enumerate(sides):
        if True in side and k in possible and may(k):
            chosen.append(k)
            left -= shown[k]
    # Of the new ones every n-th is held out.
    count = seen = 0
    for k in new:
        size = len(ordered[k])
        seen += size
        if count + size / 2 <= validation * seen and may(k):
            chosen.append(k)
            count += size
            left -= shown[k]
    if not chosen:
        chosen = [min(possible, key=lambda k: len(ordered[k]))]
    held = {member for k in chosen for member in ordered[k]}
    train = [sample for k, sample in enumerate(samples) if k not in held]
    return sorted(train, key=_stem), sorted((samples[k] for k in held), key=_stem)


def fold_of_each(
    samples: Sequence[Sample],
    counts: np.ndarray,
    folds: int,
    *,
    seed: int = 0,
    groups: Sequence[int] | None = None,
) -> list[int]:
    """The fold of each sample, 0 to folds - 1: groups stay whole, all folds show the classes alike.

    Args:
        samples: in any order; the folds do not depend on it.
        counts: (samples, classes) pixels of each class.
        folds: how many.
        seed: of the shuffle.
        groups: samples with the same number stay together; None: each on its own.

    Raises:
        DatasetError: if there are fewer groups than folds.
    """
    ordered = shuffled_groups(samples, counts, seed, groups)
    if len(ordered) < folds:
        raise DatasetError(
            f"{len(ordered)} different images cannot make {folds} folds", mend="give fewer --folds"
        )
    fold, sizes = [0] * len(samples), [0] * folds
    for group in ordered:
        smallest = int(np.argmin(sizes))
        sizes[smallest] += len(group)
        for k in group:
            fold[k] = smallest
    return fold


def shuffled_groups(
    samples: Sequence[Sample], counts: np.ndarray, seed: int, groups: Sequence[int] | None
) -> list[list[int]]:
    """The samples of each group, shuffled; groups that show the same classes next to each other."""
    members: dict[int, list[int]] = {}
    for k in sorted(range(len(samples)), key=lambda k: samples[k].stem):
        members.setdefault(k if groups is None else groups[k], []).append(k)
    shuffled = list(members.values())
    np.random.default_rng(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda group: (counts[group] > 0).any(axis=0).tolist())


def _stem(sample: Sample) -> str:
    return sample.stem
