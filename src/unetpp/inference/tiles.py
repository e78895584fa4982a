"""Where tiles lie and how they blend: pure geometry, no pixels."""

from itertools import product

import numpy as np


def starts(length: int, tile: int, overlap: int, grid: int = 1) -> list[int]:
    """The first pixels of the tiles along one axis: evenly spread, neighbours sharing at least `overlap`.

    All lie on the grid on which the network pools, so that a pixel is pooled with the same neighbours in
    every tile.

    Args:
        length: pixels to cover, at least `tile`.
        tile: pixels of one tile.
        overlap: pixels two neighbours share at least, at most `tile - grid`.
        grid: pixels between two places where a tile may start; divides `length` and `tile`.

    Example:
        >>> starts(1024, 512, 128, 32)
        [0, 256, 512]
    """
    cells, step = (length - tile) // grid, (tile - overlap) // grid
    count = -(-cells // step)
    return [grid * (k * cells // max(count, 1)) for k in range(count + 1)]


def corners(
    size: tuple[int, int], tile: tuple[int, int], overlap: int, grid: int = 1
) -> list[tuple[int, int]]:
    """The (top, left) pixel of every tile that covers an image of `size`, row by row."""
    rows, columns = (starts(s, t, min(overlap, t - grid), grid) for s, t in zip(size, tile, strict=True))
    return list(product(rows, columns))


def round_up(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Height and width, each the next multiple.

    Example:
        >>> round_up((300, 900), 64)
        (320, 960)
    """
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def window(tile: tuple[int, int], overlap: int) -> np.ndarray:
    """How much each pixel of a tile counts: (h, w) float32, 1 within, falling linearly towards the rim.

    The outer quarter of the overlap, where the network sees too little around a pixel, counts next to
    nothing; but not nothing, since an image's own rim lies in one tile alone.
    """
    ramps = []
    for side in tile:
        distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1.0
        ramps.append(np.clip((distance - overlap / 4) / (overlap / 2 + 1), 1e-4, 1.0))
    return np.outer(*ramps).astype(np.float32)
