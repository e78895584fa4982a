"""A label image to objects: every pixel the number of the object that it belongs to."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from unetpp.analysis.filaments import follow
from unetpp.errors import SettingError

# Round objects are taken apart where the neck between them is narrower than this share of the narrower one. Widths are
# smoothed over so many pixels, for the grid of pixels adds or takes half a one.
NECK, SMOOTH = 0.95, 1.0
# Distances in one more region by itself take as long as in so many pixels.
COST = 3_000


def separate(
    labels: np.ndarray,
    *,
    split: Sequence[int] = (),
    thin: Sequence[int] = (),
    probabilities: np.ndarray | None = None,
    smallest: int = 0,
    drop_border: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Number the objects of each class: regions that are connected, also over corners.

    Args:
        labels: (H, W) class indices, 0 = background.
        split: classes of round objects, which are taken apart where they touch.
        thin: classes of filaments, which are followed through crossings and gaps.
        probabilities: (H, W, classes), or (H, W, 1) of the foreground; where they dip, objects of `split` come apart
            more easily.
        smallest: objects of fewer pixels are left out.
        drop_border: leave out objects that touch the image's border.

    Returns:
        numbers, (H, W) int32, 0 where there is no object, and classes, (n + 1,) uint8: that of each number; those of
        0 is 0. Numbers count from 1 in the order of the objects' first pixels.

    Raises:
        SettingError: if labels are no integers, or a class is both in `split` and `thin`.

    Example:
        >>> numbers, classes = separate(np.array([[1, 1, 0, 2]]))
        >>> numbers.tolist(), classes.tolist()
        ([[1, 1, 0, 2]], [0, 1, 2])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu" or labels.ndim != 2:
        raise SettingError(f"labels of shape {labels.shape} and type {labels.dtype} are no label image")
    if set(split) & set(thin):
        raise SettingError("a class is either round, to be split, or thin", mend="name it once")
    plain = np.where(np.logical_or.reduce([labels == index for index in (0, *split, *thin)]), 0, labels)
    numbers = np.zeros(labels.shape, np.int32)
    if plain.any():
        numbers[:] = label(plain, connectivity=2)
    for index in (*split, *thin):
        mask = labels == index
        if not mask.any():
            continue
        # Only where the class is.
        box = box_of(mask)
        mask = mask[box]
        # A network of one channel gives the foreground alone.
        share = (
            None if probabilities is None else probabilities[(*box, min(index, probabilities.shape[2] - 1))]
        )
        found = split_touching(mask, share) if index in split else follow(mask)
        numbers[box][mask] = found[mask] + numbers.max()
    shown = numbers > 0
    inside = in_order(numbers[shown])
    numbers[shown] = inside
    classes = np.zeros(inside.max(initial=0) + 1, np.uint8)
    classes[inside] = labels[shown]
    wrong = np.bincount(inside, minlength=len(classes)) < smallest
    if drop_border:
        edges = (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]) if numbers.size else ()
        wrong[np.concatenate([np.unique(edge) for edge in edges] or [np.zeros(0, int)])] = True
    return without(numbers, classes, wrong)


def box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns from the first to the last that a mask, (H, W) bool, has any pixel in."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def without(numbers: np.ndarray, classes: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out some objects, and close up the ranks."""
    kept = ~wrong
    kept[0] = True
    if kept.all():
        return numbers, classes
    renumbered = np.where(kept, np.cumsum(kept) - 1, 0).astype(np.int32)
    return renumbered[numbers], classes[kept]


def in_order(numbers: np.ndarray) -> np.ndarray:
    """Numbers, of any shape, from 1 in the order of their first pixels, row by row; 0 stays."""
    flat = numbers.ravel()
    first = np.full(flat.max(initial=0) + 1, flat.size)
    # Of what is assigned twice the last stays: the first pixel of each number.
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    first[0] = -1
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[numbers]


def split_touching(mask: np.ndarray, probability: np.ndarray | None = None) -> np.ndarray:
    """Take round objects apart where they touch.

    The smoothed distance to the background is high in the middle of each object and low at the neck between two. Basins
    of its watershed are joined again unless the neck is narrower than `NECK` of the narrower object. A hole counts as
    inside if it is empty and wider than all that is around it, so a ring stays one; so does a closed chain of seven or
    more.

    Args:
        mask: (H, W) bool.
        probability: (H, W) of the class; the distance is multiplied by it.

    Returns:
        (H, W) int32, 0 outside the mask.
    """
    shown, regions = mask, label(mask, connectivity=2)
    height = region_depths(regions)
    holes = wide_holes(regions, height)
    if holes.any():
        mask = shown | holes
        regions = label(mask, connectivity=2)
        height = region_depths(regions)
    if probability is not None:
        height *= np.where(shown, probability, 1)
    # Beyond the box there is nothing, as there is with more around it.
    height = ndimage.gaussian_filter(height, SMOOTH, mode="constant") * mask
    # Within a rim of zeros: of a flat array nothing is a maximum.
    maxima = local_maxima(np.pad(height, 1), connectivity=2)[1:-1, 1:-1]
    markers = label(maxima & mask, connectivity=2)
    # A region with one marker is whole as it is.
    several = count_markers(regions, markers) > 1
    if not several.any():
        return (regions * shown).astype(np.int32)
    mask = several[regions]
    box = box_of(mask)
    mask, height = mask[box], height[box]
    basins = watershed(-height, markers[box], mask=mask, connectivity=2)
    peaks = np.zeros(markers.max() + 1, np.float32)
    np.maximum.at(peaks, basins[mask], height[mask])
    pairs, saddles = borders(basins, height)
    regions[box][mask] = len(several) + join(pairs, saddles, peaks)[basins[mask]]
    return (regions * shown).astype(np.int32)


def wide_holes(regions: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The empty holes that are wider than the region around them: (H, W) bool.

    Args:
        regions: (H, W) the number of the region that a pixel is in, 0 outside.
        depth: (H, W), of `region_depths`.
    """
    found = np.zeros(regions.shape, bool)
    outside = label(regions == 0, connectivity=1)
    inner = np.ones(outside.max() + 1, bool)
    inner[0] = False
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        inner[edge] = False
    if not inner.any():
        return found
    holes = np.where(inner[outside], outside, 0)
    widest = np.zeros(regions.max() + 1, np.float32)
    np.maximum.at(widest, regions[regions > 0], depth[regions > 0])
    for hole, box in enumerate(ndimage.find_objects(holes), start=1):
        if box is None:
            continue
        # A hole has a rim of a region all around.
        place = tuple(slice(side.start - 1, side.stop + 1) for side in box)
        own = holes[place] == hole
        around = np.unique(regions[place][ndimage.binary_dilation(own) & ~own])
        # Most holes are too small by their sides already.
        if len(around) > 1 or min(own.shape) / 2 <= widest[around[0]]:
            continue
        if region_depths(own.astype(np.uint8)).max() > widest[around[0]]:
            found[place] |= own
    return found


def count_markers(regions: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """How many numbers markers, (H, W), have in each region: (n + 1,) ints; that of 0 means nothing."""
    region = np.zeros(markers.max() + 1, np.int64)
    marked = markers > 0
    region[markers[marked]] = regions[marked]
    return np.bincount(region[1:], minlength=regions.max() + 1)


def region_depths(regions: np.ndarray) -> np.ndarray:
    """How far each pixel of a region is from the nearest outside it, or beyond the image: (H, W) float32, else 0.

    Args:
        regions: (H, W) the number of the region that a pixel is in, 0 outside; they do not touch.
    """
    boxes = ndimage.find_objects(regions)
    if sum(COST + regions[box].size for box in boxes) > regions.size:
        boxes, regions = [np.s_[:, :]], regions > 0
    found = np.zeros(regions.shape, np.float32)
    # What is nearest to a region's pixel outside of it is in no other region.
    for region, box in enumerate(boxes, start=1):
        own = regions[box] == region
        found[box] += ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1].astype(np.float32)
    return found


def borders(basins: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of basins that touch, (n, 2), and the highest point of the border between them, (n,)."""
    pairs, saddles = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, basins.shape[0] - down), slice(max(0, -right), basins.shape[1] - max(0, right)))
        there = (slice(down, None), slice(max(0, right), basins.shape[1] - max(0, -right)))
        a, b = basins[here], basins[there]
        # Few pixels differ from the next.
        other = a != b
        touching = np.stack([a[other], b[other]], 1)
        inside = touching.min(1, initial=1) > 0
        pairs.append(np.sort(touching[inside], 1))
        saddles.append(np.minimum(height[here][other], height[there][other])[inside])
    unique, inverse = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    highest = np.zeros(len(unique), np.float32)
    np.maximum.at(highest, inverse.ravel(), np.concatenate(saddles))
    return unique, highest


def join(pairs: np.ndarray, saddles: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The number of the joined object of each basin: (n,) int, by merging over the highest saddles first."""
    parent, top = list(range(len(peaks))), peaks.tolist()
    for k in np.argsort(-saddles, kind="stable"):
        a, b = (root(parent, int(basin)) for basin in pairs[k])
        if a != b and saddles[k] >= NECK * min(top[a], top[b]):
            parent[max(a, b)] = min(a, b)
            top[min(a, b)] = max(top[a], top[b])
    return np.array([root(parent, basin) for basin in range(len(peaks))])


def root(parent: list[int], one: int) -> int:
    """Whom a chain of parents ends with; the chain is shortened on the way."""
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one
