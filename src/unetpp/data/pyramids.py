"""Label images of any size to OME-TIFF and OME-Zarr, in bounded memory."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.data.images import atomic_path
from unetpp.data.spacing import Spacing, to_ome

TILE = 512
# A pyramid's last level is at most so wide and high.
SMALLEST = 1024
# Letters of axes that OME-TIFF has a meaning for.
OME_AXES = "TZYXAPRHEQ"
# What the axes of an OME-Zarr are; others have a type of our own.
KINDS = {"t": "time", "z": "space", "y": "space", "x": "space"}


def add_levels(store: Path, chunk: int = TILE) -> list:
    """Add levels of half the size to a Zarr group whose array "0" is a label image (..., H, W).

    Every second pixel is kept: labels are never blended.

    Returns:
        the arrays of all levels, the largest first.
    """
    import zarr

    group = zarr.open_group(store, mode="r+")
    levels: list[Any] = [group["0"]]
    while max(levels[-1].shape[-2:]) > SMALLEST:
        last: Any = levels[-1]
        *planes, height, width = (int(side) for side in last.shape)
        half: Any = group.create_array(
            str(len(levels)),
            shape=(*planes, -(-height // 2), -(-width // 2)),
            chunks=(*(1 for _ in planes), chunk, chunk),
            dtype=last.dtype,
            dimension_names=last.metadata.dimension_names,
            overwrite=True,
        )
        for plane in product(*(range(n) for n in planes)):
            for top in range(0, half.shape[-2], chunk):
                rows = slice(2 * top, min(2 * (top + chunk), height))
                half[(*plane, slice(top, top + chunk), slice(None))] = last[(*plane, rows, slice(None))][
                    ::2, ::2
                ]
        levels.append(half)
    return levels


def write_ome_tiff(
    path: Path, levels: Sequence, axes: str, spacing: Spacing | None = None, *, software: str = "unetpp"
) -> None:
    """Write a pyramid as a tiled, compressed OME-TIFF, whole or not at all.

    Args:
        path: the file.
        levels: arrays (..., H, W) that are read band by band, the largest first.
        axes: a letter for each axis, such as "ZYX"; see `to_ome_axes`.
        spacing: of the largest level, where it is known.
        software: what the file says that it was made with.

    Raises:
        OutputError: if it cannot be written.
    """
    import tifffile

    options: dict[str, Any] = {
        "tile": (TILE, TILE),
        "compression": "zlib",
        "photometric": "minisblack",
        "dtype": levels[0].dtype,
    }
    metadata = {"axes": to_ome_axes(axes), **to_ome(spacing or {})}
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as file:
        for k, level in enumerate(levels):
            more: dict[str, Any] = (
                {"subifds": len(levels) - 1, "metadata": metadata, "software": software}
                if k == 0
                else {"subfiletype": 1}
            )
            file.write(_tiles(level), shape=level.shape, **options, **more)


def to_ome_axes(axes: str) -> str:
    """Axes of planes as an OME-TIFF can name them: those it has no letter for, such as the I of plain pages, get one.

    >>> to_ome_axes("IYX"), to_ome_axes("TZYX"), to_ome_axes("QzYX")
    ('ZYX', 'TZYX', 'QZYX')
    """
    axes = axes.upper()
    free = spare(axes)
    return "".join(axis if axis in OME_AXES else next(free) for axis in axes)


def spare(axes: str) -> Iterator[str]:
    """Letters that are not taken, for axes that make planes."""
    return (letter for letter in "ZTQPRHEA" if letter not in axes)


def zarr_axes(axes: str) -> list[str]:
    """The names of axes in an OME-Zarr.

    >>> zarr_axes("TIYX")
    ['t', 'z', 'y', 'x']
    """
    return list(to_ome_axes(axes).lower())


def write_ome_zarr_metadata(
    store: Path,
    name: str,
    levels: Sequence,
    axes: str,
    labels: Sequence[tuple[str, Sequence[int]]],
    spacing: Spacing | None = None,
):
    """Say what a Zarr group of label levels is, as OME-Zarr 0.5.

    Args:
        store: the group.
        name: of the image.
        levels: its arrays, the largest first.
        axes: a letter for each axis.
        labels: name and colour (red, green, blue) of each label from 0 on.
        spacing: of the largest level, where it is known.
    """
    import zarr

    steps = [(spacing or {}).get(axis, (1.0, "")) for axis in to_ome_axes(axes)]
    named = [
        {"name": name, "type": KINDS.get(name, "other"), **({"unit": unit} if unit else {})}
        for name, (_, unit) in zip(zarr_axes(axes), steps, strict=True)
    ]
    # A level has every second pixel of the one before, also where that is of an odd size.
    shrunk = [[1.0] * (len(axes) - 2) + [2.0**k, 2.0**k] for k in range(len(levels))]
    scales = [[step * by for (step, _), by in zip(steps, level, strict=True)] for level in shrunk]
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for k, scale in enumerate(scales)
    ]
    colors = [{"label-value": k, "rgba": [*colour, 255 if k else 0]} for k, (_, colour) in enumerate(labels)]
    properties = [{"label-value": k, "class": name} for k, (name, _) in enumerate(labels)]
    attributes = {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": named, "datasets": datasets}],
        "image-label": {"colors": colors, "properties": properties},
    }
    zarr.open_group(store, mode="r+").attrs.update({"ome": json.loads(json.dumps(attributes))})


def _tiles(level) -> Iterator[np.ndarray]:
    """The tiles of a level, plane by plane and row by row, padded to full tiles."""
    *planes, height, width = level.shape
    for plane in product(*(range(n) for n in planes)):
        for top in range(0, height, TILE):
            band = level[(*plane, slice(top, min(top + TILE, height)), slice(None))]
            band = np.pad(band, ((0, TILE - band.shape[0]), (0, -width % TILE)))
            for left in range(0, width, TILE):
                yield np.ascontiguousarray(band[:, left : left + TILE])
