"""Numbered objects to a table of measurements, a row an object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unetpp.analysis.hulls import chords, hull_areas
from unetpp.analysis.lengths import lengths
from unetpp.analysis.rules import check_pixel_size
from unetpp.analysis.tables import Table
from unetpp.errors import SettingError

# Perimeters by what surrounds a border pixel: 1 + 2 for each of its four border neighbours + 10 for each diagonal one.
# Source: Benkrid and Crookes, "Design and FPGA Implementation of a Perimeter Estimator", 2000, as in scikit-image.
PERIMETER = np.zeros(50)
PERIMETER[[5, 7, 15, 17, 25, 27]] = 1
PERIMETER[[21, 33]] = np.sqrt(2)
PERIMETER[[13, 23]] = (1 + np.sqrt(2)) / 2
# Columns that are lengths and areas, and get a twin in micrometres.
LENGTHS = ("perimeter", "equivalent_diameter", "length", "width")


@dataclass(frozen=True)
class Runs:
    """The pixels of objects as runs: neighbours in a row that belong to one object.

    Attributes:
        number: of the object.
        row, first, last: where the run lies.
        order: sorts runs by their objects.
        starts: where each object's runs begin in that order.
    """

    number: np.ndarray
    row: np.ndarray
    first: np.ndarray
    last: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    def gather(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """Reduce a value a run to a value an object."""
        return ufunc.reduceat(values[self.order], self.starts, axis=0)


def find_runs(numbers: np.ndarray) -> Runs:
    """The runs of an image of numbered objects, row by row."""
    edge = np.ones((numbers.shape[0], 1), bool)
    change = numbers[:, 1:] != numbers[:, :-1]
    shown = numbers > 0
    row, first = np.nonzero(np.hstack([edge, change]) & shown)
    last = np.nonzero(np.hstack([change, edge]) & shown)[1]
    number = numbers[row, first]
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=0))
    return Runs(number, row, first, last, order, starts)


def measure(
    numbers: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    *,
    image: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    pixel_size: float | None = None,
) -> Table:
    """Measure objects.

    Args:
        numbers: (H, W) ints, 0 where there is no object, else 1 to n, each of which occurs.
        classes: (n + 1,) ints, the class of each number.
        names: of the classes, by index.
        image: (H, W) or (H, W, C), for intensities.
        probabilities: (H, W, len(names)), for the mean probability of an object's own class.
        pixel_size: micrometres a pixel's side.

    Returns:
        columns of n values, in this order:

        - class, id: its class's name, and its number.
        - area: pixels. centroid_y, centroid_x: their mean place, 0 the middle of the first pixel.
        - top, left, bottom, right: the box that holds it, without its end.
        - perimeter: pixels, through the middles of its border pixels, by Benkrid and Crookes.
        - equivalent_diameter: of the disc of its area.
        - eccentricity: of the ellipse of its second moments, pixels taken as squares, 0 for a disc; orientation: of its
          longer axis against the vertical, counter-clockwise, from -pi/2 to pi/2.
        - solidity: its area by that of the convex hull of its pixels as squares.
        - length: of the longest path along the skeleton, from border to border, of a closed one around it, but never
          less than the longest chord or the equivalent diameter, for thinning leaves little of stubby objects;
          width: area by length.
        - intensity_mean_C, intensity_min_C, intensity_max_C: of each channel C from 1.
        - probability: the mean.
        - touches_border: whether the image may cut it off.
        - with `pixel_size`: area_um2, perimeter_um, equivalent_diameter_um, length_um, width_um.

    Raises:
        SettingError: if sizes differ, or the pixel size is not from 1e-6 to 1e6.

    Example:
        >>> table = measure(np.array([[0, 1, 1]]), np.array([0, 1]), ("background", "cell"))
        >>> table["class"].tolist(), table["area"].tolist(), table["centroid_x"].tolist()
        (['cell'], [2], [1.5])
    """
    check_pixel_size(pixel_size)
    for other in (image, probabilities):
        if other is not None and other.shape[:2] != numbers.shape:
            raise SettingError(f"an image of shape {other.shape} does not fit labels of {numbers.shape}")
    numbers = np.asarray(numbers)
    runs = find_runs(numbers)
    count = len(classes) - 1
    table: Table = {"class": np.asarray(names, object)[classes[1:]], "id": np.arange(1, count + 1)}
    table |= shapes(runs, numbers.shape)
    table["perimeter"] = perimeters(numbers, count)
    table["equivalent_diameter"] = np.sqrt(4 * table["area"] / np.pi)
    table["solidity"] = table["area"] / hull_areas(runs.number[runs.order], *by_object(runs)) if count else []
    # No shape's longest chord is shorter than that of the disc of its area.
    table["length"] = np.maximum(lengths(numbers, count), table["equivalent_diameter"])
    if count:
        table["length"] = np.maximum(table["length"], chords(*by_object(runs), runs.starts))
    table["width"] = table["area"] / table["length"]
    if image is not None:
        table |= intensities(runs, np.atleast_3d(image))
    if probabilities is not None:
        table["probability"] = mean_probabilities(runs, classes, probabilities)
    if pixel_size is not None:
        table["area_um2"] = table["area"] * pixel_size**2
        table |= {f"{name}_um": table[name] * pixel_size for name in LENGTHS}
    return {name: np.asarray(table[name]) for name in in_reading_order(table)}


def in_reading_order(table: Mapping[str, Any]) -> list[str]:
    """Where it is, how large, what shape, how bright, and whether it is all there."""
    first = "class id area centroid_y centroid_x top left bottom right perimeter equivalent_diameter"
    first += " eccentricity orientation solidity length width"
    names = first.split()
    rest = [name for name in table if name not in names]
    return names + sorted(rest, key=lambda name: (name == "touches_border", name.endswith(("_um", "_um2"))))


def by_object(runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first and last column of each run, object by object."""
    return runs.row[runs.order], runs.first[runs.order], runs.last[runs.order]


def shapes(runs: Runs, size: tuple[int, ...]) -> Table:
    """Areas, places and second moments, from sums over runs."""
    if not len(runs.row):
        types = {
            "int64": "area top left bottom right",
            "float64": "centroid_y centroid_x eccentricity orientation",
            "bool": "touches_border",
        }
        return {name: np.zeros(0, kind) for kind, names in types.items() for name in names.split()}
    length = runs.last - runs.first + 1
    middle = (runs.first + runs.last) / 2
    area = runs.gather(np.add, length)
    y = runs.gather(np.add, length * runs.row) / area
    x = runs.gather(np.add, length * middle) / area
    index = np.empty(len(runs.row), np.int64)
    index[runs.order] = np.repeat(np.arange(len(area)), np.diff(np.append(runs.starts, len(runs.row))))
    dy, dx = runs.row - y[index], middle - x[index]
    # The variances of places within pixels of side 1 add 1/12 each.
    yy = runs.gather(np.add, length * dy**2) / area + 1 / 12
    xx = runs.gather(np.add, length * (dx**2 + (length**2 - 1) / 12)) / area + 1 / 12
    xy = runs.gather(np.add, length * dx * dy) / area
    spread = np.sqrt((yy - xx) ** 2 / 4 + xy**2)
    longest, shortest = (yy + xx) / 2 + spread, np.maximum((yy + xx) / 2 - spread, 0)
    top, left = runs.gather(np.minimum, runs.row), runs.gather(np.minimum, runs.first)
    bottom, right = runs.gather(np.maximum, runs.row) + 1, runs.gather(np.maximum, runs.last) + 1
    return {
        "area": area,
        "centroid_y": y,
        "centroid_x": x,
        "top": top,
        "left": left,
        "bottom": bottom,
        "right": right,
        "eccentricity": np.sqrt(1 - shortest / longest),
        "orientation": np.arctan2(2 * xy, yy - xx) / 2,
        "touches_border": (top == 0) | (left == 0) | (bottom == size[0]) | (right == size[1]),
    }


def perimeters(numbers: np.ndarray, count: int) -> np.ndarray:
    """The perimeter of each object: (count,)."""
    padded = np.pad(numbers, 2)
    inner = padded[1:-1, 1:-1]
    border = np.zeros(inner.shape, bool)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        border |= inner != padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
    border &= inner > 0
    places = np.flatnonzero(border)
    flat, flags, wide = inner.ravel(), border.ravel(), inner.shape[1]
    owner = flat[places]
    code = np.ones(len(places), np.uint8)
    straight, diagonal = (1, -1, wide, -wide), (wide + 1, wide - 1, -wide + 1, -wide - 1)
    for step, weight in [*((step, 2) for step in straight), *((step, 10) for step in diagonal)]:
        near = places + step
        code += np.uint8(weight) * (flags[near] & (flat[near] == owner))
    return np.bincount(owner, PERIMETER[code], minlength=count + 1)[1:].astype(float)


def intensities(runs: Runs, image: np.ndarray) -> Table:
    """Mean, least and greatest value of each channel."""
    inside, starts = pixels_of(runs, image.shape)
    table: Table = {}
    for channel in range(image.shape[2]):
        values = image[..., channel].ravel()[inside]
        for name, ufunc in (("mean", np.add), ("min", np.minimum), ("max", np.maximum)):
            known = values.astype(np.float64) if ufunc is np.add else values
            of_runs = ufunc.reduceat(known, starts) if len(starts) else np.zeros(0)
            found = runs.gather(ufunc, of_runs) if len(starts) else of_runs
            table[f"intensity_{name}_{channel + 1}"] = found
        if len(starts):
            table[f"intensity_mean_{channel + 1}"] /= runs.gather(np.add, runs.last - runs.first + 1)
    return table


def mean_probabilities(runs: Runs, classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The mean probability of each object's own class; of a single channel that of the foreground."""
    inside, starts = pixels_of(runs, probabilities.shape)
    if not len(starts):
        return np.zeros(0)
    channel = np.minimum(classes[runs.number], probabilities.shape[2] - 1).astype(np.int64)
    length = runs.last - runs.first + 1
    values = probabilities.reshape(-1, probabilities.shape[2])[inside, np.repeat(channel, length)]
    sums = runs.gather(np.add, np.add.reduceat(values.astype(np.float64), starts))
    return sums / runs.gather(np.add, length)


def pixels_of(runs: Runs, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The places of all objects' pixels in a flat image, run by run, and where each run begins there."""
    length = runs.last - runs.first + 1
    ends = np.cumsum(length)
    starts = ends - length
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(starts, length)
    return np.repeat(runs.row.astype(np.int64) * shape[1] + runs.first, length) + within, starts


def count_objects(
    table: Table,
    names: Sequence[str],
    size: tuple[int, int],
    *,
    pixel_size: float | None = None,
    drop_border: bool = False,
) -> Table:
    """Count the objects of each class but the background, and say how densely they lie.

    Args:
        table: of `measure`.
        names: of the classes, by index.
        size: (height, width) of the image.
        pixel_size: micrometres a pixel's side.
        drop_border: objects at the border were left out, so that nobody knows of what area the count is.

    Returns:
        columns of len(names) - 1 values: class, count, area (pixels), area_share (of the image), and per_megapixel, or
        with `pixel_size` per_mm2 and pixel_size_um; shares and densities are NaN with `drop_border`. Objects that the
        border cuts count whole.

    Example:
        >>> table = {"class": np.array(["cell"] * 3), "area": np.full(3, 50)}
        >>> count_objects(table, ("soil", "cell"), (10, 100))["count"]
        array([3])
    """
    pixels = size[0] * size[1]
    which = [table["class"] == name for name in names[1:]]
    counts = np.array([int(found.sum()) for found in which])
    areas = np.array([int(np.asarray(table["area"])[found].sum()) for found in which])
    counted, share = (np.where(drop_border, np.nan, of / max(pixels, 1)) for of in (counts, areas))
    density = {"per_megapixel": counted * 1e6}
    if pixel_size is not None:
        density = {
            "per_mm2": counted / pixel_size**2 * 1e6,
            "pixel_size_um": np.full(len(which), pixel_size),
        }
    return {
        "class": np.asarray(names[1:], object),
        "count": counts,
        "area": areas,
        "area_share": share,
        **density,
    }
