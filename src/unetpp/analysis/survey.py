"""Label images to tables of their objects, and what else is asked for."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.analysis import outlines
from unetpp.analysis.extras import Seen, write_extras
from unetpp.analysis.numbered import as_numbered, find_numbered
from unetpp.analysis.objects import count_objects, measure
from unetpp.analysis.planes import Planes, has_many_pixels, open_labels, open_numbers
from unetpp.analysis.rules import Rules
from unetpp.analysis.separate import separate, without
from unetpp.analysis.strips import whole_objects
from unetpp.analysis.subjects import Subject, open_beside
from unetpp.analysis.tables import Table, stack, write_table
from unetpp.data.spacing import side_of, square
from unetpp.data.threads import ahead
from unetpp.errors import ImageError, MaskError, OutputError, UnetppError


def survey(
    subjects: Sequence[Subject],
    names: Sequence[str],
    rules: Rules,
    out: Path,
    *,
    suffix: str = ".csv",
    extras: Sequence[str] = (),
    done: Callable[[Subject], None] = lambda subject: None,
) -> tuple[Table, Table, list[UnetppError]]:
    """Measure the objects of label images; one that cannot be measured does not stop the rest.

    Writes OUT/objects.csv, a row an object, and OUT/counts.csv, a row an image and class. Each plane of a stack is
    measured as an image of its own: the tables get columns such as t and z, its index from 0 on, and counts a row a
    plane and class. Numbers of objects go on from plane to plane. The extras are:

    - instances: OUT/instances/NAME.tif, the number of each pixel's object, uint16 or, for more objects, uint32; of
      stacks, and of more than 40 megapixels, uint32; an OME-TIFF, if so or the pixel size is known;
    - numbered: OUT/numbered/NAME.jpg, the objects drawn on the image with their numbers, where there is an image; see
      `check_drawable`;
    - geojson: OUT/geojson/NAME.geojson for QuPath; roi: OUT/roi/NAME.zip for ImageJ; coco: OUT/coco.json; see
      `check_stack`.

    Args:
        subjects: what to measure.
        names: of the classes, by index.
        rules: what an object is, and how large a pixel; without that, as images say.
        out: a folder.
        suffix: of the tables, ".csv" or ".parquet".
        extras: as above.
        done: called after each image.

    Returns:
        the tables, of objects and of counts, and an error for each image that cannot be measured; if none can, no table
        is written, and both are {}.

    Raises:
        SettingError: for classes that are not there.
        OutputError: if an output cannot be written.
    """
    rules.indices(names)
    out.mkdir(parents=True, exist_ok=True)
    tables, counts, coco = [], [], outlines.Coco(names)
    failures: list[UnetppError] = []
    axes: set[str] = set()
    for subject in subjects:
        spacing = subject.spacing | square(rules.pixel_size)
        own = replace(rules, pixel_size=side_of(spacing))
        try:
            seen = look(subject, names, own, out, extras)
            write_extras(subject, seen, names, spacing, out, extras)
        except (ImageError, MaskError) as error:
            failures.append(error)
            done(subject)
            continue
        axes |= {*seen.axes}
        for plane, table in seen.tables.items():
            where = {"image": subject.name, **dict(zip(seen.axes, plane, strict=True))}
            tally = count_objects(
                table, names, seen.size, pixel_size=own.pixel_size, drop_border=own.drop_border
            )
            tables.append(begin(table, where))
            counts.append(begin(tally, where))
        if "coco" in extras:
            coco.add(subject.file, seen.size, seen.outlines)
        done(subject)
    if not tables:
        return {}, {}, failures
    objects, totals = (with_planes(stack(parts), sorted(axes)) for parts in (tables, counts))
    paths = common_paths(out, suffix, extras)
    write_table(paths["objects"], objects)
    write_table(paths["counts"], totals)
    if "coco" in paths:
        coco.write(paths["coco"])
    return objects, totals, failures


def common_paths(out: Path, suffix: str, extras: Sequence[str]) -> dict[str, Path]:
    """The files about all images together: tables, and COCO if asked for."""
    names = {"objects": f"objects{suffix}", "counts": f"counts{suffix}", "coco": "coco.json"}
    return {what: out / name for what, name in names.items() if what != "coco" or what in extras}


def look(subject: Subject, names: Sequence[str], rules: Rules, out: Path, extras: Sequence[str]) -> Seen:
    """Measure the objects of one image plane by plane, strip by strip if it is large."""
    found: list[outlines.Outline] = []
    parts = [np.zeros(1, np.uint8)]
    with (
        open_numbers(subject.labels, subject.image)
        if rules.instances
        else open_labels(subject.labels, len(names), subject.image) as labels,
        open_beside(subject, labels, len(names)) as beside,
    ):
        drawn = {"instances", "numbered"} & {*extras}
        canvas = on_disk(out, (*labels.shape, *labels.size)) if drawn else None
        tables: dict[tuple[int, ...], list[Table]] = {plane: [] for plane in labels}
        count = 0

        def work(strip: Strip):
            return strip, measure_strip(strip, names, rules, labels.size[0])

        strips = strips_of(labels, beside, rules, names, subject.labels)
        for strip, (numbers, classes, table) in ahead(work, strips):
            ids = table["id"] + count if strip.ids is None else strip.ids[table["id"]]
            tables[strip.plane].append({**table, "id": ids})
            if {*outlines.FORMATS} & {*extras}:
                plane = dict(zip(labels.axes, strip.plane, strict=True))
                found += outlines.outlines(numbers, classes, top=strip.rows.start, ids=ids, plane=plane)
            if canvas is not None:
                place = canvas[(*strip.plane, strip.rows)]
                place[numbers > 0] = ids[numbers[numbers > 0] - 1]
            parts.append(classes[1:])
            count += len(classes) - 1
    of_planes = {plane: stack(some) for plane, some in tables.items()}
    return Seen(labels.axes, of_planes, labels.size, found, canvas, np.concatenate(parts))


@dataclass(frozen=True)
class Strip:
    """Rows of a plane that cut no object.

    Attributes:
        plane: its index.
        rows: where they lie in it.
        labels: (h, width) of classes, or of the ranks of numbered objects.
        beside: the same rows of image and probabilities, as far as there are any.
        ids: the number of each rank, if objects are numbered.
    """

    plane: tuple[int, ...]
    rows: slice
    labels: np.ndarray
    beside: Mapping[str, np.ndarray]
    ids: np.ndarray | None


def strips_of(
    labels: Planes, beside: Mapping[str, Planes], rules: Rules, names: Sequence[str], path: Path
) -> Iterator[Strip]:
    """All planes of a label image, strip by strip."""
    thin = rules.indices(names)["thin"]
    for plane in labels:
        own, ids, last = labels.rows(plane), None, None
        if rules.instances:
            own = find_numbered(own, path)
            ids, last = own.ids, own.last
        for top, found in whole_objects(own.read, own.size, thin=thin, last=last):
            rows = slice(top, top + len(found))
            yield Strip(plane, rows, found, {name: of.read(plane, rows) for name, of in beside.items()}, ids)


def measure_strip(strip: Strip, names: Sequence[str], rules: Rules, height: int):
    """Separate and measure a strip's objects, and place them in the image, which is so many pixels high.

    Returns:
        numbers, classes, as `separate`, and the table of `measure`; an id is what the labels number an object with, if
        they do.
    """
    if rules.instances:
        numbers, classes = as_numbered(strip.labels, rules.smallest)
    else:
        chances = strip.beside.get("probabilities")
        numbers, classes = separate(strip.labels, **rules.indices(names), probabilities=chances)
    table = measure(numbers, classes, names, pixel_size=rules.pixel_size, **strip.beside)
    for name in ("centroid_y", "top", "bottom"):
        table[name] = table[name] + strip.rows.start
    sides = (table["left"] == 0) | (table["right"] == strip.labels.shape[1])
    table["touches_border"] = sides | (table["top"] == 0) | (table["bottom"] == height)
    if rules.drop_border:
        wrong = np.append(False, table["touches_border"])
        numbers, classes = without(numbers, classes, wrong)
        table = {name: column[~wrong[1:]] for name, column in table.items()}
    own = np.arange(len(classes))
    if rules.instances:
        own[numbers] = strip.labels
    return numbers, classes, {**table, "id": own[1:]}


def on_disk(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of a shape, uint32, that may be larger than the memory; the file has no name, so none is left.

    Raises:
        OutputError: if the disk has no room for them.
    """
    if not has_many_pixels(shape):
        return np.zeros(shape, np.uint32)
    taken = 4 * math.prod(shape)
    with tempfile.TemporaryFile(dir=folder) as file:
        # What is mapped but not on the disk would end the process where that is full.
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, taken)
            except OSError as error:
                what = f"there is no room for {taken / 1e9:.1f} GB of numbers ({error.strerror})"
                raise OutputError(what, where=folder, mend="make room, or choose another place") from error
        return np.memmap(file, np.uint32, "w+", shape=shape)


def begin(table: Table, values: Mapping[str, Any]) -> Table:
    """A table after columns of one value each."""
    count = len(next(iter(table.values())))
    kinds = {name: object if isinstance(value, str) else int for name, value in values.items()}
    return {name: np.full(count, value, kinds[name]) for name, value in values.items()} | table


def with_planes(table: Table, axes: Sequence[str]) -> Table:
    """A table with columns of planes after that of images; NaN where an image has no such axis."""
    unknown = np.full(len(table["image"]), np.nan)
    return {"image": table["image"], **{axis: table.get(axis, unknown) for axis in axes}, **table}
