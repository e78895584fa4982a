"""Whether probabilities are what they say: of pixels called 0.8, eight in ten should be right."""

import numpy as np

from unetpp.analysis.scores import ratio

BINS = 15


def reliability(
    truth: np.ndarray, probabilities: np.ndarray, prediction: np.ndarray | None = None
) -> np.ndarray:
    """Count how often probabilities come true, in bins of equal width.

    Args:
        truth: (H, W) class indices.
        probabilities: (H, W, C), of each class.
        prediction: (H, W), the most probable class, where that is known already.

    Returns:
        (1 + C, BINS, 3) float64: pixels in the bin, the sum of their probabilities, and how often it came true; first
        of the most probable class, then of each class.

    Example:
        >>> counts = reliability(np.array([[0, 1]]), np.array([[[0.9, 0.1], [0.8, 0.2]]]))
        >>> counts[0].sum(0)
        array([2. , 1.7, 1. ])
    """
    prediction = probabilities.argmax(-1) if prediction is None else prediction
    # A class at a time, in one piece each, is many times faster than a pixel at a time.
    chances = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))
    counts = np.stack([bins(chance, truth == k, prediction == k) for k, chance in enumerate(chances)])
    return np.concatenate([counts[:, 1].sum(0, keepdims=True), counts.sum(1)])


def bins(chance: np.ndarray, came: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(2, BINS, 3): pixels, the sum of their probabilities, and how many came true; first of those not chosen."""
    index = np.minimum(chance * BINS, BINS - 1).astype(np.uint8)
    # Bins of what came true lie behind those of what did not, and all of those again behind for what was chosen.
    index += came * np.uint8(BINS) + chosen * np.uint8(2 * BINS)
    flat = index.ravel().astype(np.intp)
    pixels, chances = (
        np.bincount(flat, weights, 4 * BINS).reshape(2, 2, BINS) for weights in (None, chance.ravel())
    )
    return np.stack([pixels.sum(1), chances.sum(1), pixels[:, 1]], -1).astype(np.float64)


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
