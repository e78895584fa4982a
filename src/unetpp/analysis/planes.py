"""The planes of an image of any size, read by rows."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unetpp.analysis.strips import PIXELS
from unetpp.data.images import TIFF_SUFFIXES, read_image
from unetpp.data.masks import check_lossless, class_step, count_values, read_indices, to_indices
from unetpp.data.pyramids import zarr_axes
from unetpp.data.regions import LARGE, Regions, is_zarr, open_regions
from unetpp.errors import ImageError


@dataclass(frozen=True)
class Rows:
    """A plane that is read by rows.

    Attributes:
        size: (height, width).
        read: gives rows, (h, width) of numbers or (h, width, C) of pixels.
    """

    size: tuple[int, int]
    read: Callable[[slice], np.ndarray]


@dataclass(frozen=True)
class Planes:
    """The planes of an image, each of which is read by rows; most images have one.

    Attributes:
        size: (height, width) of each.
        read: gives rows of a plane, by its index, as `Rows` does.
        axes: a small letter for each axis of planes, such as "tz"; "" for one plane.
        shape: how many there are along each.
    """

    size: tuple[int, int]
    read: Callable[[tuple[int, ...], slice], np.ndarray]
    axes: str = ""
    shape: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """The index of each."""
        return iter(np.ndindex(self.shape))

    def __str__(self) -> str:
        if not self.shape:
            return "one plane"
        return f"a stack of {' x '.join(map(str, self.shape))} planes ({', '.join(self.axes)})"

    def rows(self, plane: tuple[int, ...]) -> Rows:
        """One of them."""
        return Rows(self.size, lambda rows: self.read(plane, rows))


@contextmanager
def open_labels(path: Path, num_classes: int, image: Path | None = None) -> Iterator[Planes]:
    """The class indices of a label image, which mean what `read_mask` takes them for, however large it is.

    Args:
        path: the file.
        num_classes: with the background.
        image: what it was made from, which names its axes if nobody did; see `with_axes_of`.

    Raises:
        ImageError, MaskError: if it cannot be read, or has other values than classes.
    """
    with open_numbers(path, image) as numbers:
        # What 255 means, the whole image says.
        step = class_step(count_labels(numbers), num_classes, path)
        yield replace(numbers, read=lambda *where: (numbers.read(*where) // step).astype(np.uint8))


@contextmanager
def open_numbers(path: Path, image: Path | None = None) -> Iterator[Planes]:
    """The whole numbers of a label image, which is read at once or, if it is large or a stack, by region.

    An `image` names its axes if nobody did; see `with_axes_of`.

    Raises:
        ImageError, MaskError: if it cannot be read, or is no label image.
    """
    if not is_by_region(path):
        yield one_plane(read_indices(path))
        return
    check_lossless(path)
    with open_regions(path, indices=True) as regions:
        named = with_axes_of(regions, image)
        yield all_planes(named, lambda *where: to_indices(named.read_raw(*where), path))


def count_labels(numbers: Planes) -> dict[int, int]:
    """How many pixels have each number."""
    values: Counter[int] = Counter()
    for plane in numbers:
        for rows in stripes(numbers.size):
            values.update(count_values(numbers.read(plane, rows)))
    return values


def stripes(size: tuple[int, int]) -> Iterator[slice]:
    """All rows of an image of a size (height, width), some at a time."""
    height, rows = size[0], max(1, PIXELS // size[1])
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))


@contextmanager
def open_image(path: Path) -> Iterator[Planes]:
    """The pixels of an image, which is read at once or, if it is large or a stack, by region.

    Raises:
        ImageError: if it cannot be read.
    """
    if not is_by_region(path):
        yield one_plane(read_image(path))
        return
    with open_regions(path) as regions:
        yield all_planes(regions, regions.read)


def one_plane(pixels: np.ndarray) -> Planes:
    """What is held as a whole."""
    return Planes(pixels.shape[:2], lambda plane, rows: pixels[rows])


def all_planes(regions: Regions, read: Callable[[tuple[int, ...], slice, slice], np.ndarray]) -> Planes:
    """The planes of an image that is read by region.

    Raises:
        ImageError: if it has no pixels.
    """
    if 0 in regions.size:
        raise ImageError("the image has no pixels", where=regions.path, mend="export it again")
    columns = slice(0, regions.size[1])
    return Planes(
        regions.size, lambda plane, rows: read(plane, rows, columns), letters(regions), regions.plane_shape
    )


def with_axes_of(regions: Regions, image: Path | None) -> Regions:
    """A stack of labels whose axes nobody named, with those of its image where both have the same planes.

    Raises:
        ImageError: if the image cannot be read.
    """
    own = lengths(regions)
    if image is None or not own or not all(map(is_unnamed, own)):
        return regions
    with open_regions(image) as other:
        theirs = lengths(other)
    if list(own.values()) != list(theirs.values()):
        return regions
    # One that has such a letter already, and is of length 1, gets the former.
    before, after = "".join(own), "".join(theirs)
    return replace(regions, axes=regions.axes.translate(str.maketrans(after + before, before + after)))


def lengths(regions: Regions) -> dict[str, int]:
    """The lengths of the axes that make planes, as they follow in the file."""
    found = zip(regions.axes, regions.pixels.shape, strict=True)
    return {axis: length for axis, length in found if axis in regions.plane_axes}


def is_unnamed(axis: str) -> bool:
    """Whether an axis has a letter that tifffile, or `distinct`, gives to those that nobody named."""
    return axis in "QI" or axis.islower()


def letters(regions: Regions) -> str:
    """The axes of an image's planes by the letters that label images have, but small."""
    return "".join(zarr_axes(regions.plane_axes + "YX")[:-2])


def is_by_region(path: Path) -> bool:
    """Whether an image is read by region: Zarr, and large ones and stacks of TIFF."""
    if is_zarr(path):
        return True
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return False
    with open_regions(path, indices=True) as regions:
        return bool(regions.plane_shape) or has_many_pixels(regions.size)


def has_many_pixels(shape: Sequence[int]) -> bool:
    """Whether an image of a shape, such as (height, width), is more than is held, or drawn, as a whole."""
    return math.prod(shape) > LARGE
