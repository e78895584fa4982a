"""Labels drawn on the image, for people to look at."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unetpp.errors import SettingError

# Black for the background, then colours chosen one by one to differ most from black and from all before
# them, in CIELAB and for eyes without the red or the green cones.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0), (230, 57, 70), (255, 214, 10), (86, 180, 233), (0, 158, 115), (204, 121, 167), (109, 0, 255),
    (182, 255, 146), (36, 109, 219), (255, 219, 219), (255, 73, 0), (109, 73, 146), (36, 219, 146),
    (73, 109, 109), (255, 182, 73), (219, 219, 255), (36, 73, 219), (182, 36, 0), (146, 146, 255),
    (255, 109, 73), (182, 0, 73), (146, 36, 182), (182, 255, 182), (182, 182, 182), (0, 219, 109),
    (182, 109, 182), (146, 255, 109), (109, 182, 109), (255, 109, 219), (73, 109, 36), (36, 109, 255),
    (255, 146, 0),
)  # fmt: skip

DARK = 60  # an 8-bit image whose 99.5th percentile is below this is too dark to see
FILL, SOLID = 90, 256  # opacity of a region's inside and of its contour, in 256ths
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


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[tuple[int, int, int]] = PALETTE
) -> np.ndarray:
    """Draw labels on an image: a translucent fill and an opaque contour, one pixel wide, in each colour.

    The contour lies within its region, so the thinnest line is drawn in full.

    Args:
        image: (H, W) or (H, W, C), any dtype; drawn as `to_display` shows it.
        labels: (H, W) integers, 0 = background, which is left as it is.
        palette: a colour a label; labels beyond its end start again at the second colour.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        SettingError: image and labels differ in size, labels are no integers or negative, or the
            palette is shorter than two colours.

    Example:
        >>> draw_overlay(np.full((1, 3), 99, np.uint8), np.array([[0, 1, 0]])).tolist()
        [[[99, 99, 99], [230, 57, 70], [99, 99, 99]]]
    """
    labels = np.asarray(labels)
    result = np.array(to_display(image))
    if labels.shape != result.shape[:2]:
        raise SettingError(f"labels of shape {labels.shape} do not fit an image of shape {result.shape}")
    if labels.dtype.kind not in "biu" or (labels.size and labels.min() < 0):
        raise SettingError("labels must be integers from 0 on")
    if len(palette) < 2:
        raise SettingError("a palette needs a colour besides the background's")
    colours = np.asarray(palette, np.uint16)
    for rows in row_blocks(labels.shape):
        above, below = max(rows.start - 1, 0), min(rows.stop + 1, labels.shape[0])
        edges = contours(labels[above:below])[rows.start - above : rows.stop - above]
        paint(result[rows], labels[rows], edges, colours)
    return result


def contours(labels: np.ndarray) -> np.ndarray:
    """True where one of the four neighbours has another label; the picture's border is no contour.

    >>> contours(np.array([[1, 1, 1, 0]])).tolist()
    [[False, False, True, True]]
    """
    edges = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def paint(image: np.ndarray, labels: np.ndarray, edges: np.ndarray, colours: np.ndarray) -> None:
    """Blend the labels' colours into a block of the image, in place; label 0 leaves it as it is."""
    shown = labels > 0
    index = (labels[shown].astype(np.int64) - 1) % (len(colours) - 1) + 1
    opacity = np.where(edges[shown], SOLID, FILL).astype(np.uint16)[:, None]
    image[shown] = (image[shown] * (SOLID - opacity) + colours[index] * opacity) // SOLID


def panel(columns: Sequence[tuple[str, np.ndarray]], *, classes: Sequence[str] = ()) -> np.ndarray:
    """Images side by side under their titles, above a legend of the classes' colours.

    Args:
        columns: (title, (H, W, 3) uint8) from left to right; sizes may differ.
        classes: names by index, shown beside their `PALETTE` colours; the background (index 0) is not.

    Returns:
        (height, width, 3) uint8, dark grey around the images.

    Raises:
        SettingError: there is no column, or one is not (H, W, 3) uint8.

    Example:
        >>> panel([("image", np.zeros((64, 64, 3), np.uint8))] * 2, classes=("background", "cell")).ndim
        3
    """
    check_columns(columns)
    size = int(np.clip(max(image.shape[1] for _, image in columns) / 20, 12, 40))
    font, gap = ImageFont.load_default(size), size // 2
    widths = [max(image.shape[1], int(font.getlength(title)) + 1) for title, image in columns]
    names = [int(font.getlength(name)) + 1 for name in classes[1:]]
    width = max([sum(widths) + gap * (len(columns) + 1), *(name + 2 * size + 2 * gap for name in names)])
    top = size + 2 * gap
    bottom = top + max(image.shape[0] for _, image in columns) + gap
    places = place_legend(names, size, width)
    sheet = Image.new("RGB", (width, bottom + (places[-1][1] + size + gap if places else 0)), (32, 32, 32))
    pen, left = ImageDraw.Draw(sheet), gap
    for (title, image), column in zip(columns, widths, strict=True):
        pen.text((left, gap // 2), title, "white", font)
        sheet.paste(Image.fromarray(image), (left, top))
        left += column + gap
    for index, (x, y) in enumerate(places, 1):
        square = (x, y + bottom, x + size - 1, y + bottom + size - 1)
        pen.rectangle(square, fill=PALETTE[(index - 1) % (len(PALETTE) - 1) + 1])
        pen.text((x + int(1.5 * size), y + bottom - size // 6), classes[index], "white", font)
    return np.asarray(sheet)


def check_columns(columns: Sequence[tuple[str, np.ndarray]]) -> None:
    """Raise unless there is an image, and all are (H, W, 3) uint8."""
    if not columns:
        raise SettingError("a panel needs an image")
    for title, image in columns:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise SettingError(f"a panel takes (H, W, 3) uint8, not {image.shape} {image.dtype}", where=title)


def place_legend(names: Sequence[int], size: int, width: int) -> list[tuple[int, int]]:
    """Corners of a square and a name each, in as many lines of a width as they need.

    >>> place_legend([40, 40, 40], size=12, width=150)
    [(6, 0), (76, 0), (6, 18)]
    """
    places, gap = [], size // 2
    x, y = gap, 0
    for name in names:
        length = int(1.5 * size) + name
        if x > gap and x + length > width - gap:
            x, y = gap, y + int(1.5 * size)
        places.append((x, y))
        x += length + 2 * gap
    return places
