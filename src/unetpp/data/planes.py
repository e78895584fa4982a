"""Planes of numbers, such as class probabilities, as TIFF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unetpp.data.images import atomic_path


def write_planes(path: Path | str, planes: np.ndarray, names: Sequence[str] = ()) -> None:
    """Write planes, such as class probabilities, as a compressed TIFF.

    Args:
        path: the file; folders above it are made.
        planes: (C, H, W) float16.
        names: of the planes.

    Raises:
        OutputError: if it cannot be written.
    """
    import tifffile

    metadata: dict = {"axes": "CYX"} | ({"Labels": list(names)} if names else {})
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(planes),
            photometric="minisblack",
            compression="zlib",
            predictor=False,
            metadata=metadata,
        )
