"""Images read region by region and plane by plane: TIFF, OME-TIFF and OME-Zarr of any size.

The pixels stay on disk. What a region holds is what `read_image` would give there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import tifffile

from unetpp.data.images import TIFF_SUFFIXES, check_file, decoding, first_line, read_image, to_pixel_type
from unetpp.data.pyramids import spare
from unetpp.data.spacing import Spacing, side_of, spacing_of_tiff, spacing_of_zarr
from unetpp.data.tiff import MOST_CHANNELS, greys_shown, only_series, samples_shown, scale_of_greys
from unetpp.errors import ImageError, InstallError, UnetppError

# Axes that hold what a pixel is made of; all others but Y and X make planes.
CHANNEL_AXES = "CS"
# Images of more pixels are read and written by region.
LARGE = 40_000_000
# One image at a time is decoded as a whole.
DECODING = Lock()


@dataclass(frozen=True)
class Regions:
    """An image that is read piece by piece.

    Attributes:
        path: where it lies.
        pixels: an array that is read by slices: in memory, on disk, or of Zarr.
        axes: a letter for each of its axes, such as "ZCYX" or "YXS"; see `distinct` for small ones.
        greys: how many values a sample has, if it is not for its dtype to say, and whether 0 is white.
        samples: how many of the channels count; others are opacity.
        spacing: the way from one index to the next along each axis, where it is known.
    """

    path: Path
    pixels: Any
    axes: str
    greys: tuple[int, bool] = (256, False)
    samples: int | None = None
    spacing: Spacing = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a plane."""
        return self.pixels.shape[self.axes.index("Y")], self.pixels.shape[self.axes.index("X")]

    @property
    def plane_axes(self) -> str:
        """The axes that make planes, time first and z last, such as "TZ"; those of length 1 do not count."""
        found = [a for a, n in zip(self.axes, self.pixels.shape, strict=True) if a not in "YXCS" and n > 1]
        return "".join(sorted(found, key=lambda axis: {"T": 0, "Z": 2}.get(axis.upper(), 1)))

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """The lengths of `plane_axes`: () for one plane."""
        return tuple(self.pixels.shape[self.axes.index(axis)] for axis in self.plane_axes)

    def read(self, plane: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
        """A region of a plane: (h, w, C) uint8, uint16 or float32.

        Raises:
            ImageError: if it cannot be decoded, or has NaN or infinite pixels.
        """
        found = to_pixel_type(self.read_raw(plane, rows, columns), self.path)
        if found.dtype == np.float32 and not np.isfinite(found).all():
            count = int((~np.isfinite(found)).sum())
            raise ImageError(
                f"{count} values are NaN or infinite", where=self.path, mend="replace them by numbers"
            )
        return found

    def read_raw(self, plane: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
        """A region of a plane as it is stored: (h, w, C) of any dtype.

        Raises:
            ImageError: if it cannot be decoded.
        """
        where = dict(zip(self.plane_axes, plane, strict=True)) | {"Y": rows, "X": columns}
        channels = [axis for axis in self.axes if axis in CHANNEL_AXES]
        try:
            found = np.asarray(
                self.pixels[
                    tuple(where.get(axis, slice(None) if axis in channels else 0) for axis in self.axes)
                ]
            )
            found = greys_shown(found, *self.greys)
        except UnetppError:
            raise
        # Decoders meet damaged files in many ways.
        except Exception as error:
            what = f"the image is damaged ({first_line(error)})"
            raise ImageError(what, where=self.path, mend="export it again") from error
        left = [axis for axis in self.axes if axis in "YXCS"]
        found = found.transpose([left.index(axis) for axis in ("Y", "X", *channels)])
        return found.reshape(*found.shape[:2], -1)[..., : self.samples]


@dataclass(frozen=True)
class Mapped:
    """Pixels that lie in a file as they would in memory, and are mapped anew for each slice.

    A mapping that stays open would count as memory in use.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, where) -> np.ndarray:
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[where])


class Decoded:
    """Pixels of a TIFF that Zarr decodes piece by piece; it is needed only when one is asked for."""

    def __init__(self, series: tifffile.TiffPageSeries):
        self.series, self.shape, self.dtype = series, series.shape, series.dtype

    def __getitem__(self, where) -> np.ndarray:
        return self.array[where]

    @cached_property
    def array(self):
        """Of Zarr."""
        return import_zarr().open_array(self.series.aszarr(level=0), mode="r")


@contextmanager
def open_regions(path: Path, *, indices: bool = False) -> Iterator[Regions]:
    """Open an image for reading by region.

    Args:
        path: a TIFF or OME-TIFF file (tiled, stripped, pyramidal, BigTIFF), an OME-Zarr folder, or any
            other image, which is then read whole.
        indices: give values as stored, of a palette too; else a palette is refused, and 0 is black.

    Raises:
        ImageError: if it cannot be read.
        InstallError: if Zarr is not installed.
    """
    path = Path(path)
    with ExitStack() as stack:
        with decoding(path):
            if is_zarr(path):
                regions = _open_zarr(path)
            elif path.suffix.lower() in TIFF_SUFFIXES:
                check_file(path)
                regions = _open_tiff(path, stack.enter_context(tifffile.TiffFile(path)), indices)
            else:
                # One at a time: whoever waits finds it read.
                with DECODING:
                    regions = Regions(path, _whole(path, path.stat().st_mtime_ns), "YXC")
        lengths = dict(zip(regions.axes, regions.pixels.shape, strict=True))
        channels = lengths.get("C", 1) * lengths.get("S", 1)
        if channels > MOST_CHANNELS:
            what = f"the image has {channels} channels"
            raise ImageError(what, where=path, mend=f"keep at most {MOST_CHANNELS}")
        yield regions


class Kept(local):
    """The image that a thread has open."""

    def __init__(self):
        self.key: tuple | None = None
        self.opened = ExitStack()
        self.regions: Any = None


KEPT = Kept()


def kept_open(path: Path) -> Regions:
    """An image as `open_regions` gives it, which stays open until this thread wants another or ends.

    To find what a file holds takes a time that grows with its planes, and with their square if done for each.

    Raises:
        ImageError: if it cannot be read.
        InstallError: if Zarr is not installed.
    """
    key = (path, path.stat().st_mtime_ns if path.exists() else None)
    if KEPT.key != key:
        KEPT.key = None
        KEPT.opened.close()
        KEPT.regions = KEPT.opened.enter_context(open_regions(path))
        KEPT.key = key
    return KEPT.regions


@lru_cache(maxsize=1)
def _whole(path: Path, changed: int) -> np.ndarray:
    """An image that can only be read as a whole, kept for the next region."""
    return read_image(path)


def is_zarr(path: Path) -> bool:
    """Whether a path is a Zarr folder."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def spacing_of(path: Path) -> Spacing:
    """What an OME-TIFF, OME-Zarr or ImageJ's TIFF says of its spacing; {} of all others, and of what cannot be read."""
    if path.suffix.lower() in TIFF_SUFFIXES or is_zarr(path):
        with suppress(ImageError), open_regions(path, indices=True) as regions:
            return regions.spacing
    return {}


def pixel_size_of(path: Path) -> float | None:
    """Micrometres of a pixel's side, where an OME-TIFF, OME-Zarr or ImageJ's TIFF says them."""
    return side_of(spacing_of(path))


def _open_tiff(path: Path, file: tifffile.TiffFile, indices: bool) -> Regions:
    series = only_series(file, path)
    page = series.keyframe
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not indices:
        what = "a large image or a stack cannot have a palette"
        raise ImageError(what, where=path, mend="export it as RGB or grey")
    samples = samples_shown(page, path)
    greys = Regions.greys if indices else scale_of_greys(page, path)
    if page.is_memmappable and series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(file.byteorder)
        pixels: Any = Mapped(path, series.dataoffset, series.shape, dtype)
    else:
        pixels = Decoded(series)
    return Regions(path, pixels, distinct(series.axes), greys, samples, spacing_of_tiff(file, series))


def distinct(axes: str) -> str:
    """A letter of its own for each axis: axes that nobody named share the Q in a TIFF.

    A letter that is not its own is small, for the axis does not mean what the letter says.

    >>> distinct("QQYX")
    'QzYX'
    """
    free = map(str.lower, spare(axes))
    return "".join(next(free) if axis in axes[:k] else axis for k, axis in enumerate(axes))


def _open_zarr(path: Path) -> Regions:
    node = import_zarr().open(path, mode="r")
    if hasattr(node, "shape"):
        return Regions(path, node, _guess_axes(node.shape, path))
    attributes = dict(node.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales and (image := next(_images_in(node), None)):
        what = "this Zarr folder holds several images"
        raise ImageError(what, where=path, mend=f"give one of them, such as {path / image}")
    if not scales:
        what = "this Zarr folder says nothing of an image (no multiscales)"
        raise ImageError(what, where=path, mend="give an OME-Zarr image")
    pixels = node[scales[0]["datasets"][0]["path"]]
    given = scales[0].get("axes", "TCZYX"[-pixels.ndim :])
    axes = "".join(map(_letter, given))
    if len(axes) != pixels.ndim or axes.count("Y") != 1 or axes.count("X") != 1:
        what = f"its {pixels.ndim} axes are named {', '.join(map(_name, given))}, not with one y and one x"
        raise ImageError(what, where=path, mend="save it as OME-Zarr")
    letters = distinct(axes)
    return Regions(path, pixels, letters, spacing=spacing_of_zarr(scales[0], letters))


def _images_in(group) -> Iterator[str]:
    """The paths of the images in an OME-Zarr's collection, plate or well."""
    said = group.attrs.get("ome", group.attrs)
    if "bioformats2raw.layout" in said:
        yield from (name for name in sorted(group.group_keys()) if name != "OME")
    yield from (image["path"] for image in said.get("well", {}).get("images", []) if image["path"] in group)
    for well in said.get("plate", {}).get("wells", []):
        if (path := well["path"]) in group:
            yield from (f"{path}/{image}" for image in _images_in(group[path]))


def _name(axis: dict | str) -> str:
    return str(axis["name"] if isinstance(axis, dict) else axis)


def _letter(axis: dict | str) -> str:
    """The letter of an OME-Zarr's axis: by its type, or the first of its name."""
    kind = axis.get("type", "") if isinstance(axis, dict) else ""
    return {"channel": "C", "time": "T"}.get(kind, _name(axis)[:1].upper())


def _guess_axes(shape, path) -> str:
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[2] <= 4:
        return "YXC"
    raise ImageError("this Zarr array has no named axes", where=path, mend="give an OME-Zarr image")


def import_zarr():
    """Zarr, if it is installed."""
    try:
        import zarr
    except ImportError as error:
        mend = 'in the clone, run: pip install ".[formats]"'
        raise InstallError("Zarr is not installed; it reads images by region", mend=mend) from error
    return zarr
