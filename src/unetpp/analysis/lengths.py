"""How long objects are, along their skeletons."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from unetpp.analysis.thinning import depths, thinned

# A path is measured over chords of 2^CHORD steps, for single steps know but eight directions.
CHORD = 2


def lengths(numbers: np.ndarray, count: int) -> np.ndarray:
    """The length of each object: that of the longest path along its skeleton, and on to its border at both ends.

    A closed object is as long as the way around, if its hole is as wide as its wall; one in parts, such as a filament
    with a gap, as they are together.

    Args:
        numbers: (H, W) ints, 0 where there is no object, else 1 to count.
        count: of objects.

    Returns:
        (count,) float64, pixels.
    """
    padded = apart(np.pad(numbers, 1), count)
    mask, wide = padded > 0, padded.shape[1]
    bone = np.flatnonzero(thinned(mask))
    if not len(bone):
        return np.zeros(count)
    graph = neighbours(bone, padded.ravel(), wide)
    _, part = connected_components(graph, directed=False)
    places = np.stack(np.unravel_index(bone, mask.shape), 1)
    far, *_ = farthest(graph, places, part, np.unique(part, return_index=True)[1])
    other, distance, before = farthest(graph, places, part, far)
    way, here, there = loops(graph, places, part, distance, before)
    # The middle of a pixel at the border lies half a pixel inside.
    deep = depths(mask, places[np.concatenate([far, other, here, there])]).reshape(4, -1) - 0.5
    open_ones = path_lengths(places, before, other) + deep[0] + deep[1]
    # The middle of a wall as wide as its hole is a circle of twice that width across.
    walls = deep[2] + deep[3]
    closed_ones = np.where(way >= 2 * np.pi * walls, way, 0)
    return np.bincount(padded.ravel()[bone[far]], np.maximum(open_ones, closed_ones), minlength=count + 1)[1:]


def apart(padded: np.ndarray, count: int) -> np.ndarray:
    """The objects, in so many copies of the image below one another that none touches another.

    Args:
        padded: (H, W) ints, 0 at the border.
        count: of objects.

    Returns:
        (n * H, W); the image itself if no objects touch.
    """
    # Each object goes into the first copy that none which it touches is in yet.
    copy = np.zeros(count + 1, int)
    for number, others in touching(padded).items():
        used = {int(copy[other]) for other in others}
        copy[number] = min(set(range(len(used) + 1)) - used)
    if not copy.any():
        return padded
    return np.concatenate([np.where(copy.take(padded) == k, padded, 0) for k in range(copy.max() + 1)])


def touching(padded: np.ndarray) -> dict[int, list[int]]:
    """For each object that touches some with lower numbers, over sides or corners, in order: which."""
    flat, wide = padded.ravel(), padded.shape[1]
    pairs = []
    for step in (1, wide - 1, wide, wide + 1):
        here, there = flat[:-step], flat[step:]
        meet = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.stack([np.maximum(here[meet], there[meet]), np.minimum(here[meet], there[meet])]))
    found: dict[int, list[int]] = {}
    for number, lower in np.unique(np.concatenate(pairs, 1), axis=1).T.tolist():
        found.setdefault(number, []).append(lower)
    return found


def neighbours(bone: np.ndarray, numbers: np.ndarray, wide: int) -> csr_matrix:
    """The graph of the skeleton's pixels: those of one object that touch.

    Args:
        bone: where they lie in the flat image, in order.
        numbers: the flat image.
        wide: a row of it.
    """
    index = np.full(len(numbers), -1, np.int32)
    index[bone] = np.arange(len(bone))
    pairs = []
    for step in (1, wide - 1, wide, wide + 1):
        near = index[bone + step]
        linked = (near >= 0) & (numbers[bone + step] == numbers[bone])
        pairs.append(np.stack([np.flatnonzero(linked), near[linked]]))
    one, other = np.concatenate(pairs, 1)
    both = np.concatenate([one, other]), np.concatenate([other, one])
    return csr_matrix((np.ones(2 * len(one), np.int8), both), (len(bone), len(bone)))


def farthest(graph: csr_matrix, places: np.ndarray, part: np.ndarray, sources: np.ndarray):
    """The pixel of each part that is farthest from the source in it; each pixel's distance, and the one before it.

    Paths are those of the fewest steps, which in lines one pixel wide are the shortest.
    """
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
    before = breadth_first_order(joined, size)[1][:-1]
    before[sources] = sources
    # To the one before, then to the second, the fourth, ... before, where a source stays itself.
    distance, above, ahead = np.hypot(*(places - places[before]).T), before, before[before]
    while not np.array_equal(above, ahead):
        distance = distance + distance[above]
        above, ahead = ahead, ahead[ahead]
    return largest_of_each(part, distance, len(sources)), distance, before


def largest_of_each(part: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Where the largest value of each part is; -1 for parts without any."""
    found, order = np.full(count, -1), np.argsort(values, kind="stable")
    # What is assigned last stays.
    found[part[order]] = order
    return found


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


def loops(graph: csr_matrix, places, part, distance, before) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The longest way around in each part, over chords, 0 where there is none; and two pixels opposite on it.

    A way around is two paths to the source, up to where they meet, and a step between their ends.

    Returns:
        (parts,) each: float64, and indices of pixels; of a part without a way around, any.
    """
    one, other = np.repeat(np.arange(len(before)), np.diff(graph.indptr)), graph.indices
    extra = (one < other) & (before[one] != other) & (before[other] != one)
    one, other = one[extra], other[extra]
    meets = meeting(one, other, before)
    best = largest_of_each(part[one], distance[one] + distance[other] - 2 * distance[meets], part.max() + 1)
    shown = np.flatnonzero(best >= 0)
    one, other, meets = one[best[shown]], other[best[shown]], meets[best[shown]]
    before = before.copy()
    before[meets] = meets
    length, opposite = np.zeros(len(best)), np.zeros((2, len(best)), int)
    length[shown] = path_lengths(places, before, one) + path_lengths(places, before, other)
    length[shown] += np.hypot(*(places[one] - places[other]).T)
    opposite[:, shown] = one, meets
    return length, *opposite


def meeting(one: np.ndarray, other: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The first pixel that the paths from two pixels back to their source have in common.

    Args:
        one, other: (n,) pixels; two have one source.
        before: (pixels,) the one before each on its path; a source's is itself.
    """
    # To the one before, the second, the fourth, ... before; and how many there are before each.
    ahead, steps = [before], (before != np.arange(len(before))).astype(np.int32)
    while not np.array_equal(further := ahead[-1][ahead[-1]], ahead[-1]):
        steps += steps[ahead[-1]]
        ahead.append(further)
    behind = steps[one] > steps[other]
    one, other = np.where(behind, one, other), np.where(behind, other, one)
    # As near to the source as the other; then both together, as far as they stay apart.
    for k, table in enumerate(ahead):
        one = np.where((steps[one] - steps[other]) >> k & 1, table[one], one)
    for table in reversed(ahead):
        apart = table[one] != table[other]
        one, other = np.where(apart, table[one], one), np.where(apart, table[other], other)
    return np.where(one == other, one, before[one])
