"""Whether probabilities are what they say: of pixels called 0.8, eight in ten should be right."""

import numpy as np

from unetpp.analysis.scores import ratio

BINS = 15


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Count how often probabilities come true, in bins of equal width.

    Args:
        truth: (H, W) class indices.
        probabilities: (H, W, C), of each class.

    Returns:
        (1 + C, BINS, 3) float64: pixels in the bin, the sum of their probabilities, and how often it came true; first
        of the most probable class, then of each class.

    Example:
        >>> counts = reliability(np.array([[0, 1]]), np.array([[[0.9, 0.1], [0.8, 0.2]]]))
        >>> counts[0].sum(0)
        array([2. , 1.7, 1. ])
    """
    best = probabilities.argmax(-1)
    top = np.take_along_axis(probabilities, best[..., None], -1)[..., 0]
    sides = [(top, best == truth)]
    sides += [(probabilities[..., k], truth == k) for k in range(probabilities.shape[-1])]
    return np.stack([bins(np.ravel(chance), np.ravel(came)) for chance, came in sides])


def bins(chance: np.ndarray, came: np.ndarray) -> np.ndarray:
    """(BINS, 3): pixels, the sum of their probabilities, and how many came true."""
    index = np.clip((chance * BINS).astype(np.intp), 0, BINS - 1)
    sums = (None, chance, came)
    return np.stack([np.bincount(index, values, minlength=BINS) for values in sums], 1).astype(np.float64)


def expected_calibration_error(counts: np.ndarray) -> np.ndarray:
    """The mean distance between probability and frequency, weighted by pixels; NaN where there are none.

    ECE = sum over bins of n / N · |came true / n - mean probability|

    Args:
        counts: (..., BINS, 3), of `reliability`; sums of such counts pool images.

    Returns:
        (...) 0 to 1.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    pixels, chance, came = np.moveaxis(counts, -1, 0)
    return ratio(np.abs(came - chance).sum(-1), pixels.sum(-1))
