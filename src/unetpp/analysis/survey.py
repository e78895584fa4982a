"""Label images to tables of their objects, and what else is asked for."""

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unetpp.analysis import outlines
from unetpp.analysis.legend import draw_numbers, with_legend
from unetpp.analysis.numbered import Numbered, as_numbered, find_numbered
from unetpp.analysis.objects import count_objects, measure
from unetpp.analysis.overlay import draw_overlay
from unetpp.analysis.planes import has_many_pixels, open_image, open_labels, open_numbers
from unetpp.analysis.rules import Rules
from unetpp.analysis.separate import separate, without
from unetpp.analysis.strips import whole_objects
from unetpp.analysis.subjects import Subject, open_beside
from unetpp.analysis.tables import Table, stack, write_table
from unetpp.data.images import atomic_path, write_jpeg
from unetpp.data.pyramids import write_ome_tiff
from unetpp.data.spacing import Spacing, side_of, square, to_ome
from unetpp.data.threads import ahead
from unetpp.errors import ImageError, MaskError, OutputError, UnetppError

# What can be written of each image besides tables, and how its name ends.
SUFFIXES = {"instances": ".tif", "numbered": ".jpg", "geojson": ".geojson", "roi": ".zip"}


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


def own_paths(name: str, out: Path, extras: Sequence[str]) -> dict[str, Path]:
    """The files about one image, by its name."""
    return {extra: out / extra / (name + SUFFIXES[extra]) for extra in extras if extra in SUFFIXES}


@dataclass(frozen=True)
class Seen:
    """What was found in an image.

    Attributes:
        axes: of its planes, such as "tz"; "" for one plane.
        tables: of `measure`, by the index of their plane.
        size: (height, width).
        outlines: of the objects, if asked for.
        numbers: (*planes, H, W) uint32, the id of each pixel's object, if asked for.
        classes: (n + 1,) that of each object, as the tables have them, after that of the background.
    """

    axes: str
    tables: dict[tuple[int, ...], Table]
    size: tuple[int, int]
    outlines: list[outlines.Outline]
    numbers: np.ndarray | None
    classes: np.ndarray


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

        def strips():
            thin = rules.indices(names)["thin"]
            for plane in labels:
                rows = labels.rows(plane)
                rows = find_numbered(rows, subject.labels) if rules.instances else rows
                last, own = (rows.last, rows.ids) if isinstance(rows, Numbered) else (None, None)
                for top, strip in whole_objects(rows.read, rows.size, thin=thin, last=last):
                    place = slice(top, top + len(strip))
                    yield plane, own, top, strip, {name: of.read(plane, place) for name, of in beside.items()}

        def work(item):
            plane, own, top, strip, images = item
            return plane, own, top, measure_strip(strip, names, rules, top, labels.size[0], images)

        for plane, own, top, (numbers, classes, table) in ahead(work, strips()):
            ids = table["id"] + count if own is None else own[table["id"]]
            tables[plane].append({**table, "id": ids})
            if {*outlines.FORMATS} & {*extras}:
                where = dict(zip(labels.axes, plane, strict=True))
                found += outlines.outlines(numbers, classes, top=top, ids=ids, plane=where)
            if canvas is not None:
                place = canvas[(*plane, slice(top, top + len(numbers)))]
                place[numbers > 0] = ids[numbers[numbers > 0] - 1]
            parts.append(classes[1:])
            count += len(classes) - 1
    of_planes = {plane: stack(some) for plane, some in tables.items()}
    return Seen(labels.axes, of_planes, labels.size, found, canvas, np.concatenate(parts))


def measure_strip(labels, names, rules: Rules, top: int, height: int, images: dict[str, np.ndarray]):
    """Separate and measure a strip's objects, and place them in the image.

    Returns:
        numbers, classes, as `separate`, and the table of `measure`; an id is what the labels number an object with, if
        they do.
    """
    if rules.instances:
        numbers, classes = as_numbered(labels, rules.smallest)
    else:
        chances = images.get("probabilities")
        numbers, classes = separate(labels, **rules.indices(names), probabilities=chances)
    table = measure(numbers, classes, names, pixel_size=rules.pixel_size, **images)
    for name in ("centroid_y", "top", "bottom"):
        table[name] = table[name] + top
    sides = (table["left"] == 0) | (table["right"] == labels.shape[1])
    table["touches_border"] = sides | (table["top"] == 0) | (table["bottom"] == height)
    if rules.drop_border:
        wrong = np.append(False, table["touches_border"])
        numbers, classes = without(numbers, classes, wrong)
        table = {name: column[~wrong[1:]] for name, column in table.items()}
    own = np.arange(len(classes))
    if rules.instances:
        own[numbers] = labels
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


def write_extras(
    subject: Subject, seen: Seen, names: Sequence[str], spacing: Spacing, out: Path, extras: Sequence[str]
) -> None:
    """Write what is asked for of one image."""
    for extra, path in own_paths(subject.name, out, extras).items():
        if extra == "geojson":
            outlines.write_geojson(path, seen.outlines, names)
        elif extra == "roi":
            channels = bool(seen.axes) and subject.has_channels
            outlines.write_rois(path, seen.outlines, names, channels=channels)
        elif extra == "instances":
            write_instances(path, seen, spacing)
        elif extra == "numbered" and subject.image:
            with open_image(subject.image) as image:
                pixels = image.read((), slice(0, image.size[0]))
            write_jpeg(path, draw_instances(pixels, seen, names, side_of(spacing)))


def write_instances(path: Path, seen: Seen, spacing: Spacing) -> None:
    """Write a label image of instances: uint16, or uint32 where there are more; a large one or a stack as OME-TIFF.

    So is another where it is known how large pixels are.
    """
    assert seen.numbers is not None
    if seen.axes or has_many_pixels(seen.size):
        write_ome_tiff(path, [seen.numbers], seen.axes + "YX", spacing)
        return
    kind = np.uint16 if seen.numbers.max(initial=0) < 2**16 else np.uint32
    said = {"ome": True, "metadata": {"axes": "YX", **to_ome(spacing)}} if side_of(spacing) else {}
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, seen.numbers.astype(kind), compression="zlib", **said)


def draw_instances(
    image: np.ndarray, seen: Seen, names: Sequence[str], pixel_size: float | None
) -> np.ndarray:
    """Objects with their contours and numbers, above a legend: (height, width, 3) uint8."""
    assert seen.numbers is not None
    [table] = seen.tables.values()
    ids = np.append(0, table["id"])
    order = np.argsort(ids)
    labels = seen.classes[order][np.searchsorted(ids, seen.numbers, sorter=order)]
    drawn = draw_overlay(image, labels, outlined=seen.numbers)
    y, x = middles(seen.numbers, table)
    return with_legend(draw_numbers(drawn, table["id"], y, x), names, pixel_size=pixel_size)


def middles(numbers: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of objects' centroids, or where these lie beside a bent object, of its nearest pixels."""
    y, x = (np.rint(table[name]).astype(int) for name in ("centroid_y", "centroid_x"))
    for k in np.flatnonzero(numbers[y, x] != table["id"]):
        top, left = table["top"][k], table["left"][k]
        box = numbers[top : table["bottom"][k], left : table["right"][k]]
        rows, columns = np.nonzero(box == table["id"][k])
        nearest = np.hypot(rows + top - y[k], columns + left - x[k]).argmin()
        y[k], x[k] = rows[nearest] + top, columns[nearest] + left
    return y, x


def begin(table: Table, values: Mapping[str, Any]) -> Table:
    """A table after columns of one value each."""
    count = len(next(iter(table.values())))
    kinds = {name: object if isinstance(value, str) else int for name, value in values.items()}
    return {name: np.full(count, value, kinds[name]) for name, value in values.items()} | table


def with_planes(table: Table, axes: Sequence[str]) -> Table:
    """A table with columns of planes after that of images; NaN where an image has no such axis."""
    unknown = np.full(len(table["image"]), np.nan)
    return {"image": table["image"], **{axis: table.get(axis, unknown) for axis in axes}, **table}
