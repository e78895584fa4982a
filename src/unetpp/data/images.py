"""Read and write pixels: PNG, JPEG, BMP, WebP and TIFF."""

import os
import secrets
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from unetpp.data.deep_png import grey_step, is_deep, read_deep
from unetpp.data.files import sync
from unetpp.data.tiff import check_memory, only_plane, read_tiff, stack_error
from unetpp.errors import ImageError, OutputError, UnetppError

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
IMAGE_SUFFIXES = TIFF_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
# Pixels of a JPEG's side at most.
JPEG_SIDE = 65_500


def read_image(path: Path | str) -> np.ndarray:
    """Read an image.

    EXIF orientation is applied, palettes become RGB, and an alpha channel of PNG and the like is dropped. A TIFF
    keeps up to 16 channels, stored pixel by pixel or plane by plane, and is refused if it is to be turned.

    Args:
        path: PNG, JPEG, BMP, WebP or TIFF, by its suffix.

    Returns:
        (H, W, C), uint8, uint16 or float32.

    Raises:
        ImageError: if it is missing, empty, damaged, too large for the memory, a stack of planes, or has
            NaN or infinite pixels.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_png(Path(folder) / "grey.png", np.zeros((4, 6), np.uint8))
        ...     read_image(Path(folder) / "grey.png").shape
        (4, 6, 1)
    """
    path = Path(path)
    pixels = to_pixel_type(read_raw(path, as_shown=True), path)
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise ImageError(f"{count} values are NaN or infinite", where=path, mend="replace them by numbers")
    return pixels


def read_raw(path: Path, *, as_shown: bool) -> np.ndarray:
    """Read pixels as they are stored: (H, W, C) of any dtype.

    Args:
        path: the file.
        as_shown: give the colours of a palette, and 0 as black where the file has it as white; else values as stored.

    Raises:
        ImageError: if they cannot be read.
    """
    path = Path(path)
    check_file(path)
    reader = read_tiff if path.suffix.lower() in TIFF_SUFFIXES else _read_picture
    with decoding(path):
        pixels = reader(path, as_shown)
    if 0 in pixels.shape:
        raise ImageError("the image has no pixels", where=path, mend="export it again")
    return pixels


def check_file(path: Path) -> None:
    """Raise `ImageError` unless `path` is a file with something in it and a known suffix."""
    if path.is_dir():
        raise ImageError("this is a folder, not an image", where=path, mend="give a file")
    if not path.exists():
        raise ImageError("there is no such file", where=path, mend="check the path")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ImageError(
            f"{path.suffix or 'no suffix'} is no image format known here", where=path, mend=f"use {known}"
        )
    if path.stat().st_size == 0:
        raise ImageError("the file is empty", where=path, mend="export or copy it again")


def image_size(path: Path | str) -> tuple[int, int]:
    """The (height, width) of an image without decoding its pixels.

    Raises:
        ImageError: if the file's header cannot be read, or it is a stack.
    """
    from PIL import ExifTags

    path = Path(path)
    check_file(path)
    with decoding(path):
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            with tifffile.TiffFile(path) as file:
                series, _ = only_plane(file, path)
                return series.keyframe.imagelength, series.keyframe.imagewidth
        with open_picture(path) as picture:
            width, height = picture.size
            # Pillow decodes a whole PNG to find its orientation.
            check_memory(height * width * len(picture.getbands()), path)
            check_frames(picture, path)
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return (width, height) if turned else (height, width)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Keep decoders' warnings quiet, and say which file it was that failed.

    Raises:
        ImageError: for all that they raise.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnetppError:
        raise
    except MemoryError:
        raise ImageError(
            "the image does not fit into memory", where=path, mend="crop or downscale it"
        ) from None
    # Decoders meet damaged files in many ways: struct.error, ValueError, IndexError, their own errors.
    except Exception as error:
        raise ImageError(
            f"the image is damaged or of another format ({first_line(error)})",
            where=path,
            mend="export it again",
        ) from error


def as_float(image: np.ndarray) -> np.ndarray:
    """Pixels as float32: 8 and 16 bit scaled to 0..1, floats as they are.

    Example:
        >>> as_float(np.array([0, 51, 255], np.uint8)).tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    # Of either byte order.
    scale = {"u1": 255, "u2": 65535}.get(image.dtype.str[1:], 1)
    return image.astype(np.float32) / np.float32(scale)


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Bring an image to a number of channels: grey is repeated, colour without colour becomes grey.

    Args:
        image: (H, W, C).
        channels: how many there shall be.

    Raises:
        ImageError: if that would take a guess.
    """
    have = image.shape[-1]
    if have == channels:
        return image
    if have == 1:
        return np.repeat(image, channels, axis=-1)
    if channels == 1 and have == 3 and (image == image[..., :1]).all():
        return image[..., :1]
    raise ImageError(
        f"the image has {have} channels, the model wants {channels}",
        mend=f"export it with {channels} channels",
    )


def to_pixel_type(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Bring stored pixels to uint8, uint16 or float32."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    native = pixels.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16, np.float32):
        return np.ascontiguousarray(pixels, native)
    if pixels.dtype.kind in "iuf":
        return pixels.astype(np.float32)
    raise ImageError(
        f"pixels of type {pixels.dtype} cannot be used", where=path, mend="export it as 8 or 16 bit"
    )


@contextmanager
def atomic_path(path: Path | str, *, durable: bool = False) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end, removed if anything fails.

    Makes the folders above it. With `durable`, the file is on the disk before it gets its name.

    Raises:
        OutputError: if it cannot be written, such as on a full disk.
    """
    path = Path(path)
    # Not all of a name that is as long as names may be; what it ends with tells writers the format.
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name[-20:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)  # noqa: PTH105 (Path.replace follows no other rule; this names both)
    except UnetppError:
        raise
    except OSError as error:
        raise OutputError(
            f"the file cannot be written ({error.strerror or error})",
            where=path,
            mend="make room, or choose another place",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_png(
    path: Path | str,
    pixels: np.ndarray,
    palette: Sequence[tuple[int, int, int]] | None = None,
    source: str = "",
) -> None:
    """Write a PNG, whole or not at all.

    Args:
        path: the file; folders above it are made.
        pixels: (H, W) or (H, W, 3) uint8.
        palette: the colour of each index of an (H, W) image.
        source: what it was made from, kept in the file as its text "Source".

    Raises:
        OutputError: if it cannot be written.
    """
    from PIL import Image, PngImagePlugin

    picture, notes = Image.fromarray(np.ascontiguousarray(pixels)), PngImagePlugin.PngInfo()
    if source:
        notes.add_text("Source", source)
    if palette is not None:
        picture.putpalette([value for colour in palette for value in colour])
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=notes)


def write_jpeg(path: Path | str, pixels: np.ndarray) -> None:
    """Write a picture to look at as a JPEG, whole or not at all: many times faster and smaller than a PNG.

    Args:
        path: the file; folders above it are made.
        pixels: (H, W, 3) uint8; scaled down if a side is longer than a JPEG's can be.

    Raises:
        OutputError: if it cannot be written.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    step = -(-max(pixels.shape[:2]) // JPEG_SIDE)
    picture = picture.reduce(step) if step > 1 else picture
    # Colours at full resolution: contours are one pixel wide.
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=95, subsampling=0)


def _read_picture(path: Path, as_shown: bool) -> np.ndarray:
    from PIL import ImageOps

    with open_picture(path) as picture:
        width, height = picture.size
        deep = is_deep(path)
        size = 2 if deep or picture.mode.startswith("I;16") else 1
        check_memory(height * width * len(picture.getbands()) * size, path)
        check_frames(picture, path)
        if deep:
            return read_deep(path, picture.info.get("exif"))
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.mode == "P" and as_shown:
            picture = picture.convert("RGB")
        if picture.mode == "1" and not as_shown:
            return np.asarray(picture)[..., None]
        modes = dict.fromkeys(("RGBA", "RGBa", "CMYK", "YCbCr", "PA"), "RGB")
        modes |= dict.fromkeys(("1", "LA", "La"), "L")
        if picture.mode in modes:
            picture = picture.convert(modes[picture.mode])
        pixels = np.asarray(picture)
        if not as_shown:
            pixels = pixels // grey_step(path)
    # Pillow gives 16-bit greys as int32 in some versions.
    if pixels.dtype == np.int32 and pixels.min(initial=0) >= 0 and pixels.max(initial=0) < 2**16:
        pixels = pixels.astype(np.uint16)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def check_frames(picture, path: Path) -> None:
    """Raise `ImageError` if a Pillow image is one of several, as in a film."""
    # What else an MPO holds is a preview, or the view of another eye.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise stack_error(picture.n_frames, path)


def open_picture(path: Path):
    """A Pillow image whose size is not limited by Pillow: `check_memory` is the limit here."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    formats = {".jpg": "JPEG", ".jpeg": "JPEG"}
    suffix = path.suffix.lower()
    return Image.open(
        path, formats=[formats.get(suffix, suffix.removeprefix(".").upper()), "PNG", "JPEG", "BMP", "WEBP"]
    )


def first_line(error: Exception) -> str:
    """What an error says, in short; its kind, if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
