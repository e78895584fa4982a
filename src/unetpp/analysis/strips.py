"""The objects of a label image of any size, strip by strip, each object seen as a whole."""

from collections.abc import Callable, Iterator

import numpy as np
from skimage.measure import label

# Pixels of a strip at least; it doubles until an object that reaches through it ends.
PIXELS = 10_000_000
# Rows above a strip's end in which a filament may end whose other half lies beyond a gap.
MARGIN = 32


def whole_objects(
    read: Callable[[slice], np.ndarray], size: tuple[int, int], *, pixels: int = PIXELS
) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a label image into strips of rows, each with only the regions that end in it.

    A region is what hangs together over edges and corners, whatever its labels. Memory grows with the tallest region:
    a strip holds it as a whole, and up to as many rows again. In all, less than three times the image's rows are read.

    Args:
        read: gives rows of labels, (rows, W).
        size: (height, width).
        pixels: of a strip, about.

    Yields:
        the first row of a strip, and its labels, (rows, W), 0 where another strip has the region.
    """
    height, rows = size[0], max(2 * MARGIN, pixels // max(1, size[1]))
    top, bottom, done = 0, 0, np.zeros((0, size[1]), bool)
    while top < height:
        # At least as many new rows as are read again: an open region costs no more, however tall it is.
        bottom = min(height, bottom + max(rows, bottom - top))
        labels = np.array(read(slice(top, bottom)))
        labels[: len(done)][done] = 0
        if bottom == height:
            yield top, labels
            return
        regions = label(labels > 0, connectivity=2)
        open_ones = np.zeros(regions.max() + 1, bool)
        open_ones[np.unique(regions[-MARGIN:])] = True
        open_ones[0] = False
        unfinished = open_ones[regions]
        # The next strip begins where its first region does; what has ended there is not counted again.
        with_some = np.flatnonzero(unfinished.any(1))
        start = int(with_some[0]) if len(with_some) else len(labels)
        if start == 0 and not (labels[~unfinished] > 0).any():
            continue
        yield top, np.where(unfinished, 0, labels)
        former = np.zeros(labels.shape, bool)
        former[: len(done)] = done
        done = ((labels > 0) & ~unfinished | former)[start:]
        top += start
