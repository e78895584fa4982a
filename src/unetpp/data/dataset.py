"""Images and their masks: pair, count, measure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from unetpp.data.images import IMAGE_SUFFIXES, as_float, image_size, read_image, to_channels
from unetpp.data.masks import MOST_CLASSES, RENUMBER, check_lossless, mask_values, read_mask
from unetpp.data.names import check_name, composed, is_hidden
from unetpp.data.normalization import Normalization, from_moments
from unetpp.data.palettes import check_palettes
from unetpp.data.threads import parallel
from unetpp.errors import DatasetError

MASK_SUFFIXES = ("_mask", "_masks", "_label", "_labels", "_seg")
CLASS_FILE = "classes.txt"


@dataclass(frozen=True)
class Sample:
    """An image and its mask.

    Attributes:
        stem: the image's path below the data folder without its suffix, in POSIX form, `composed`; unique.
        image: the image file.
        mask: the mask file.
        instances: the file with the number of each object, if there is one.
    """

    stem: str
    image: Path
    mask: Path
    instances: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The image, the mask, and the numbers of its objects if there are some."""
        return [path for path in (self.image, self.mask, self.instances) if path]


def find_samples(
    data: Path | str,
    *,
    images: Path | None = None,
    masks: Path | None = None,
    mask_suffix: str | None = None,
    instances: Path | None = None,
) -> list[Sample]:
    """Pair images and masks by stem.

    They lie in DATA/images and DATA/masks, in two folders given, or side by side in DATA, where the mask's
    name is the image's and a suffix such as _mask. Formats may be mixed and sub-folders are mirrored.

    Args:
        data: the data folder.
        images: the images' folder, if not DATA/images.
        masks: the masks' folder, if not DATA/masks.
        mask_suffix: what a mask's name has beyond its image's.
        instances: a folder of label images with the number of each object, by the images' names.

    Returns:
        samples sorted by stem.

    Raises:
        DatasetError: if a folder is missing or empty, or an image or mask has no partner.
        ImageError: if a path is not valid UTF-8.
        MaskError: if a mask is lossy, such as a JPEG, or two number a colour of their palettes differently.
    """
    data = Path(data)
    apart = (data / "images").is_dir() or images is not None or masks is not None
    if apart:
        image_files = _files(Path(images or data / "images"))
        mask_files = _files(Path(masks or data / "masks"))
        ending = composed(mask_suffix or "")
        mask_files = {s.removesuffix(ending): path for s, path in mask_files.items() if s.endswith(ending)}
    else:
        image_files, mask_files = _side_by_side(data, mask_suffix)
    if not image_files:
        raise DatasetError(
            "no images are here", where=images or data, mend="give a folder with images/ and masks/"
        )
    _refuse_lonely(image_files, mask_files, "image", "mask", data)
    _refuse_lonely(mask_files, image_files, "mask", "image", data)
    for path in (*image_files.values(), *mask_files.values()):
        check_name(str(path.resolve()), path)
    for path in mask_files.values():
        check_lossless(path)
    check_palettes(mask_files.values())
    samples = [Sample(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]
    return with_instances(samples, instances) if instances else samples


def with_instances(samples: Sequence[Sample], folder: Path) -> list[Sample]:
    """Samples with the label images in a folder that number their objects, by the images' names.

    Raises:
        DatasetError: if an image has none, or two.
        ImageError: if a path is not valid UTF-8.
        MaskError: if one is lossy, such as a JPEG.
    """
    files = _files(Path(folder))
    _refuse_lonely({s.stem: s.image for s in samples}, files, "image", "label image of objects", folder)
    for sample in samples:
        check_name(str(files[sample.stem].resolve()), files[sample.stem])
        check_lossless(files[sample.stem])
    return [replace(sample, instances=files[sample.stem]) for sample in samples]


def _refuse_lonely(have: dict[str, Path], want: dict[str, Path], what: str, other: str, data: Path) -> None:
    """Raise `DatasetError` for files that have no partner of the same stem."""
    lonely = sorted(set(have) - set(want))
    if lonely:
        more = f" and {len(lonely) - 3} more" if len(lonely) > 3 else ""
        names = ", ".join(have[stem].name for stem in lonely[:3])
        endings = MASK_SUFFIXES if other == "mask" else ()
        ending = next((end for end in endings if all(stem + end in want for stem in lonely)), "")
        same = f"add the {other} of the same name, or take the {what} away"
        raise DatasetError(
            f"{len(lonely)} {what}{'s' if len(lonely) > 1 else ''} without {other} ({names}{more})",
            where=data,
            mend=f"give --mask-suffix {ending}" if ending else same,
        )


def check_sizes(sample: Sample) -> tuple[int, int]:
    """The (height, width) of an image, its mask and its objects; raise `DatasetError` if they differ."""
    size = image_size(sample.image)
    if sample.instances:
        same_size(replace(sample, mask=sample.instances), size, image_size(sample.instances))
    return same_size(sample, size, image_size(sample.mask))


def same_size(sample: Sample, image: tuple[int, ...], mask: tuple[int, ...]) -> tuple[int, int]:
    """The (height, width) that a sample's image and mask have; raise `DatasetError` if they differ."""
    if image != mask:
        raise DatasetError(
            f"the mask is {mask[1]} x {mask[0]} pixels, the image {image[1]} x {image[0]}",
            where=sample.mask,
            mend="export the mask at the image's size",
        )
    height, width = image
    return height, width


def read_class_names(data: Path | str) -> tuple[str, ...] | None:
    """The names in DATA/classes.txt, one a line by index; None without that file."""
    path = Path(data) / CLASS_FILE
    if not path.is_file():
        return None
    try:
        # Some editors begin with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError("this is no UTF-8", where=path, mend="save it as UTF-8") from error
    return tuple(composed(line.strip()) for line in lines if line.strip())


def check_class_names(data: Path | str, classes: Sequence[str]) -> None:
    """Raise `DatasetError` if DATA/classes.txt has more or fewer classes than a model, or the same in another order.

    Other names may mean the same.
    """
    names = read_class_names(data)
    if names and names != tuple(classes) and (len(names) != len(classes) or set(names) == set(classes)):
        raise DatasetError(
            f"these are {', '.join(names)}, the model's {', '.join(classes)}",
            where=Path(data) / CLASS_FILE,
            mend="number the masks as the model does, or take the file away",
        )


def infer_classes(samples: Sequence[Sample], names: Sequence[str] | None = None) -> tuple[str, ...]:
    """The names of the classes: those given, else background, class_1, ... by the masks' values.

    Raises:
        DatasetError: if names repeat or are fewer than two, or the masks' values are not 0, 1, 2, ...
    """
    if names is not None:
        check_classes(names)
        return tuple(names)
    values = sorted(set().union(*parallel(lambda sample: set(mask_values(sample.mask)), samples)))
    if values == [0, 255]:
        values = [0, 1]
    if values != list(range(len(values))) or not 2 <= len(values) <= MOST_CLASSES:
        shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        raise DatasetError(
            f"the masks' values are {shown}, not 0, 1, 2, ...",
            where=samples[0].mask.parent,
            mend="give --classes" if values[0] >= 0 and values[-1] < MOST_CLASSES else RENUMBER,
        )
    return ("background", *(f"class_{index}" for index in values[1:]))


def check_classes(names: Sequence[str]) -> None:
    """Raise `DatasetError` unless names can be those of classes."""
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names) or not all(names):
        raise DatasetError(
            f"{', '.join(names)} cannot be the classes",
            mend=f"give 2 to {MOST_CLASSES} different names, background first, separated by commas",
        )


def count_pixels(samples: Sequence[Sample], num_classes: int) -> np.ndarray:
    """Pixels of each class in each mask: (samples, classes) int64.

    Raises:
        ImageError, MaskError: at a mask that cannot be used.
    """

    def count(sample):
        return np.bincount(read_mask(sample.mask, num_classes).ravel(), minlength=num_classes)

    return np.array(parallel(count, samples), np.int64)


def data_channels(samples: Sequence[Sample]) -> int:
    """The channels a network for these images needs: theirs, or three where grey and RGB are mixed.

    Raises:
        DatasetError: if the images differ otherwise.
    """
    found = sorted(set(parallel(lambda sample: read_image(sample.image).shape[-1], samples)))
    if found == [1, 3]:
        return 3
    if len(found) > 1:
        raise DatasetError(
            f"the images have different channels ({', '.join(map(str, found))})",
            where=samples[0].image.parent,
            mend="export all with the same channels",
        )
    return found[0]


def measure_normalization(
    samples: Sequence[Sample], channels: int, *, per_image: bool | None = None
) -> Normalization:
    """Mean and standard deviation of each channel over all pixels: see `from_moments`."""

    def moments(sample):
        image = read_image(sample.image)
        pixels = as_float(to_channels(image, channels)).astype(np.float64)
        return pixels.mean((0, 1)), (pixels**2).mean((0, 1)), 8 * image.itemsize

    means, squares, bits = zip(*parallel(moments, samples), strict=True)
    return replace(from_moments(means, squares, per_image), bits=max(bits))


def object_sides(samples: Sequence[Sample], num_classes: int) -> list[float]:
    """The side of the square as large as each mask's median object, in pixels; 0 without objects.

    An object is a connected region of anything but background, of at least 10 pixels.
    """

    def side(sample):
        regions, _ = ndimage.label(read_mask(sample.mask, num_classes) > 0)
        areas = np.bincount(regions.ravel())[1:]
        areas = areas[areas >= 10]
        return float(np.sqrt(np.median(areas))) if areas.size else 0.0

    return parallel(side, samples)


def _files(folder: Path) -> dict[str, Path]:
    """Image files below a folder by stem."""
    if not folder.is_dir():
        what = "this is a file, not a folder" if folder.exists() else "there is no such folder"
        raise DatasetError(what, where=folder, mend="give a folder of images")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or is_hidden(below) or not path.is_file():
            continue
        stem = composed(below.with_suffix("").as_posix().removesuffix(".ome"))
        if stem in found:
            raise DatasetError(
                f"{found[stem].name} and {path.name} have the same stem",
                where=path.parent,
                mend="rename one of them",
            )
        found[stem] = path
    return found


def _side_by_side(folder: Path, suffix: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks of one folder, told apart by the masks' suffix."""
    files = _files(folder)
    suffixes = [suffix] if suffix else [s for s in MASK_SUFFIXES if any(stem.endswith(s) for stem in files)]
    if files and len(suffixes) != 1:
        what = f"suffixes {', '.join(suffixes)} all occur" if suffixes else "no masks are here"
        raise DatasetError(what, where=folder, mend="put them in images/ and masks/, or give --mask-suffix")
    ending = composed(suffixes[0]) if suffixes else ""
    masks = {stem.removesuffix(ending): path for stem, path in files.items() if stem.endswith(ending)}
    images = {stem: path for stem, path in files.items() if not stem.endswith(ending)}
    return images, masks
