"""Label images whose numbers are those of objects, as people and other programs draw them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetpp.analysis.planes import Rows, stripes
from unetpp.analysis.separate import without
from unetpp.errors import MaskError

# The highest number that label images of instances are written with.
HIGHEST = 2**32 - 1


@dataclass(frozen=True)
class Numbered(Rows):
    """The objects of a plane of a label image, which is read by rows as their ranks: 1 to n, 0 where there is none.

    Attributes:
        ids: (n + 1,) the number of each rank there, from 0 on.
        last: (n + 1,) the last row that each is in, -1 for rank 0.
    """

    ids: np.ndarray
    last: np.ndarray


def find_numbered(numbers: Rows, path: Path) -> Numbered:
    """The objects of a plane of a label image, however large it is and however they are numbered.

    Raises:
        ImageError, MaskError: if it cannot be read, or has other numbers than objects can have.
    """
    last = last_rows(numbers) | {0: -1}
    for number in (min(last), max(last)):
        if not 0 <= number <= HIGHEST:
            mend = f"number objects from 1 to {HIGHEST}"
            raise MaskError(f"an object has the number {number}", where=path, mend=mend)
    ids = np.array(sorted(last))

    def read(rows: slice) -> np.ndarray:
        return np.searchsorted(ids, numbers.read(rows)).astype(np.int32)

    return Numbered(numbers.size, read, ids, np.array([last[number] for number in ids.tolist()]))


def last_rows(numbers: Rows) -> dict[int, int]:
    """The last row that each number of a label image is in."""
    found: dict[int, int] = {}
    for rows in stripes(numbers.size):
        values, first = np.unique(numbers.read(rows)[::-1], return_index=True)
        found |= dict(zip(values.tolist(), (rows.stop - 1 - first // numbers.size[1]).tolist(), strict=True))
    return found


def as_numbered(ranks: np.ndarray, smallest: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """As `separate`: each number an object of class 1, touching others or in pieces as it is; in their order.

    Args:
        ranks: (H, W) ints, 0 where there is no object; not each needs to occur.
        smallest: objects of fewer pixels are left out.

    Example:
        >>> numbers, classes = as_numbered(np.array([[4, 4, 2, 0, 4]]))
        >>> numbers.tolist(), classes.tolist()
        ([[2, 2, 1, 0, 2]], [0, 1, 1])
    """
    counts = np.bincount(ranks.ravel())
    classes = (np.arange(len(counts)) > 0).astype(np.uint8)
    return without(ranks, classes, counts < max(1, smallest))
