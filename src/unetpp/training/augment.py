"""The same transform on image and mask; light on the image alone."""

import numpy as np


def augment(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator):
    """One of the eight symmetries of the square on both, then other light on the image.

    Args:
        image: (n, n, C) float32, in any scale.
        mask: (n, n) class indices; only moved, never blended.
        rng: decides everything.

    Returns:
        image and mask, of the same shapes.
    """
    image, mask = turn(image, mask, int(rng.integers(8)))
    return relight(image, rng), mask


def turn(image: np.ndarray, mask: np.ndarray, symmetry: int):
    """Quarter turns (symmetry % 4), and a mirror image from 4 on."""
    pair = [np.rot90(pixels, symmetry % 4) for pixels in (image, mask)]
    image, mask = (np.flip(pixels, 1) for pixels in pair) if symmetry >= 4 else pair
    return image, mask


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
