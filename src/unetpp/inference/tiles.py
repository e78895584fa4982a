"""Where tiles lie and how they blend: pure geometry, no pixels."""

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A piece of an image and how much each of its pixels counts.

    Attributes:
        place: (rows, columns) as slices of the image.
        rows: weight of each row, float32.
        columns: weight of each column, float32. The weights of all tiles at a pixel add up to 1.
    """

    place: tuple[slice, slice]
    rows: np.ndarray
    columns: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """How much each pixel counts: (h, w, 1) float32."""
        return np.outer(self.rows, self.columns)[..., None]


def tiles(size: tuple[int, int], tile: int, overlap: int, grid: int = 1) -> list[Tile]:
    """The tiles that cover an image, row by row.

    Args:
        size: (height, width) of the image, multiples of `grid`.
        tile: pixels of a tile's side at most, a multiple of `grid`; an image's shorter sides make shorter ones.
        overlap: pixels two neighbours share at least.
        grid: pixels between two places where a tile may start.
    """
    axes = [axis(length, min(tile, length), overlap, grid) for length in size]
    return [Tile((r, c), rows, columns) for (r, rows), (c, columns) in product(*axes)]


def axis(length: int, tile: int, overlap: int, grid: int = 1) -> list[tuple[slice, np.ndarray]]:
    """The tiles along one axis: where each lies, and how much each of its pixels counts.

    A pixel's weight falls linearly towards a tile's rim. The outer quarter of the overlap, where the network
    sees too little around a pixel, counts next to nothing; but not nothing, since an image's own rim lies in
    one tile alone.
    """
    overlap = min(overlap, tile - grid)
    distance = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1.0
    ramp = np.clip((distance - overlap / 4) / (overlap / 2 + 1), 1e-4, 1.0)
    places = [slice(start, start + tile) for start in starts(length, tile, overlap, grid)]
    total = np.zeros(length)
    for place in places:
        total[place] += ramp
    return [(place, (ramp / total[place]).astype(np.float32)) for place in places]


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


@dataclass(frozen=True)
class Block:
    """A piece of an image that is predicted by itself.

    Attributes:
        index: (row, column) among the blocks.
        core: (rows, columns) that it answers for; the cores of all blocks make the image.
        region: (rows, columns) that the network sees.
    """

    index: tuple[int, int]
    core: tuple[slice, slice]
    region: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The (rows, columns) of the core within the region."""
        rows, columns = (
            slice(core.start - region.start, core.stop - region.start)
            for core, region in zip(self.core, self.region, strict=True)
        )
        return rows, columns


def blocks(size: tuple[int, int], core: int, halo: int) -> list[Block]:
    """Cut an image into blocks, row by row.

    Args:
        size: (height, width) of the image.
        core: pixels of a core's side; the last ones may be shorter.
        halo: pixels that the network sees around a core, where the image has them.
    """
    axes = [
        [(k, slice(start, min(start + core, length))) for k, start in enumerate(range(0, length, core))]
        for length in size
    ]
    found = []
    for (i, rows), (j, columns) in product(*axes):
        region = [
            slice(max(0, piece.start - halo), min(length, piece.stop + halo))
            for piece, length in zip((rows, columns), size, strict=True)
        ]
        found.append(Block((i, j), (rows, columns), (region[0], region[1])))
    return found


def round_up(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Height and width, each the next multiple.

    Example:
        >>> round_up((300, 900), 64)
        (320, 960)
    """
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width
