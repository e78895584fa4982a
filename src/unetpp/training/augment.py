"""The same transform on image and mask; light on the image alone."""

import numpy as np

from unetpp.data.symmetry import SYMMETRIES, turn


def augment(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator):
    """One of the eight symmetries of the square on both, then other light on the image.

    Args:
        image: (n, n, C) float32, in any scale.
        mask: (n, n) class indices; only moved, never blended.
        rng: decides everything.

    Returns:
        image and mask, of the same shapes.
    """
    symmetry = int(rng.integers(SYMMETRIES))
    return relight(turn(image, symmetry), rng), turn(mask, symmetry)


def relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain, a tint a channel, gamma, offset and noise, as lamps and cameras differ."""
    channels = image.shape[-1]
    low, scale = float(image.min()), float(np.ptp(image)) or 1.0
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.07, channels))
    gamma = np.exp(rng.normal(0, 0.15))
    offset = low + rng.normal(0, 0.03) * scale
    image = scale * ((image - low) / scale) ** gamma * gain + offset
    noise = rng.standard_normal(image.shape, np.float32) * abs(rng.normal(0, 0.02)) * scale
    return (image + noise).astype(np.float32)
