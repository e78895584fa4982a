"""One warp of image and mask together; other light on the image alone."""

import cv2
import numpy as np

from unetpp.data.symmetry import SYMMETRIES, turn

# Crops are drawn by threads of ours.
cv2.setNumThreads(1)

# At strength 1: the zoom's range, how often crops are turned by any angle, bent and blurred, and how far.
ZOOM, TURNED, BENT, BLURRED = 1.33, 0.5, 0.3, 0.15
# A bend is a smooth field: so many knots a side, moved by a normal deviation of so much of the side.
KNOTS, BEND = 5, 0.015


def warp(size: int, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Where each pixel of a crop comes from, relative to the crop's centre: (2, size, size) rows and columns.

    One of the eight symmetries of the square; then zoomed; some also turned by any angle, some bent.

    Args:
        size: pixels of the crop's side.
        rng: decides everything.
        strength: 0 for the symmetries alone.
    """
    line = np.arange(size) - (size - 1) / 2
    places = np.stack(np.meshgrid(line, line, indexing="ij"))
    if rng.random() < BENT * strength:
        knots = rng.normal(0, BEND * strength * size, (2, KNOTS, KNOTS))
        places = places + np.stack(
            [cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC) for field in knots]
        )
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < TURNED * strength else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    shrink = np.exp(strength * rng.uniform(-1, 1) * np.log(ZOOM))
    places = np.tensordot(shrink * np.array([[cos, -sin], [sin, cos]]), places, axes=1)
    symmetry = int(rng.integers(SYMMETRIES))
    return np.stack([turn(plane, symmetry) for plane in places])


def take(pixels: np.ndarray, places: np.ndarray, *, blend: bool) -> np.ndarray:
    """The pixels of an image at any places, mirrored where the image ends.

    Args:
        pixels: (h, w) or (h, w, C), uint8 or float32.
        places: (2, n, m) rows and columns.
        blend: interpolate between neighbours; without, the nearest is taken, as labels need.

    Returns:
        (n, m) or (n, m, C), of the same dtype.
    """
    y, x = places.astype(np.float32)
    how = cv2.INTER_LINEAR if blend else cv2.INTER_NEAREST
    found = cv2.remap(pixels, x, y, how, borderMode=cv2.BORDER_REFLECT_101)
    return found.reshape(*x.shape, *pixels.shape[2:])


def relight(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Gain, a tint a channel, gamma, offset, blur and noise, as lamps, lenses and cameras differ.

    Args:
        image: (h, w, C) float32, in any scale.
        rng: decides everything.
        strength: 0 for the image as it is.

    Returns:
        (h, w, C) float32.
    """
    height, width = image.shape[:2]
    low, scale = float(image.min()), float(np.ptp(image)) or 1.0
    gain = np.exp(strength * rng.normal(0, 0.2)) * np.exp(strength * rng.normal(0, 0.07, image.shape[-1]))
    gamma = np.float32(np.exp(strength * rng.normal(0, 0.15)))
    offset = low + strength * rng.normal(0, 0.03) * scale
    image = ((image - low) / scale) ** gamma * (scale * gain).astype(np.float32) + np.float32(offset)
    if rng.random() < BLURRED * strength:
        sigma = rng.uniform(0.3, 1.2)
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        image = image.reshape(height, width, -1)
    noise = np.float32(strength * abs(rng.normal(0, 0.02)) * scale)
    return image + noise * rng.standard_normal(image.shape, np.float32)
