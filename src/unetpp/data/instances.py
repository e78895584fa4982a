"""Which object each pixel belongs to, as drawn by hand, and where such objects touch."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from unetpp.data.masks import read_indices
from unetpp.errors import MaskError

# A seam is as wide as this share of its object's half width, but of so many pixels at least and at most.
SHARE, LEAST, MOST = 0.5, 1.5, 4.0


def read_instances(path: Path, mask: np.ndarray) -> np.ndarray:
    """The number of each object, from 1 on without gaps: (H, W) ints.

    Args:
        path: a label image, 0 where there is no object.
        mask: (H, W) class indices that go with it.

    Raises:
        ImageError, MaskError: if it cannot be read, or does not fit.
    """
    numbers = read_indices(path)
    if numbers.shape != mask.shape:
        what = f"it has shape {numbers.shape}, the mask {mask.shape}"
        raise MaskError(what, where=path, mend="save it again")
    if numbers.min(initial=0) < 0:
        raise MaskError(
            f"an object has the number {numbers.min()}", where=path, mend="number objects from 1 on"
        )
    # As many as there are, however they were numbered.
    values, numbers = np.unique(numbers, return_inverse=True)
    numbers = numbers.reshape(mask.shape)
    lost = np.bincount(numbers[mask == 0], minlength=len(values)) > np.bincount(numbers.ravel()) / 2
    lost = values[lost & (values > 0)]
    if len(lost):
        raise MaskError(
            f"{len(lost)} of its objects, such as number {lost[0]}, lie on the background of the mask",
            where=path,
            mend="draw them in the mask, too, or number their pixels 0",
        )
    return numbers + int(values[0] != 0)


def seams(numbers: np.ndarray) -> np.ndarray:
    """The pixels of objects that are near another one: (H, W) bool.

    Args:
        numbers: (H, W) ints, 0 where there is no object.

    Example:
        >>> seams(np.array([[1, 1, 1, 2, 2, 2]])).astype(int).tolist()
        [[0, 0, 1, 1, 0, 0]]
    """
    found = np.zeros(numbers.shape, bool)
    margin = int(MOST) + 1
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        place = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        own = numbers[place] == number
        others = (numbers[place] > 0) & ~own
        if others.any():
            half = ndimage.distance_transform_edt(np.pad(own, 1)).max()
            away = ndimage.distance_transform_edt(~others)
            found[place] |= own & (away <= np.clip(SHARE * half, LEAST, MOST))
    return found


def with_seams(mask: np.ndarray, numbers: np.ndarray, seam: int) -> np.ndarray:
    """A mask with one class more, where objects of one class touch.

    Args:
        mask: (H, W) uint8 class indices.
        numbers: (H, W) ints, of its objects.
        seam: the index of that class.
    """
    marked = mask.copy()
    for index in np.unique(mask[mask > 0]):
        marked[seams(np.where(mask == index, numbers, 0))] = seam
    return marked
