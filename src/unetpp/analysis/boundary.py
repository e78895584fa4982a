"""How far predicted boundaries lie from true ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from unetpp.analysis.places import places

# Pixels by which a boundary may be off: about what two annotators of the same image differ by.
TOLERANCE = 2.0


@dataclass(frozen=True)
class Boundaries:
    """Two boundaries of the same class.

    Attributes:
        predicted: (n,) the distance of each predicted boundary pixel from the true boundary; pixels, infinite where
            there is none.
        true: (m,) the distance of each true boundary pixel from the predicted boundary.
    """

    predicted: np.ndarray
    true: np.ndarray

    def hits(self, tolerance: float = TOLERANCE) -> tuple[int, int, int, int]:
        """Predicted boundary pixels within the tolerance, all of them; the same of the true ones."""
        return (
            int((self.predicted <= tolerance).sum()),
            len(self.predicted),
            int((self.true <= tolerance).sum()),
            len(self.true),
        )

    def hausdorff(self, percent: float = 95) -> float:
        """The larger of both sides' percentiles of distance; NaN where one has no boundary.

        Source: Huttenlocher et al., "Comparing Images Using the Hausdorff Distance", 1993; the percentile of each
        side as in MONAI.
        """
        if not len(self.predicted) or not len(self.true):
            return float("nan")
        return float(max(np.percentile(self.predicted, percent), np.percentile(self.true, percent)))


def boundaries(truth: np.ndarray, prediction: np.ndarray) -> Boundaries:
    """Measure how far two regions' boundaries lie apart.

    A boundary is a region's pixels with a neighbour over an edge that is outside; beyond the image is outside.

    Args:
        truth: (H, W) bool.
        prediction: the same, of the same shape.

    Example:
        >>> line = np.zeros((3, 9), bool)
        >>> line[:, 4] = True
        >>> boundaries(line, np.roll(line, 2, 1)).hausdorff()
        2.0
    """
    [found] = class_boundaries(truth, prediction, [True])
    return found


def class_boundaries(truth: np.ndarray, prediction: np.ndarray, classes: Iterable) -> list[Boundaries]:
    """`boundaries` of the region of each of some classes.

    Args:
        truth: (H, W) labels.
        prediction: the same, of the same shape.
        classes: labels.
    """
    sides = [edges(truth), edges(prediction)]
    found = []
    for label in classes:
        true, predicted = (pixels[of == label] for pixels, of in sides)
        found.append(Boundaries(distances(predicted, true), distances(true, predicted)))
    return found


def edges(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels with a neighbour over an edge that has another label, or none: (n, 2) places, and (n,) labels."""
    inner = np.zeros(labels.shape, bool)
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    inner[1:-1, 1:-1] = down[1:, 1:-1] & down[:-1, 1:-1] & right[1:-1, 1:] & right[1:-1, :-1]
    return places(~inner), labels[~inner]


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """From each point to the nearest of others: (n,)."""
    if not len(others):
        return np.full(len(points), np.inf)
    return cKDTree(others).query(points)[0]
