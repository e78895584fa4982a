"""Where tiles lie and how they blend: pure geometry, no pixels."""

from itertools import product

import numpy as np


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """The first pixels of the tiles along one axis: evenly spread, neighbours sharing at least `overlap`.

    Args:
        length: pixels to cover, at least `tile`.
        tile: pixels of one tile.
        overlap: pixels two neighbours share at least, less than `tile`.

    Example:
        >>> starts(1000, 512, 128)
        [0, 244, 488]
    """
    count = 1 + -(-(length - tile) // (tile - overlap)) if length > tile else 1
    return [round(k * (length - tile) / max(count - 1, 1)) for k in range(count)]


def corners(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> list[tuple[int, int]]:
    """The (top, left) pixel of every tile that covers an image of `size`, row by row."""
    rows, columns = (starts(s, t, min(overlap, t - 1)) for s, t in zip(size, tile, strict=True))
    return list(product(rows, columns))


def tile_size(size: tuple[int, int], tile: int, multiple: int) -> tuple[int, int]:
    """The tile for an image of `size`: no larger than `tile`, a multiple of `multiple`.

    Example:
        >>> tile_size((300, 900), 512, 64)
        (320, 512)
    """
    height, width = (min(tile, -(-side // multiple) * multiple) for side in size)
    return height, width


def window(tile: tuple[int, int], overlap: int) -> np.ndarray:
    """How much each pixel of a tile counts: (h, w) float32, 1 within, falling linearly over `overlap`.

    The rim never reaches 0, so that every pixel of an image that lies in one tile alone is its own.
    """
    ramps = []
    for side in tile:
        distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1.0
        ramps.append(np.minimum(distance / (overlap + 1), 1.0))
    return np.outer(*ramps).astype(np.float32)
