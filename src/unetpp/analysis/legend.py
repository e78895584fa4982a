"""What is written on and beside pictures: titles, a legend, a scale bar, numbers."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unetpp.analysis.overlay import colour_of
from unetpp.errors import SettingError

GREY = (32, 32, 32)
# Fonts of Linux, Windows and macOS, those of many letters last.
FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf", "Arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "msyh.ttc", "YuGothM.ttc", "msgothic.ttc", "malgun.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Arial Unicode.ttf"),
)


@dataclass(frozen=True)
class Entry:
    """A line of a legend: a block of a colour, some pixels wide, and what it means."""

    text: str
    colour: tuple[int, int, int]
    wide: int


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
    size = text_size(max(image.shape[1] for _, image in columns))
    font, gap = ImageFont.load_default(size), size // 2
    widths = [max(image.shape[1], int(font.getlength(title)) + 1) for title, image in columns]
    strip = legend(sum(widths) + gap * (len(columns) + 1), class_entries(classes, size), size)
    top = size + 2 * gap
    bottom = top + max(image.shape[0] for _, image in columns) + gap
    sheet = Image.new("RGB", (strip.width, bottom + strip.height), GREY)
    pen, left = ImageDraw.Draw(sheet), gap
    for (title, image), column in zip(columns, widths, strict=True):
        pen.text((left, gap // 2), title, "white", font)
        sheet.paste(Image.fromarray(image), (left, top))
        left += column + gap
    sheet.paste(strip, (0, bottom))
    return np.asarray(sheet)


def check_columns(columns: Sequence[tuple[str, np.ndarray]]) -> None:
    """Raise unless there is an image, and all are (H, W, 3) uint8."""
    if not columns:
        raise SettingError("a panel needs an image")
    for title, image in columns:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise SettingError(f"a panel takes (H, W, 3) uint8, not {image.shape} {image.dtype}", where=title)


def with_legend(image: np.ndarray, classes: Sequence[str], *, pixel_size: float | None = None) -> np.ndarray:
    """An image above a legend of the classes' colours and, if the pixel size is known, a scale bar.

    Args:
        image: (H, W, 3) uint8.
        classes: names by index; the background (index 0) is not shown.
        pixel_size: micrometres a pixel's side.

    Returns:
        (height, width, 3) uint8; the image is its top left.
    """
    size = text_size(image.shape[1])
    entries = class_entries(classes, size)
    if pixel_size:
        entries = [scale_bar(image.shape[1], pixel_size), *entries]
    strip = legend(image.shape[1], entries, size)
    sheet = Image.new(
        "RGB", (strip.width, image.shape[0] + strip.height + (size // 2 if entries else 0)), GREY
    )
    sheet.paste(Image.fromarray(image), (0, 0))
    sheet.paste(strip, (0, sheet.height - strip.height))
    return np.asarray(sheet)


def draw_numbers(image: np.ndarray, numbers: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Write numbers on an image, at their objects' middles: white with a black rim.

    Args:
        image: (H, W, 3) uint8.
        numbers: of n objects, (n,).
        y, x: where their middles lie, (n,) in pixels.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    sheet = Image.fromarray(image)
    size = int(np.clip(max(image.shape[:2]) / 80, 10, 20))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    for number, row, column in zip(numbers, y, x, strict=True):
        pen.text((column, row), str(number), "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
    return np.asarray(sheet)


def text_size(width: int) -> int:
    """How high text is on a picture of some width."""
    return int(np.clip(width / 28, 12, 36))


def class_entries(classes: Sequence[str], size: int) -> list[Entry]:
    """A legend's entries of all classes but the background; by its index, where no font has a name's letters."""
    return [
        Entry(str(index) if face_of(name) is None else name, colour_of(index), size)
        for index, name in enumerate(classes)
        if index
    ]


@cache
def face_of(text: str) -> str | None:
    """The file of a font that has every letter of a text, "" for the one that Pillow carries; None without any."""
    for name in ("", *FONTS):
        with suppress(OSError):
            font = open_face(name, 16)
            # What is no letter is drawn as what a font has not: often a box.
            pixels = [(m.size, bytes(m)) for m in map(font.getmask, ("\U0010ffff", *text))]
            if all(
                shown != pixels[0] or letter.isspace() for letter, shown in zip(text, pixels[1:], strict=True)
            ):
                return str(font.path) if name else name
    return None


def open_face(face: str, size: int) -> Any:
    """A font by its file or name, "" for Pillow's own."""
    return ImageFont.truetype(face, size) if face else ImageFont.load_default(size)


def scale_bar(width: int, pixel_size: float) -> Entry:
    """A bar of a round length: the largest of 1, 2 or 5 times a power of ten up to a quarter of the picture.

    >>> scale_bar(400, 0.5)
    Entry(text='50 um', colour=(255, 255, 255), wide=100)
    """
    most = width * pixel_size / 4
    power = 10.0 ** np.floor(np.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
    # The font that Pillow carries has no Greek letters.
    return Entry(f"{length:g} um", (255, 255, 255), max(1, round(length / pixel_size)))


def legend(width: int, entries: Sequence[Entry], size: int) -> Image.Image:
    """Entries in as many lines as they need, on a strip at least so wide; without an entry, of no height."""
    fonts = [open_face(face_of(entry.text) or "", size) for entry in entries]
    lengths = [
        entry.wide + size // 2 + int(font.getlength(entry.text)) + 1
        for entry, font in zip(entries, fonts, strict=True)
    ]
    width = max([width, *(length + size for length in lengths)])
    places = place_entries(lengths, size, width)
    strip = Image.new("RGB", (width, places[-1][1] + size + size // 2 if places else 0), GREY)
    pen = ImageDraw.Draw(strip)
    for entry, font, (x, y) in zip(entries, fonts, places, strict=True):
        high = size if entry.wide <= size else size // 4
        top = y + (size - high) // 2
        pen.rectangle((x, top, x + entry.wide - 1, top + high - 1), fill=entry.colour)
        pen.text((x + entry.wide + size // 2, y - size // 6), entry.text, "white", font)
    return strip


def place_entries(lengths: Sequence[int], size: int, width: int) -> list[tuple[int, int]]:
    """The top left corners of entries, in as many lines of a width as they need.

    >>> place_entries([58, 58, 58], size=12, width=150)
    [(6, 0), (76, 0), (6, 18)]
    """
    places, gap = [], size // 2
    x, y = gap, 0
    for length in lengths:
        if x > gap and x + length > width - gap:
            x, y = gap, y + int(1.5 * size)
        places.append((x, y))
        x += length + 2 * gap
    return places
