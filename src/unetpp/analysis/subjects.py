"""What is measured: label images, and what lies beside them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from unetpp.analysis.scores import check_indices
from unetpp.data.images import IMAGE_SUFFIXES, TIFF_SUFFIXES, image_size, read_image
from unetpp.data.masks import read_mask
from unetpp.data.regions import Regions, is_zarr, open_regions
from unetpp.errors import DatasetError, ImageError

# Label images of more pixels are read by region.
LARGE = 40_000_000


@dataclass(frozen=True)
class Subject:
    """An image whose objects are measured.

    Attributes:
        name: in the tables, and of its outputs.
        labels: the label image.
        image: for intensities, or None.
        probabilities: a float TIFF, a plane a class, or None.
    """

    name: str
    labels: Path
    image: Path | None = None
    probabilities: Path | None = None


def find_subjects(
    labels: Sequence[tuple[Path, str]], images: Path | None, probabilities: Path | None = None
) -> list[Subject]:
    """Pair label images with their images by name.

    Args:
        labels: files, and their names without suffix.
        images: the folder of the images, or None.
        probabilities: the folder of the probabilities, or None.

    Raises:
        DatasetError: if a label image has no image.
    """
    found = (
        {}
        if images is None
        else {
            plain_name(path, images): path
            for path in sorted(images.rglob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        }
    )
    subjects = []
    for path, name in labels:
        if images is not None and name not in found:
            raise DatasetError(
                f"{name} has no image in {images}",
                where=path,
                mend="give the folder of the images it was made from",
            )
        chances = probabilities / f"{name}.tif" if probabilities else None
        subjects.append(
            Subject(name, path, found.get(name), chances if chances and chances.exists() else None)
        )
    return subjects


def plain_name(path: Path, folder: Path) -> str:
    """A file's path below a folder, without suffix."""
    return path.relative_to(folder).with_suffix("").as_posix().removesuffix(".ome")


@dataclass(frozen=True)
class Labels:
    """A label image, (height, width), that is read by rows."""

    size: tuple[int, int]
    read: Callable[[slice], np.ndarray]


@contextmanager
def open_labels(path: Path, num_classes: int) -> Iterator[Labels]:
    """A label image, whole or, if it is large, by region.

    Raises:
        ImageError, MaskError: if it cannot be read, or has other values than classes.
    """
    if not is_large(path):
        mask = read_mask(path, num_classes)
        yield Labels(mask.shape, lambda rows: mask[rows])
        return
    with open_regions(path) as regions:
        if regions.plane_shape:
            raise ImageError("this is a stack of planes", where=path, mend="give its planes one by one")

        def read(rows: slice) -> np.ndarray:
            labels = regions.read((), rows, slice(0, regions.size[1]))[..., 0]
            check_indices(labels, num_classes, str(path))
            return labels

        yield Labels(regions.size, read)


@contextmanager
def open_beside(
    subject: Subject, size: tuple[int, int]
) -> Iterator[dict[str, Callable[[slice], np.ndarray]]]:
    """What reads rows of a subject's image and probabilities, as far as there are any.

    Raises:
        ImageError: if one cannot be read, or has another size than the labels.
    """
    with ExitStack() as stack_:
        found: dict[str, Callable[[slice], np.ndarray]] = {}
        for name, path in (("image", subject.image), ("probabilities", subject.probabilities)):
            if path is None:
                continue
            if name == "probabilities":
                planes = np.moveaxis(tifffile.imread(path), 0, -1).astype(np.float32)
                found[name], own = planes.__getitem__, planes.shape[:2]
            elif is_large(path):
                regions = stack_.enter_context(open_regions(path))
                found[name], own = partial(read_rows, regions), regions.size
            else:
                pixels = read_image(path)
                found[name], own = pixels.__getitem__, pixels.shape[:2]
            if own != size:
                what = f"it has {own[1]} x {own[0]} pixels, its labels {size[1]} x {size[0]}"
                raise ImageError(what, where=path, mend="give labels of the same image")
        yield found


def read_rows(regions: Regions, rows: slice) -> np.ndarray:
    """Rows of an image that is read by region."""
    return regions.read((), rows, slice(0, regions.size[1]))


def is_large(path: Path) -> bool:
    """Whether an image is read by region."""
    if is_zarr(path):
        return True
    height, width = image_size(path)
    return path.suffix.lower() in TIFF_SUFFIXES and height * width > LARGE
