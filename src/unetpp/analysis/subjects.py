"""What is measured: label images, and what lies beside them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile

from unetpp.analysis.planes import (
    Planes,
    has_many_pixels,
    is_by_region,
    letters,
    one_plane,
    open_image,
    with_axes_of,
)
from unetpp.data.images import IMAGE_SUFFIXES, image_size
from unetpp.data.names import composed, full_path, is_hidden, plain_name, unique_names, with_suffix
from unetpp.data.regions import LARGE, is_zarr, open_regions, spacing_of
from unetpp.data.spacing import Spacing, side_of
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

    @property
    def spacing(self) -> Spacing:
        """That of the labels, or if they do not know how large pixels are, and the image does, of the image."""
        of_labels = spacing_of(self.labels)
        if side_of(of_labels) or not self.image:
            return of_labels
        of_image = spacing_of(self.image)
        return of_image if side_of(of_image) else of_labels

    @property
    def has_channels(self) -> bool:
        """Whether the image has channels, not counting the samples of colours; no, if there is none."""
        if self.image is None:
            return False
        with open_regions(self.image) as regions:
            return dict(zip(regions.axes, regions.pixels.shape, strict=True)).get("C", 1) > 1


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
) -> Path | None:
    """What belongs to a label image, such as the image that it was made from: the file of its name.

    There need be no probabilities of what `unetpp predict` writes none of.

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
    if not match and what == "probabilities" and is_slide_or_stack(label):
        return None
    if not match:
        mend = f"give the folder that holds its {what}"
        raise DatasetError(f"{own} has no {what} in {folder}", where=label, mend=mend)
    if len(match) > 1:
        both = f"{match[0].name} and {match[1].name} have the same stem"
        raise DatasetError(both, where=match[0].parent, mend="rename one of them")
    return match[0]


def is_slide_or_stack(label: Path) -> bool:
    """Whether a label image is of a slide or stack; one that cannot be read is not, and whoever reads it says so."""
    # However small, an image in OME-Zarr is predicted as a slide, whose labels are an OME-TIFF.
    if label.name.lower().endswith((".ome.tif", ".ome.tiff")):
        return True
    with suppress(ImageError):
        return is_by_region(label)
    return False


def below(path: Path, folder: Path) -> PurePosixPath:
    """A path as it goes on from a folder."""
    return PurePosixPath(path.relative_to(folder).as_posix())


@contextmanager
def open_beside(subject: Subject, labels: Planes, num_classes: int) -> Iterator[dict[str, Planes]]:
    """A subject's image and probabilities, as far as there are any.

    Raises:
        ImageError: if one cannot be read, or has another size or other planes than the labels.
    """
    with ExitStack() as stack:
        found: dict[str, Planes] = {}
        if subject.image is not None:
            found["image"] = stack.enter_context(open_image(subject.image))
        if subject.probabilities is not None:
            found["probabilities"] = one_plane(read_probabilities(subject.probabilities, num_classes))
        for name, other in found.items():
            where, mend, size = getattr(subject, name), "give labels of the same image", labels.size
            if other.size != size:
                what = f"it has {other.size[1]} x {other.size[0]} pixels, its labels {size[1]} x {size[0]}"
                raise ImageError(what, where=where, mend=mend)
            if (other.axes, other.shape) != (labels.axes, labels.shape):
                raise ImageError(f"it is {other}, its labels are {labels}", where=where, mend=mend)
        yield found


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


def check_stack(path: Path, extras: Sequence[str], image: Path | None = None) -> None:
    """Raise SettingError if what is asked for besides tables cannot be of a stack of planes.

    An `image` names its axes if nobody did. One that cannot be read is no matter here.
    """
    mend = "leave it out, or give the planes as images"
    for extra in ("numbered", "coco"):
        if extra in extras:
            raise SettingError(f"there is no --also {extra} of a stack", where=path, mend=mend)
    with open_regions(path, indices=True) as regions:
        axes = letters(regions)
        with suppress(ImageError):
            axes = letters(with_axes_of(regions, image))
    for extra in ("geojson", "roi"):
        if extra in extras and not {*axes} <= {*"tz"}:
            what = f"--also {extra} knows planes of t and z, and these are of {', '.join(axes)}"
            raise SettingError(what, where=path, mend=mend)
