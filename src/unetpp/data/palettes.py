"""Masks with a palette: whether a colour is the same class in all of them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unetpp.data.images import open_picture
from unetpp.data.threads import parallel
from unetpp.data.tiff import check_memory
from unetpp.errors import ImageError, MaskError

Colour = tuple[int, ...]


def check_palettes(masks: Iterable[Path]) -> None:
    """Raise `MaskError` where two masks number a colour differently, as programs do that number colours file by file.

    Only colours that a mask shows count, and of one that gives two classes the same colour, neither.
    """
    masks = [mask for mask in masks if mask.suffix.lower() in (".png", ".bmp")]
    known: dict[Colour, tuple[int, Path]] = {}
    for mask, colours in zip(masks, parallel(shown, masks), strict=True):
        for colour, index in colours.items():
            former, where = known.setdefault(colour, (index, mask))
            if former != index:
                called = "#" + "".join(f"{value:02x}" for value in colour)
                what = f"its palette gives the colour {called} the number {index}, that of {where} {former}"
                mend = "save class numbers without a palette, or all masks with the same one"
                raise MaskError(what, where=mask, mend=mend)


def shown(mask: Path) -> dict[Colour, int]:
    """The index of each colour that a mask with a palette shows; {} for another, or one that cannot be read."""
    try:
        with open_picture(mask) as picture:
            if picture.mode != "P":
                return {}
            check_memory(picture.width * picture.height, mask)
            palette = np.reshape(picture.getpalette(), (-1, 3)).tolist()
            used = np.unique(np.asarray(picture)).tolist()
    except (OSError, SyntaxError, ValueError, ImageError):
        # Whoever reads it says what is wrong.
        return {}
    colours = [tuple(palette[index]) for index in used if index < len(palette)]
    return {colour: index for colour, index in zip(colours, used, strict=False) if colours.count(colour) == 1}
