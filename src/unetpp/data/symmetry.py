"""The eight symmetries of the square, for augmentation and for averaging predictions."""

import numpy as np

SYMMETRIES = 8


def turn(pixels: np.ndarray, symmetry: int) -> np.ndarray:
    """Turn an image (H, W, ...) by `symmetry % 4` quarters, and from 4 on mirror it left to right."""
    turned = np.rot90(pixels, symmetry % 4)
    return np.flip(turned, 1) if symmetry >= 4 else turned


def turn_back(pixels: np.ndarray, symmetry: int) -> np.ndarray:
    """Undo `turn`."""
    mirrored = np.flip(pixels, 1) if symmetry >= 4 else pixels
    return np.rot90(mirrored, -(symmetry % 4))
