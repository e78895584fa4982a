"""What a mask file means: the class of each pixel."""

from pathlib import Path

import numpy as np

from unetpp.data.images import read_raw
from unetpp.data.tiff import is_jpeg_in_tiff
from unetpp.errors import MaskError

MOST_CLASSES = 32
RENUMBER = "number classes 0, 1, 2, ... in the masks"


def read_mask(path: Path | str, num_classes: int) -> np.ndarray:
    """Read a mask whose pixel values (or palette indices) are class indices.

    With two classes, a mask of 0 and 255 alone means 0 and 1.

    Args:
        path: an image of one channel, or of three equal ones.
        num_classes: how many classes there are, background included.

    Returns:
        (H, W) uint8, values 0 to num_classes - 1.

    Raises:
        ImageError: if the file cannot be read.
        MaskError: if it is a colour picture, or has other values; with the values and their pixels.

    Example:
        >>> import tempfile
        >>> from unetpp.data.images import write_png
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_png(Path(folder) / "mask.png", np.array([[0, 255]], np.uint8))
        ...     read_mask(Path(folder) / "mask.png", 2).tolist()
        [[0, 1]]
    """
    numbers = read_indices(path)
    return (numbers // class_step(count_values(numbers), num_classes, path)).astype(np.uint8)


def class_step(values: dict[int, int], num_classes: int, path: Path | str) -> int:
    """How far neighbouring classes lie apart in a mask: 1, or 255 where 0 and 255 alone are two classes.

    Args:
        values: how many pixels of the whole mask have each value.
        num_classes: how many classes there are, background included.
        path: of the mask.

    Raises:
        MaskError: if there are other values; with the values and their pixels.
    """
    if num_classes == 2 and 255 in values and values.keys() <= {0, 255}:
        return 255
    found = [f"{v} ({n} pixels)" for v, n in sorted(values.items()) if not 0 <= v < num_classes]
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        possible = all(0 <= value < MOST_CLASSES for value in values)
        mend = (
            "correct the mask, give all --classes, or take a model that has them"
            if possible
            else f"correct the mask, or {RENUMBER}"
        )
        what = f"values {', '.join(found[:5])}{more} are not among the classes 0 to {num_classes - 1}"
        # One value may be a slip; several may be objects that somebody numbered.
        mend += "; numbers of objects are for --instances" if len(found) > 1 else ""
        raise MaskError(what, where=path, mend=mend)
    return 1


def mask_values(path: Path | str) -> dict[int, int]:
    """How many pixels have each value of a mask.

    Raises:
        ImageError, MaskError: if the file cannot be read or is a colour picture.
    """
    return count_values(read_indices(path))


def count_values(numbers: np.ndarray) -> dict[int, int]:
    """How many elements of an array have each value."""
    values, counts = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def check_lossless(path: Path | str) -> None:
    """Raise `MaskError` for a file of lossy pixels, whatever it is called: near an edge they are of no class."""
    path = Path(path)
    if path.is_file() and (lossy := lossy_format(path)):
        raise MaskError(f"{lossy} changes pixel values", where=path, mend="save masks as PNG or plain TIFF")


def lossy_format(path: Path) -> str:
    """How a file's pixels have been compressed if that changes them, by its first bytes; "" if it does not."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head.endswith(b"WEBPVP8 "):
        return "lossy WebP"
    return "JPEG in TIFF" if head[:2] in (b"II", b"MM") and is_jpeg_in_tiff(path) else ""


def read_indices(path: Path | str) -> np.ndarray:
    """The whole numbers a mask file holds: (H, W) of an integer dtype.

    Raises:
        ImageError: if the file cannot be read.
        MaskError: if it is lossy, a colour picture or holds fractions.
    """
    check_lossless(path)
    return to_indices(read_raw(Path(path), as_shown=False), path)


def to_indices(pixels: np.ndarray, path: Path | str) -> np.ndarray:
    """The whole numbers that a mask, or a part of it, holds: (h, w) of an integer dtype.

    Args:
        pixels: (h, w, C) as they are stored, of any dtype.
        path: of the mask.

    Raises:
        MaskError: if it is a colour picture or holds no whole numbers.
    """
    if pixels.dtype.kind not in "biuf":
        what = f"the mask holds values of type {pixels.dtype}"
        raise MaskError(what, where=path, mend="save whole class numbers")
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and (pixels == np.round(pixels)).all()):
            raise MaskError("the mask holds fractions", where=path, mend="save whole class numbers")
        for value in (float(pixels.min()), float(pixels.max())):
            if abs(value) >= 2**63:
                raise MaskError(f"the mask holds {value:g}", where=path, mend="save whole class numbers")
        pixels = pixels.astype(np.int64)
    if not (pixels == pixels[..., :1]).all():
        raise MaskError(
            "the mask is a colour picture", where=path, mend="save class numbers, one channel a pixel"
        )
    pixels = pixels[..., 0]
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels
