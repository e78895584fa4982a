"""Images as people can see them."""

import math

import numpy as np

from unetpp.errors import SettingError

DARK = 60  # an 8-bit image whose 99.5th percentile is below this is too dark to see
SEEN, BLOCK = 1 << 16, 1 << 20  # about how many pixels decide the stretch, and are worked on at once


def to_display(image: np.ndarray) -> np.ndarray:
    """Make an image visible; for viewing only, never for measuring.

    Eight-bit images keep their values unless nearly all of them are below 60. These, and images of any
    other type, are stretched: the 0.5th percentile becomes 0 and the 99.5th 255, over all three channels
    together, or channel by channel where the channels are no colours (two, or more than three of them).

    Args:
        image: (H, W) or (H, W, C) of any real dtype and range. One channel gives grey, two give red and
            green, more than three give the first three. Values that are not finite are drawn black.

    Returns:
        (H, W, 3) uint8; possibly the image itself.

    Raises:
        SettingError: the array is no image.

    Example:
        >>> to_display(np.array([[0, 40000]], np.uint16))[0, :, 0].tolist()
        [0, 255]
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] == 0 or image.dtype.kind not in "biuf":
        raise SettingError(f"an array of shape {image.shape} and type {image.dtype} is no image")
    colours = image.shape[2] in (1, 3)
    image = image[..., :3]
    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    lows, highs = display_range(image, together=colours)
    if image.dtype != np.uint8 or (highs.max() < DARK and np.any(highs > lows)):
        image = stretch(image, lows, highs)
    return as_rgb(image)


def display_range(image: np.ndarray, *, together: bool) -> tuple[np.ndarray, np.ndarray]:
    """The 0.5th and 99.5th percentiles of the finite values, of all channels together or of each.

    A regular grid of pixels stands for a large image. Channels without a finite value have 0 and 0.
    """
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // SEEN))
    seen = image[::step, ::step].astype(np.float64)
    groups = [group[np.isfinite(group)] for group in ([seen] if together else np.moveaxis(seen, 2, 0))]
    limits = [np.percentile(group, (0.5, 99.5)) if group.size else np.zeros(2) for group in groups]
    lows, highs = np.transpose(limits)
    return lows, highs


def stretch(image: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """Map lows to 0 and highs to 255, in blocks of rows; a channel of one value becomes 0."""
    result = np.empty(image.shape, np.uint8)
    scale = 255 / np.where(highs > lows, highs - lows, np.inf)
    for rows in row_blocks(image.shape):
        with np.errstate(invalid="ignore"):
            values = (image[rows] - lows) * scale
        values = np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        result[rows] = np.clip(values + 0.5, 0, 255)
    return result


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 3) to (H, W, 3)."""
    channels = image.shape[2]
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    if channels == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=2)
    return image


def row_blocks(shape: tuple[int, ...]) -> list[slice]:
    """Rows of an image in blocks of about a million pixels."""
    height = max(1, BLOCK // max(1, shape[1]))
    return [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
