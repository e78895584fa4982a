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
    # A class at a time, in one piece each, is many times faster than a pixel at a time.
    chances = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))
    sides = [(chances.max(0), probabilities.argmax(-1) == truth)]
    sides += [(chance, truth == k) for k, chance in enumerate(chances)]
    return np.stack([bins(np.ravel(chance), np.ravel(came)) for chance, came in sides])


def bins(chance: np.ndarray, came: np.ndarray) -> np.ndarray:
    """(BINS, 3): pixels, the sum of their probabilities, and how many came true."""
    index = np.minimum(chance * BINS, BINS - 1).astype(np.intp)
    # Bins of what came true lie behind those of what did not.
    index += BINS * came
    pixels, chances = (np.bincount(index, v, 2 * BINS).reshape(2, BINS) for v in (None, chance))
    return np.stack([pixels.sum(0), chances.sum(0), pixels[1]], 1).astype(np.float64)


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
