"""Pixels of TIFF files, and whether they fit into memory."""

import logging
from pathlib import Path

import numpy as np

from unetpp.errors import ImageError

MOST_CHANNELS = 16
# Decoding, as float32, and the result beside it: bytes of memory a byte of pixels needs.
MEMORY_FACTOR = 4
# The code of the tag ImageDescription.
DESCRIPTION = 270

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
        series, channels = only_plane(file, path)
        page = series.keyframe
        check_memory(int(np.prod(series.shape, dtype=object)) * series.dtype.itemsize, path)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and as_shown:
            # A TIFF's palette has 16 bits a colour.
            return (page.asrgb() >> 8).astype(np.uint8)
        pixels = series.asarray()
    if channels:
        pixels = np.moveaxis(pixels, series.axes.index(channels), -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
    if pixels.shape[-1] > MOST_CHANNELS:
        what = f"the image has {pixels.shape[-1]} channels"
        raise ImageError(what, where=path, mend=f"keep at most {MOST_CHANNELS}")
    if as_shown:
        pixels = greys_shown(pixels, *scale_of_greys(page, path))
    return pixels[..., : samples_shown(page, path)]


def only_plane(file, path: Path):
    """The image that a TIFF file holds, and the axis of its channels: C, S or "".

    Raises:
        ImageError: if it is a stack, or as `only_series` does.
    """
    series = only_series(file, path)
    sizes = [(axis, side) for axis, side in zip(series.axes, series.shape, strict=True) if side > 1]
    channels = next((axis for axis, _ in sizes if axis in "CS"), "")
    planes = int(np.prod([side for axis, side in sizes if axis not in ("Y", "X", channels)]))
    if planes > 1:
        raise stack_error(planes, path)
    return series, channels


def only_series(file, path: Path):
    """The image that a TIFF file holds, as tifffile's series, beside thumbnails and the like.

    Raises:
        ImageError: if it is cut off or lacks planes, holds several of one size, another file of its set holds its
            beginning, or it is to be turned.
    """
    check_end(file, path)
    # An OME-TIFF that is one of several files describes the images of all, and reads on in the others.
    begins = [next(page.parent for page in series.pages if page is not None) for series in file.series]
    own = [series for series, first in zip(file.series, begins, strict=True) if first is file]
    if not own:
        what = f"the file is a part of what begins in {begins[0].filename}"
        raise ImageError(what, where=path, mend="give that file, or save each plane as an image of its own")
    count = sum(series.shape == own[0].shape for series in own)
    if count > 1:
        what = f"the file holds {count} images"
        raise ImageError(what, where=path, mend="save each as a file of its own")
    # tifffile gives zeros in the place of planes of which an OME-TIFF only tells.
    missing = sum(page is None for page in own[0].pages) if own[0].kind == "ome" else 0
    if missing:
        what = f"{missing} of the {len(own[0].pages)} planes of which it tells are missing"
        raise ImageError(
            what, where=path, mend="put the files of its set into one folder, or export it again"
        )
    turn = own[0].keyframe.tags.valueof("Orientation", 1)
    # ImageJ, QuPath and tifffile show it as it is stored, viewers of pictures turned: its mask may lie either way.
    if turn in range(2, 9):
        what = f"it says that it is to be turned (orientation {turn:d}), which only some programs do"
        raise ImageError(what, where=path, mend="save it without orientation, as its mask lies")
    return own[0]


def check_end(file, path: Path) -> None:
    """Raise `ImageError` if a TIFF file is cut off; tifffile gives what it has."""
    tiff, page, read = file.tiff, file.pages[0], file.filehandle.read
    file.filehandle.seek(file.pages.next_page_offset)
    # The last page says that none follows.
    ends = read(tiff.offsetsize) == bytes(tiff.offsetsize)
    # What the first page says of all, such as OME-XML, may lie behind them.
    file.filehandle.seek(page.offset)
    count = int.from_bytes(read(tiff.tagnosize), "little" if tiff.byteorder == "<" else "big")
    tags = np.frombuffer(read(count * tiff.tagsize), f"{tiff.byteorder}u2")[:: tiff.tagsize // 2]
    ends &= DESCRIPTION in page.tags or DESCRIPTION not in tags
    if file.is_imagej and file.series[0].kind == "generic":
        # Of more than 4 GB, ImageJ describes only the first page. A single plane may have kept a stack's description.
        ends &= file.imagej_metadata.get("images", 1) * page.nbytes < 2**32
    if not ends:
        raise ImageError("the file is cut off", where=path, mend="export or copy it again")


def scale_of_greys(page, path: Path) -> tuple[int, bool]:
    """How many values a sample of a page has, and whether 0 is white.

    Raises:
        ImageError: for real numbers of which 0 is white.
    """
    import tifffile

    inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if inverted and page.dtype.kind == "f":
        raise ImageError("0 is white in it, of real numbers", where=path, mend="save it with 0 as black")
    return 2**page.bitspersample, inverted


def greys_shown(pixels: np.ndarray, values: int, inverted: bool) -> np.ndarray:
    """Greys as they are seen: 0 is black, and what has fewer than 8 bits is spread over 8.

    Example:
        >>> greys_shown(np.array([0, 1, 15], np.uint8), 16, inverted=True).tolist()
        [255, 238, 0]
    """
    if pixels.dtype == np.bool_:
        return pixels ^ inverted
    spread = pixels * pixels.dtype.type(max(1, 255 // (values - 1))) if values < 256 else pixels
    return np.invert(spread) if inverted else spread


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


def is_jpeg_in_tiff(path: Path) -> bool:
    """Whether a TIFF file's first page is compressed as JPEG; no, if it cannot be read."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return file.pages[0].compression in (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG)
    except Exception:
        return False


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
