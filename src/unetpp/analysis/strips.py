"""The objects of a label image of any size, strip by strip, each object seen as a whole."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

# Pixels of a strip at least; it doubles until an object that reaches through it ends.
PIXELS = 10_000_000
# Pixels within which a filament may go on beyond a gap.
MARGIN = 32
# Strips are at most so many times as tall for the sake of filaments that may go on.
LONGEST = 4


def whole_objects(
    read: Callable[[slice], np.ndarray],
    size: tuple[int, int],
    *,
    thin: Sequence[int] = (),
    last: np.ndarray | None = None,
    pixels: int = PIXELS,
) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a label image into strips of rows, each with only the regions that end in it.

    A region is what hangs together over edges and corners, whatever its labels. Memory grows with the tallest region:
    a strip holds it as a whole, and up to as many rows again. In all, less than three times the image's rows are read.
    Regions between which a filament may go on stay together as long as the strip is no more than `LONGEST` times as
    tall for them. What lies in a region's hole stays with it.

    Args:
        read: gives rows of labels, (rows, W).
        size: (height, width).
        thin: labels of filaments.
        last: the last row of each label, -1 for 0, if each is an object as it is, whatever hangs together.
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
        if last is None:
            unfinished = going_on(labels, thin if len(labels) <= LONGEST * rows else ())
        else:
            unfinished = last[labels] >= bottom
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


def going_on(labels: np.ndarray, thin: Sequence[int]) -> np.ndarray:
    """Where regions are that may go on below: (H, W) bool.

    Args:
        labels: (H, W).
        thin: labels of filaments, which may go on beyond gaps.
    """
    regions = label(labels > 0, connectivity=2)
    open_ones = np.zeros(regions.max() + 1, bool)
    open_ones[np.unique(regions[-MARGIN:])] = True
    open_ones[0] = False
    # Whether the hole of a ring is empty decides what the ring is.
    open_ones[np.unique(regions[enclosed(open_ones[regions])])] = True
    open_ones[0] = False
    if thin:
        open_ones = linked(regions, np.isin(labels, thin), open_ones)
    return open_ones[regions]


def enclosed(unfinished: np.ndarray) -> np.ndarray:
    """Where holes of unfinished regions are, or may be once what lies below is known: (H, W) bool, as they are."""
    holes, rows = np.zeros_like(unfinished), np.flatnonzero(unfinished.any(1))
    # Above the first of their rows there are none.
    top = rows[0] if len(rows) else len(unfinished) - 1
    around = ~unfinished[top:]
    around[-1] = False
    # The first pixel of the frame is outside, and so is what hangs together with it.
    framed = np.pad(around, ((1, 0), (1, 1)), constant_values=True)
    holes[top:] = label(framed, connectivity=1)[1:, 1:-1] > 1
    return holes


def linked(regions: np.ndarray, thin: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Some regions, and those that filaments may go on in from there, over any number of gaps.

    Args:
        regions: (H, W) numbers.
        thin: (H, W) bool, where filaments are.
        some: (n + 1,) bool, of each region's number.

    Returns:
        (n + 1,) bool.
    """
    if not thin.any():
        return some
    around = label(ndimage.maximum_filter(thin, MARGIN + 1), connectivity=2)
    # Regions and surroundings that share a pixel.
    pairs = np.unique(np.stack([regions[thin], around[thin] + len(some)]), axis=1)
    count = len(some) + around.max() + 1
    _, group = connected_components(
        coo_array((np.ones(pairs.shape[1], bool), pairs), (count, count)), directed=False
    )
    return np.isin(group[: len(some)], group[np.flatnonzero(some)]) & (np.arange(len(some)) > 0)
