"""What was found in an image, and what is written of it besides tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from unetpp.analysis import outlines
from unetpp.analysis.legend import draw_numbers, with_legend
from unetpp.analysis.overlay import draw_overlay
from unetpp.analysis.planes import has_many_pixels, open_image
from unetpp.analysis.subjects import Subject
from unetpp.analysis.tables import Table
from unetpp.data.images import atomic_path, write_jpeg
from unetpp.data.pyramids import write_ome_tiff
from unetpp.data.spacing import Spacing, side_of, to_ome

# What can be written of each image besides tables, and how its name ends.
SUFFIXES = {"instances": ".tif", "numbered": ".jpg", "geojson": ".geojson", "roi": ".zip"}


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


def own_paths(name: str, out: Path, extras: Sequence[str]) -> dict[str, Path]:
    """The files about one image, by its name."""
    return {extra: out / extra / (name + SUFFIXES[extra]) for extra in extras if extra in SUFFIXES}


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
