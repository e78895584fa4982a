"""How sure a prediction is, pixel by pixel."""

from collections.abc import Callable, Iterable

import numpy as np


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy of class probabilities, as a share of the largest there can be.

    H(p) = - sum p log p / log C, over C classes; 0 is sure, 1 is a guess. A single foreground probability
    counts as two classes.

    Args:
        probabilities: (..., C) floats that add up to 1, or (..., 1).

    Returns:
        (...) float32, 0 to 1.

    Example:
        >>> entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
        [0.0, 1.0]
    """
    p = of_classes(np.asarray(probabilities, np.float32))
    total = np.zeros(p.shape[:-1], np.float32)
    for chance in np.ascontiguousarray(np.moveaxis(p, -1, 0)):
        # p log p is 0 at 0, where a number near 0 stands in.
        total -= chance * np.log(np.maximum(chance, np.finfo(np.float32).tiny))
    return np.clip(total / np.float32(np.log(p.shape[-1])), 0, 1)


def of_classes(probabilities: np.ndarray) -> np.ndarray:
    """A channel a class: (..., 1) of the foreground becomes (..., 2)."""
    if probabilities.shape[-1] > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], -1)


def uncertainty(
    members: Iterable[np.ndarray], closed: Callable[[np.ndarray], np.ndarray] = lambda outputs: outputs
) -> tuple[np.ndarray, np.ndarray]:
    """What several predictions of the same image say together, and how sure they are.

    The entropy of the mean is all uncertainty; disagreement is the part of it that the members do not share
    (the mutual information of class and member): H(mean p) - mean H(p). One member never disagrees.

    Args:
        members: class probabilities (H, W, C) each, or outputs that are to be averaged first.
        closed: makes class probabilities of outputs, as `Predictor.closed` does.

    Returns:
        what the mean says (H, W, C) float32, and (2, H, W) float32: entropy, disagreement.

    Source: Smith and Gal, "Understanding Measures of Uncertainty for Adversarial Example Detection", 2018.
    """
    pairs = ((p, entropy(closed(p))) for p in members)
    mean, own = next(pairs)
    for count, (p, of_p) in enumerate(pairs, start=2):
        mean = mean + (p - mean) / np.float32(count)
        own = own + (of_p - own) / np.float32(count)
    found = closed(mean)
    spread = entropy(found)
    return found, np.stack([spread, np.maximum(spread - own, 0)])
