"""What a mask file means: the class of each pixel."""

from pathlib import Path

import numpy as np

from unetpp.data.images import read_raw
from unetpp.errors import MaskError


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
    pixels = read_indices(path)
    values, counts = np.unique(pixels, return_counts=True)
    if num_classes == 2 and values[-1] == 255 and set(values.tolist()) <= {0, 255}:
        return (pixels == 255).astype(np.uint8)
    wrong = (values < 0) | (values >= num_classes)
    if wrong.any():
        found = [
            f"{v} ({n} pixels)" for v, n in zip(values[wrong].tolist(), counts[wrong].tolist(), strict=True)
        ]
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise MaskError(
            f"values {', '.join(found[:5])}{more} are not among the classes 0 to {num_classes - 1}",
            where=Path(path),
            mend="correct the mask, or give all --classes",
        )
    return pixels.astype(np.uint8)


def mask_values(path: Path | str) -> dict[int, int]:
    """How many pixels have each value of a mask.

    Raises:
        ImageError, MaskError: if the file cannot be read or is a colour picture.
    """
    values, counts = np.unique(read_indices(path), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def read_indices(path: Path | str) -> np.ndarray:
    """The whole numbers a mask file holds: (H, W) of an integer dtype.

    Raises:
        ImageError: if the file cannot be read.
        MaskError: if it is a colour picture or holds fractions.
    """
    path = Path(path)
    pixels = read_raw(path, expand_palette=False)
    if not (pixels == pixels[..., :1]).all():
        raise MaskError(
            "the mask is a colour picture", where=path, mend="save class numbers, one channel a pixel"
        )
    pixels = pixels[..., 0]
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and (pixels == np.round(pixels)).all()):
            raise MaskError("the mask holds fractions", where=path, mend="save whole class numbers")
        pixels = pixels.astype(np.int64)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels
