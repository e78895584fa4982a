"""Predicted objects against true ones."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from unetpp.errors import SettingError

# At which IoU a predicted object counts as a true one: 0.5, 0.55, ... 0.95.
THRESHOLDS = np.arange(50, 100, 5) / 100


@dataclass(frozen=True)
class Matching:
    """Which predicted object is which true one.

    Attributes:
        true, predicted: how many objects there are.
        pairs: (n, 2) numbers of matched objects: the true one, the predicted one.
        ious: (n,) their intersection over union.
    """

    true: int
    predicted: int
    pairs: np.ndarray
    ious: np.ndarray


def match(truth: np.ndarray, prediction: np.ndarray, threshold: float = 0.5) -> Matching:
    """Match objects one to one: as many as can be, and of all such ways that of the largest sum of IoU.

    Above an IoU of 0.5 each object has one partner at most (Kirillov et al., "Panoptic Segmentation", 2019), so the
    matches at 0.5 hold those at every higher threshold.

    Args:
        truth: (H, W) ints, 0 where there is no object, else 1 to n.
        prediction: the same, of the same shape.
        threshold: the least IoU of a match, above 0.

    Raises:
        SettingError: if the shapes differ.

    Example:
        >>> match(np.array([[1, 1, 0, 2]]), np.array([[3, 3, 3, 0]])).ious
        array([0.66666667])
    """
    if truth.shape != prediction.shape:
        raise SettingError(f"truth of shape {truth.shape} cannot be compared with {prediction.shape}")
    sizes = [np.bincount(numbers.ravel()) for numbers in (truth, prediction)]
    both = (truth > 0) & (prediction > 0)
    wide = len(sizes[1]) or 1
    codes, shared = np.unique(truth[both].astype(np.int64) * wide + prediction[both], return_counts=True)
    pairs = np.stack(np.divmod(codes, wide), 1)
    ious = shared / (sizes[0][pairs[:, 0]] + sizes[1][pairs[:, 1]] - shared)
    enough = ious >= threshold
    chosen = assign(pairs[enough], ious[enough])
    true, predicted = (int((counts[1:] > 0).sum()) for counts in sizes)
    return Matching(true, predicted, pairs[enough][chosen], ious[enough][chosen])


def assign(pairs: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Which of some pairs to choose, (n,) bool, so that no object is in two."""
    chosen = np.ones(len(pairs), bool)
    if not len(pairs):
        return chosen
    # Groups of objects that pairs link; nearly all are but one pair.
    true, predicted = (np.unique(column, return_inverse=True)[1] for column in pairs.T)
    predicted = predicted + true.max() + 1
    size = predicted.max() + 1
    links = coo_matrix((np.ones(len(pairs)), (true, predicted)), (size, size))
    group = connected_components(links, directed=False)[1][true]
    for crowded in np.flatnonzero(np.bincount(group) > 1):
        members = np.flatnonzero(group == crowded)
        rows, columns = (np.unique(side[members], return_inverse=True)[1] for side in (true, predicted))
        index = np.full((rows.max() + 1, columns.max() + 1), -1)
        index[rows, columns] = members
        # A pair more is worth more than all IoU that could be lost.
        worth = np.where(index >= 0, 1 + ious[index] / (2 * min(index.shape)), 0)
        best = index[linear_sum_assignment(worth, maximize=True)]
        chosen[members] = np.isin(members, best)
    return chosen


def counts_at(matching: Matching, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """What matches at each threshold: (thresholds, 2), how many and the sum of their IoU."""
    enough = matching.ious >= thresholds[:, None]
    return np.stack([enough.sum(1), (enough * matching.ious).sum(1)], 1)
