"""Images at sizes that a network takes."""

import numpy as np


def pad_by_reflection(pixels: np.ndarray, least: tuple[int, int]) -> np.ndarray:
    """Reflect an image on all sides until it is at least `least` high and wide."""
    extra = [max(0, need - have) for need, have in zip(least, pixels.shape[:2], strict=True)]
    pads = [(e // 2, e - e // 2) for e in extra]
    return np.pad(pixels, [*pads, (0, 0)], mode="symmetric")


def crop_middle(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Undo `pad_by_reflection`: the middle `size` of an image."""
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape[:2], size, strict=True))
    return pixels[top : top + size[0], left : left + size[1]]
