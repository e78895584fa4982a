"""The middle lines of regions."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize, thin

from unetpp.analysis.places import places

EIGHT = np.ones((3, 3), int)


def thinned(mask: np.ndarray) -> np.ndarray:
    """The middle lines of a mask's regions, one pixel wide: (H, W) bool.

    Zhang and Suen's thinning is fast, but some diagonal bars of an even width it eats from their ends (Lü and Wang,
    "A comment on 'A fast parallel algorithm for thinning digital patterns'", 1986). So where a region has pixels that
    are farther from its lines than it is deep, it is thinned again, by Guo and Hall's slower algorithm.

    Example:
        >>> rows, columns = np.mgrid[:40, :40]
        >>> bar = (abs(rows - columns + 0.5) < 2) & (abs(rows + columns - 40) < 20)
        >>> int(skeletonize(bar).sum()), int(thinned(bar).sum()), int(thinned(bar[:, ::-1]).sum())
        (1, 20, 17)
    """
    padded = np.pad(mask, 1)
    lines = skeletonize(padded)
    inside = np.flatnonzero(padded)
    if not len(inside):
        return lines[1:-1, 1:-1]
    regions, count = ndimage.label(padded, EIGHT)
    own = regions.ravel()[inside]
    distances = (ndimage.distance_transform_cdt(of, "chessboard").ravel()[inside] for of in (~lines, padded))
    farthest, deepest = (largest(distance, own, count) for distance in distances)
    # A disc's middle is 1.4 times as far from its rim, counted so, as it is deep.
    eaten = np.flatnonzero(farthest > 1.5 * deepest + 0.5)
    boxes = ndimage.find_objects(regions) if len(eaten) else []
    for number in eaten:
        box = boxes[number - 1]
        own = regions[box] == number
        lines[box] = np.where(own, thin(np.pad(own, 1))[1:-1, 1:-1], lines[box])
    return lines[1:-1, 1:-1]


def largest(values: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """The largest of the values, (n,) from 0 on, of each number from 1 to count, and 0 for that of 0: (count + 1,)."""
    found = np.zeros(count + 1, int)
    # Sorting 16 bits takes time by their number alone; what is assigned last stays.
    order = np.argsort(np.minimum(values, 2**16 - 1).astype(np.uint16), kind="stable")
    found[numbers[order]] = values[order]
    return found


def depths(mask: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How far places (n, 2) in a mask are from the nearest pixel outside it, or beyond the image: (n,) float64."""
    padded = np.pad(mask, 1)
    rim = np.zeros(padded.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        rim[one] |= padded[other]
        rim[other] |= padded[one]
    return cKDTree(places(rim & ~padded) - 1, compact_nodes=False, balanced_tree=False).query(where)[0]
