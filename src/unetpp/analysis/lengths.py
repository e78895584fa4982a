"""How long objects are, along their skeletons."""

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from skimage.morphology import skeletonize

# A path is measured over chords of 2^CHORD steps, for single steps know but eight directions.
CHORD = 2


def lengths(numbers: np.ndarray, count: int) -> np.ndarray:
    """The length of each object: that of the longest path along its skeleton, and on to its border at both ends.

    An object in parts, such as a filament with a gap, is as long as they are together; a closed one as the way around.

    Args:
        numbers: (H, W) ints, 0 where there is no object, else 1 to count.
        count: of objects.

    Returns:
        (count,) float64, pixels; 0 for an object that is all border to others, and so has no skeleton.
    """
    padded = np.pad(numbers, 1)
    wide = padded.shape[1]
    half = (1, wide, wide + 1, wide - 1)
    # Objects that touch are parted by a pixel, so that their skeletons do not grow together.
    mask = padded > 0
    flat, parted = padded.ravel(), mask.ravel()
    for step in half:
        here, there = flat[:-step], flat[step:]
        parted[:-step] &= (there == 0) | (there >= here)
        parted[step:] &= (here == 0) | (here >= there)
    bone = np.flatnonzero(skeletonize(mask))
    if not len(bone):
        return np.zeros(count)
    graph = neighbours(bone, flat, half)
    _, part = connected_components(graph, directed=False)
    far, _ = farthest(graph, part, np.unique(part, return_index=True)[1])
    other, before = farthest(graph, part, far)
    places = np.stack(np.unravel_index(bone, mask.shape), 1)
    ends = places[np.stack([far, other])]
    background = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    nearest = np.stack([axis[ends[..., 0], ends[..., 1]] for axis in background], -1)
    depth = np.hypot(*np.moveaxis(nearest - ends, -1, 0))
    along = path_lengths(places, before, other)
    # Where every pixel has two neighbours, the path leads half around.
    closed = np.bincount(part[np.diff(graph.indptr) != 2], minlength=len(far)) == 0
    # The middle of a pixel at the border lies half a pixel inside.
    found = np.where(closed, 2 * along, along + depth.sum(0) - 1)
    return np.bincount(flat[bone[far]], found, minlength=count + 1)[1:]


def neighbours(bone: np.ndarray, numbers: np.ndarray, half: tuple[int, ...]) -> csr_matrix:
    """The graph of the skeleton's pixels: those of one object that touch.

    Args:
        bone: where they lie in the flat image, in order.
        numbers: the flat image.
        half: steps to half the neighbours.
    """
    index = np.full(len(numbers), -1, np.int32)
    index[bone] = np.arange(len(bone))
    pairs = []
    for step in half:
        near = index[bone + step]
        linked = (near >= 0) & (numbers[bone + step] == numbers[bone])
        pairs.append(np.stack([np.flatnonzero(linked), near[linked]]))
    rows, columns = np.concatenate(pairs, 1)
    both = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    return csr_matrix((np.ones(2 * len(rows), np.int8), both), (len(bone), len(bone)))


def farthest(graph: csr_matrix, part: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixel of each part that is the most steps away from the source in it, and each pixel's one before."""
    size = graph.shape[0]
    # One more pixel leads to all sources at once.
    joined = csr_matrix(
        (
            np.ones(graph.nnz + len(sources), np.int8),
            np.append(graph.indices, np.sort(sources)),
            np.append(graph.indptr, graph.nnz + len(sources)),
        ),
        (size + 1, size + 1),
    )
    order, before = breadth_first_order(joined, size)
    last = np.empty(len(sources), np.int64)
    # Later pixels are farther, and what is assigned last stays.
    last[part[order[1:]]] = order[1:]
    before[sources] = sources
    return last, before[:-1]


def path_lengths(places: np.ndarray, before: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The length of the path from each end back to where it came from, over chords."""
    for _ in range(CHORD):
        before = before[before]
    total = np.zeros(len(ends))
    active, here = np.arange(len(ends)), ends
    while len(active):
        there = before[here]
        total[active] += np.hypot(*(places[here] - places[there]).T)
        moved = there != here
        active, here = active[moved], there[moved]
    return total
