"""What is measured: label images, and what lies beside them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile

from unetpp.analysis.strips import PIXELS
from unetpp.data.images import IMAGE_SUFFIXES, TIFF_SUFFIXES, image_size, read_image
from unetpp.data.masks import check_lossless, class_step, count_values, read_indices, to_indices
from unetpp.data.names import composed, full_path, is_hidden, plain_name, unique_names, with_suffix
from unetpp.data.regions import LARGE, Regions, is_zarr, open_regions
from unetpp.errors import DatasetError, ImageError, SettingError


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

    @property
    def file(self) -> str:
        """Of the image, or else of the labels, below the folder of all: its file name, after sub-folders."""
        return Path(self.name).with_name((self.image or self.labels).name).as_posix()


def find_subjects(
    labels: Sequence[tuple[Path, str]],
    images: Path | None,
    probabilities: Path | None = None,
    *,
    folders: Sequence[Path] = (),
) -> list[Subject]:
    """Pair label images with their images and probabilities by name.

    Args:
        labels: files, and the names that tell them apart.
        images: the folder of the images, or None.
        probabilities: the folder of the probabilities, or None.
        folders: in which label images were looked for.

    Raises:
        DatasetError: if a label image has none in such a folder, or two.
    """
    sides = [("image", images), ("probabilities", probabilities)]
    given = [(what, folder, find_images(folder)) for what, folder in sides if folder is not None]

    def subject(path: Path, name: str) -> Subject:
        return Subject(name, path, **{side[0]: partner_of(path, name, *side, folders) for side in given})

    return [subject(path, name) for path, name in labels]


def find_images(folder: Path) -> dict[str, list[Path]]:
    """The images below a folder, files and Zarr, by their names, and by those that `unetpp predict` may give them."""
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if not is_hidden(path.relative_to(folder))
        and (path.suffix.lower() in IMAGE_SUFFIXES or is_zarr(path))
    ]
    relative = {full_path(path): below(path, folder) for path in paths}
    found: dict[str, list[Path]] = {}
    # What an image is called goes before what another may have been called.
    for names in (
        map(plain_name, relative.values()),
        unique_names(relative),
        map(with_suffix, relative.values()),
    ):
        further: dict[str, list[Path]] = {}
        for path, name in zip(paths, names, strict=True):
            further.setdefault(composed(name), []).append(path)
        found = further | found
    return found


def partner_of(
    label: Path, name: str, what: str, folder: Path, found: dict[str, list[Path]], folders: Sequence[Path]
) -> Path:
    """What belongs to a label image, such as the image that it was made from: the file of its name.

    Args:
        label: the label image.
        name: what tells it apart; where others have its own name, that and more.
        what: is looked for.
        folder: that of such files.
        found: the files there by name.
        folders: in which label images were looked for.

    Raises:
        DatasetError: if there is none, or there are two.
    """
    root = next((root for root in folders if root in label.parents), label.parent)
    name, own = composed(name), composed(plain_name(below(label, root)))
    # Label images that share a name have images in folders called as theirs, or one image together.
    names = [name] if name == own else [name, composed(f"{root.name}/{own}"), own]
    matches = ([path for path in found.get(called, []) if full_path(path) != label] for called in names)
    match = next(filter(None, matches), [])
    if not match:
        mend = f"give the folder that holds its {what}"
        raise DatasetError(f"{own} has no {what} in {folder}", where=label, mend=mend)
    if len(match) > 1:
        both = f"{match[0].name} and {match[1].name} have the same stem"
        raise DatasetError(both, where=match[0].parent, mend="rename one of them")
    return match[0]


def below(path: Path, folder: Path) -> PurePosixPath:
    """A path as it goes on from a folder."""
    return PurePosixPath(path.relative_to(folder).as_posix())


@dataclass(frozen=True)
class Rows:
    """An image that is read by rows.

    Attributes:
        size: (height, width).
        read: gives rows, (h, width) of numbers or (h, width, C) of pixels.
    """

    size: tuple[int, int]
    read: Callable[[slice], np.ndarray]


@contextmanager
def open_labels(path: Path, num_classes: int) -> Iterator[Rows]:
    """The class indices of a label image, which mean what `read_mask` takes them for, however large it is.

    Raises:
        ImageError, MaskError: if it cannot be read, or has other values than classes.
    """
    with open_numbers(path) as numbers:
        # What 255 means, the whole image says.
        step = class_step(count_labels(numbers), num_classes, path)
        yield Rows(numbers.size, lambda rows: (numbers.read(rows) // step).astype(np.uint8))


@contextmanager
def open_numbers(path: Path) -> Iterator[Rows]:
    """The whole numbers of a label image, which is read at once or, if it is large, by region.

    Raises:
        ImageError, MaskError: if it cannot be read, or is no label image.
    """
    if not is_large(path):
        numbers = read_indices(path)
        yield Rows(numbers.shape[:2], numbers.__getitem__)
        return
    check_lossless(path)
    with open_plane(path, indices=True) as (plane, columns):
        yield Rows(plane.size, lambda rows: to_indices(plane.read_raw((), rows, columns), path))


def count_labels(numbers: Rows) -> dict[int, int]:
    """How many pixels have each number."""
    values: Counter[int] = Counter()
    for rows in stripes(numbers.size):
        values.update(count_values(numbers.read(rows)))
    return values


def stripes(size: tuple[int, int]) -> Iterator[slice]:
    """All rows of an image of a size (height, width), some at a time."""
    height, rows = size[0], max(1, PIXELS // size[1])
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))


@contextmanager
def open_image(path: Path) -> Iterator[Rows]:
    """The pixels of an image, which is read at once or, if it is large, by region.

    Raises:
        ImageError: if it cannot be read.
    """
    if not is_large(path):
        pixels = read_image(path)
        yield Rows(pixels.shape[:2], pixels.__getitem__)
        return
    with open_plane(path) as (plane, columns):
        yield Rows(plane.size, lambda rows: plane.read((), rows, columns))


@contextmanager
def open_plane(path: Path, *, indices: bool = False) -> Iterator[tuple[Regions, slice]]:
    """An image of one plane for reading by region, and all its columns; see `open_regions`.

    Raises:
        ImageError: if it cannot be read, or has more planes or no pixels.
    """
    with open_regions(path, indices=indices) as regions:
        if regions.plane_shape:
            raise ImageError("this is a stack of planes", where=path, mend="give its planes one by one")
        if 0 in regions.size:
            raise ImageError("the image has no pixels", where=path, mend="export it again")
        yield regions, slice(0, regions.size[1])


@contextmanager
def open_beside(
    subject: Subject, size: tuple[int, int], num_classes: int
) -> Iterator[dict[str, Callable[[slice], np.ndarray]]]:
    """What reads rows of a subject's image and probabilities, as far as there are any.

    Raises:
        ImageError: if one cannot be read, or has another size than the labels.
    """
    with ExitStack() as stack_:
        found: dict[str, Rows] = {}
        if subject.image is not None:
            found["image"] = stack_.enter_context(open_image(subject.image))
        if subject.probabilities is not None:
            planes = read_probabilities(subject.probabilities, num_classes)
            found["probabilities"] = Rows(planes.shape[:2], planes.__getitem__)
        for name, rows in found.items():
            if rows.size != size:
                what = f"it has {rows.size[1]} x {rows.size[0]} pixels, its labels {size[1]} x {size[0]}"
                raise ImageError(what, where=getattr(subject, name), mend="give labels of the same image")
        yield {name: rows.read for name, rows in found.items()}


def read_probabilities(path: Path, num_classes: int) -> np.ndarray:
    """The probabilities that `unetpp predict` writes: (H, W, classes) float32, or (H, W, 1) of the foreground.

    Raises:
        ImageError: if the file holds anything else.
    """
    mend = "give what unetpp predict --probabilities wrote, and its model as --model"
    try:
        planes = tifffile.imread(path)
    except Exception as error:
        raise ImageError("this is no TIFF of probabilities", where=path, mend=mend) from error
    planes = planes[None] if planes.ndim == 2 else planes
    counts = (1, 2) if num_classes == 2 else (num_classes,)
    if planes.ndim != 3 or len(planes) not in counts or planes.dtype.kind != "f":
        shape = " x ".join(map(str, planes.shape))
        what = (
            f"{shape} values of type {planes.dtype} are no plane of floats for each of {num_classes} classes"
        )
        raise ImageError(what, where=path, mend=mend)
    if not (planes.min() >= 0 and planes.max() <= 1):
        raise ImageError("its values are not all from 0 to 1", where=path, mend=mend)
    return np.moveaxis(planes, 0, -1).astype(np.float32)


def is_large(path: Path) -> bool:
    """Whether an image is read by region."""
    if is_zarr(path):
        return True
    return path.suffix.lower() in TIFF_SUFFIXES and has_many_pixels(image_size(path))


def has_many_pixels(size: tuple[int, int]) -> bool:
    """Whether an image of a size (height, width) is more than is held, or drawn, as a whole."""
    return size[0] * size[1] > LARGE


def check_drawable(path: Path) -> None:
    """Raise SettingError if an image is too large for a picture of its objects.

    One that cannot be read is no matter here: whoever reads it says so.
    """
    with suppress(ImageError):
        if is_zarr(path):
            with open_regions(path) as regions:
                size = regions.size
        else:
            size = image_size(path)
        if has_many_pixels(size):
            what = f"--also numbered cannot draw {size[1]} x {size[0]} pixels, but {LARGE / 1e6:g} million at most"
            raise SettingError(what, where=path, mend="leave it out, or this image")
