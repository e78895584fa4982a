"""What one image contributes to the scores of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unetpp.analysis.boundary import TOLERANCE, class_boundaries
from unetpp.analysis.calibration import reliability
from unetpp.analysis.matching import Matching, match
from unetpp.analysis.scores import confusion
from unetpp.analysis.separate import separate
from unetpp.analysis.uncertainty import entropy


@dataclass(frozen=True)
class Record:
    """A prediction against its truth, as counts that add up over images.

    C classes, the background being class 0; objects are those of classes 1 to C - 1.

    Attributes:
        name: of the image.
        confusion: (C, C) pixels; row = true class, column = predicted class.
        boundary: (C, 4), of `Boundaries.hits`.
        hausdorff: (C,) pixels, of `Boundaries.hausdorff`.
        matchings: of each class's objects.
        sizes: for each class the pixels of its true objects, and of its predicted ones.
        reliability: (1 + C, BINS, 3), of `reliability`.
        entropy: mean over pixels, 0 to 1.
    """

    name: str
    confusion: np.ndarray
    boundary: np.ndarray
    hausdorff: np.ndarray
    matchings: tuple[Matching, ...]
    sizes: tuple[tuple[np.ndarray, np.ndarray], ...]
    reliability: np.ndarray
    entropy: float


def examine(
    name: str,
    truth: np.ndarray,
    probabilities: np.ndarray,
    prediction: np.ndarray | None = None,
    *,
    instances: np.ndarray | None = None,
    split: Sequence[int] = (),
    thin: Sequence[int] = (),
    smallest: int = 0,
    tolerance: float = TOLERANCE,
) -> Record:
    """Hold a prediction against its truth.

    Args:
        name: of the image.
        truth: (H, W) class indices.
        probabilities: (H, W, C), C > 1.
        prediction: (H, W) uint8, the most probable class, where that is known already.
        instances: (H, W) the number of each true object, 0 where there is none; without it, and of classes of which it
            numbers less than half, objects are found in the truth by the same rules as in the prediction.
        split, thin, smallest: the rules, of `separate`.
        tolerance: pixels, of boundaries.

    Raises:
        SettingError, MaskError: if truth and prediction do not go together.
    """
    classes = probabilities.shape[-1]
    if prediction is None:
        prediction = probabilities.argmax(-1).astype(np.uint8)
    counts = confusion(truth, prediction, classes)
    lines = class_boundaries(truth, prediction, range(classes))
    rules: dict[str, Any] = {"split": split, "thin": thin, "smallest": smallest}
    found, of = separate(prediction, probabilities=probabilities, **rules)
    true, of_true = separate(truth, **rules) if instances is None else true_objects(instances, truth, rules)
    # Where neither has an object there is nothing to count.
    somewhere = (true > 0) | (found > 0)
    true, found = true[somewhere], found[somewhere]
    pairs = [(only(true, of_true == k), only(found, of == k)) for k in range(1, classes)]
    return Record(
        name,
        counts,
        np.array([line.hits(tolerance) for line in lines]),
        np.array([line.hausdorff() for line in lines]),
        tuple(match(*pair) for pair in pairs),
        tuple((areas(one), areas(other)) for one, other in pairs),
        reliability(truth, probabilities, prediction),
        float(entropy(probabilities).mean()),
    )


def true_objects(
    instances: np.ndarray, truth: np.ndarray, rules: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """As `separate`: the numbered objects, and by the rules those of classes of which less than half is numbered."""
    # A hand that numbers may slip by some pixels.
    numbered = [k for k in np.unique(truth) if k and np.mean(instances[truth == k] > 0) > 0.5]
    rest, of_rest = separate(np.where(np.isin(truth, numbered), 0, truth), **rules)
    true, of_true = with_classes(instances, truth, rules["smallest"])
    return np.where(rest > 0, rest + len(of_true) - 1, true), np.append(of_true, of_rest[1:])


def with_classes(instances: np.ndarray, truth: np.ndarray, smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbered objects, and the class that most pixels of each have in the truth; 0 for objects of too few pixels."""
    counts = np.bincount(instances.ravel())
    drawn = np.unique(truth[truth > 0])
    if not len(drawn):
        return instances, np.zeros(len(counts), truth.dtype)
    votes = [np.bincount(instances[truth == k], minlength=len(counts)) for k in drawn]
    classes = drawn[np.argmax(votes, 0)]
    classes[counts < smallest] = 0
    classes[0] = 0
    return instances, classes


def only(numbers: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Some of the objects, with the others left out; numbers stay."""
    return np.where(kept[numbers], numbers, 0)


def areas(numbers: np.ndarray) -> np.ndarray:
    """The pixels of each object that there is."""
    counts = np.bincount(numbers.ravel())[1:]
    return counts[counts > 0]
