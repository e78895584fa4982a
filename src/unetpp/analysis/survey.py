"""Label images to tables of their objects, and what else is asked for."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from unetpp.analysis import outlines
from unetpp.analysis.objects import count_objects, measure
from unetpp.analysis.rules import Rules
from unetpp.analysis.separate import separate, without
from unetpp.analysis.strips import whole_objects
from unetpp.analysis.subjects import LARGE, Subject, open_beside, open_labels
from unetpp.analysis.tables import Table, stack, write_table
from unetpp.data.images import atomic_path
from unetpp.data.pyramids import write_ome_tiff


def survey(
    subjects: Sequence[Subject],
    names: Sequence[str],
    rules: Rules,
    out: Path,
    *,
    suffix: str = ".csv",
    instances: bool = False,
    formats: Sequence[str] = (),
    done: Callable[[Subject], None] = lambda subject: None,
) -> tuple[Table, Table]:
    """Measure the objects of label images.

    Writes OUT/objects.csv, a row an object, and OUT/counts.csv, a row an image and class; on request
    OUT/instances/NAME.tif with each object's number, and outlines: OUT/geojson/NAME.geojson, OUT/roi/NAME.zip,
    OUT/coco.json.

    Args:
        subjects: what to measure.
        names: of the classes, by index.
        rules: what an object is.
        out: a folder.
        suffix: of the tables, ".csv" or ".parquet".
        instances: also write label images of instances.
        formats: of `outlines.FORMATS`.
        done: called after each image.

    Returns:
        the tables: of objects, and of counts.

    Raises:
        ImageError, MaskError, SettingError: for what cannot be measured.
        OutputError: if an output cannot be written.
    """
    rules.indices(names)
    tables, counts, coco = [], [], outlines.Coco(names)
    for subject in subjects:
        seen = look(
            subject, names, rules, out / "instances" / f"{subject.name}.tif" if instances else None, formats
        )
        tables.append({"image": repeated(subject.name, len(seen.table["id"])), **seen.table})
        tally = count_objects(seen.table, names, seen.size, pixel_size=rules.pixel_size)
        counts.append({"image": repeated(subject.name, len(names) - 1), **tally})
        if "geojson" in formats:
            outlines.write_geojson(out / "geojson" / f"{subject.name}.geojson", seen.outlines, names)
        if "roi" in formats:
            outlines.write_rois(out / "roi" / f"{subject.name}.zip", seen.outlines, names)
        if "coco" in formats:
            coco.add(subject.name, seen.size, seen.outlines)
        done(subject)
    objects, totals = stack(tables), stack(counts)
    write_table(out / f"objects{suffix}", objects)
    write_table(out / f"counts{suffix}", totals)
    if "coco" in formats:
        coco.write(out / "coco.json")
    return objects, totals


@dataclass(frozen=True)
class Seen:
    """What was found in an image: a table, outlines if asked for, and its (height, width)."""

    table: Table
    outlines: list[outlines.Outline]
    size: tuple[int, int]


def look(
    subject: Subject, names: Sequence[str], rules: Rules, instances: Path | None, formats: Sequence[str]
) -> Seen:
    """Measure the objects of one image, strip by strip if it is large."""
    tables: list[Table] = []
    found: list[outlines.Outline] = []
    with open_labels(subject.labels, len(names)) as labels, open_beside(subject, labels.size) as beside:
        canvas = Instances(instances, labels.size) if instances else None
        count = 0
        for top, strip in whole_objects(labels.read, labels.size):
            images = {name: read(slice(top, top + len(strip))) for name, read in beside.items()}
            numbers, classes, table = measure_strip(strip, names, rules, top, labels.size[0], images)
            tables.append({**table, "id": table["id"] + count})
            if formats:
                found += outlines.outlines(numbers, classes, top=top, first=count)
            if canvas:
                canvas.add(top, numbers, count)
            count += len(classes) - 1
        if canvas:
            canvas.write(count)
    return Seen(stack(tables), found, labels.size)


def measure_strip(labels, names, rules: Rules, top: int, height: int, images: dict[str, np.ndarray]):
    """Separate and measure a strip's objects, and place them in the image.

    Returns:
        numbers, classes, as `separate`, and the table of `measure`.
    """
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
        table["id"] = np.arange(1, len(classes))
    return numbers, classes, table


class Instances:
    """A label image of instances that is filled strip by strip: uint16, or uint32 where there are more.

    Args:
        path: the TIFF to write.
        size: (height, width).
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        self.path, self.size = path, size
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file, so that it may be larger than the memory; without a name, so that nothing is left of it.
        with tempfile.TemporaryFile(dir=path.parent) as file:
            self.pixels = np.memmap(file, np.uint32, "w+", shape=size)

    def add(self, top: int, numbers: np.ndarray, first: int) -> None:
        """Draw a strip's objects, with `first` added to their numbers."""
        strip = self.pixels[top : top + len(numbers)]
        strip[numbers > 0] = numbers[numbers > 0] + first

    def write(self, count: int) -> None:
        """Write the file, whole or not at all."""
        kind = np.uint16 if count < 2**16 else np.uint32
        if self.pixels.size > LARGE:
            write_ome_tiff(self.path, [self.pixels], "YX")
            return
        with atomic_path(self.path) as temporary:
            tifffile.imwrite(temporary, self.pixels.astype(kind), compression="zlib")


def repeated(name: str, count: int) -> np.ndarray:
    """A column of one name."""
    return np.full(count, name, object)
