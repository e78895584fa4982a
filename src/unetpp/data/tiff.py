"""Pixels of TIFF files, and whether they fit into memory."""

import logging
from pathlib import Path

import numpy as np

from unetpp.errors import ImageError

MOST_CHANNELS = 16
# Decoding, as float32, and the result beside it: bytes of memory a byte of pixels needs.
MEMORY_FACTOR = 4

# What tifffile logs about damaged files is said by the errors here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def read_tiff(path: Path, as_shown: bool) -> np.ndarray:
    """The first image of a TIFF file.

    Args:
        path: the file.
        as_shown: give the colours of a palette, and 0 as black where the file has it as white; else values as stored.

    Returns:
        (H, W, C), C the samples a pixel or the channels (axes S or C).

    Raises:
        ImageError: if it has more planes than channels account for, or too many channels or pixels.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        page = series.keyframe
        check_memory(int(np.prod(series.shape, dtype=object)) * series.dtype.itemsize, path)
        sizes = {axis: side for axis, side in zip(series.axes, series.shape, strict=True) if side > 1}
        channels = [axis for axis in sizes if axis in "CS"]
        planes = int(np.prod([side for axis, side in sizes.items() if axis not in "YX"])) // sizes.get(
            (channels or [""])[0], 1
        )
        if planes > 1:
            raise stack_error(planes, path)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and as_shown:
            # A TIFF's palette has 16 bits a colour.
            return (page.asrgb() >> 8).astype(np.uint8)
        pixels = series.asarray()
    if channels:
        pixels = np.moveaxis(pixels, series.axes.index(channels[0]), -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
    if pixels.shape[-1] > MOST_CHANNELS:
        what = f"the image has {pixels.shape[-1]} channels"
        raise ImageError(what, where=path, mend=f"keep at most {MOST_CHANNELS}")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and as_shown:
        pixels = np.invert(pixels)
    return pixels[..., : samples_shown(page, path)]


def samples_shown(page, path: Path) -> int | None:
    """How many of a pixel's samples count: not its opacity. None for all.

    Raises:
        ImageError: if they are inks.
    """
    import tifffile

    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise ImageError("the image's colours are inks (CMYK)", where=path, mend="export it as RGB")
    if page.photometric == tifffile.PHOTOMETRIC.RGB:
        return 3 if page.samplesperpixel == 4 else None
    opacity = sum(sample in (1, 2) for sample in page.extrasamples)
    return page.samplesperpixel - opacity if opacity else None


def check_memory(size: int, path: Path) -> None:
    """Raise `ImageError` if pixels of `size` bytes do not fit into the free memory with room to work."""
    import psutil

    free = psutil.virtual_memory().available
    if size * MEMORY_FACTOR > free:
        raise ImageError(
            f"the image needs {size * MEMORY_FACTOR / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            where=path,
            mend="crop or downscale it, or check that the file is what it claims to be",
        )


def stack_error(planes: int, path: Path) -> ImageError:
    """What is said of a file with several planes."""
    return ImageError(
        f"the file is a stack of {planes} planes", where=path, mend="save each plane as an image of its own"
    )
