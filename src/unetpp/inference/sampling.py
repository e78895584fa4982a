"""What of an image its normalisation is measured on, where that is predicted region by region."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from unetpp.data.regions import Regions

# Of planes of many pixels, so many patches are measured, evenly spread, of so many pixels a side.
PATCHES, PATCH = 64, 32


def sample_pixels(regions: Regions, planes: Sequence[tuple[int, ...]], few: int) -> np.ndarray:
    """Some planes as a whole, or small regions that are evenly spread over them, and over evenly spread ones of many.

    Args:
        regions: the image.
        planes: the indices of each.
        few: the planes are given as a whole if they have so many pixels at most.

    Returns:
        (n, h, w, C) uint8, uint16 or float32.

    Raises:
        ImageError: if a region cannot be read.
    """
    height, width = regions.size
    if len(planes) * height * width <= few:
        return np.stack([regions.read(plane, slice(0, height), slice(0, width)) for plane in planes])
    side = int(np.sqrt(PATCHES))
    places = [
        [round(k * max(0, length - PATCH) / (side - 1)) for k in range(side)] for length in regions.size
    ]
    found = []
    # Shuffled, so that each of few planes gives of all its sides.
    turns = np.random.default_rng(0).permutation(PATCHES) * len(planes) // PATCHES
    for turn, (top, left) in zip(turns, product(*places), strict=True):
        found.append(regions.read(planes[turn], slice(top, top + PATCH), slice(left, left + PATCH)))
    return np.stack(found)
