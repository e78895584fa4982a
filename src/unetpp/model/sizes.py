"""Sizes of images that suit a network, and a backend."""

import keras
from keras import ops

from unetpp.errors import SettingError


def best_multiple() -> int:
    """What to pad images to multiples of for prediction, in pixels: any number of levels fits.

    JAX compiles a network for each size, on a GPU for many seconds, so there it is larger and sizes are fewer.
    """
    return 128 if keras.backend.backend() == "jax" else 32


def pad_to_multiple(images, multiple):
    """Reflect images of a fixed size up to the next multiple: (B, H, W, C) -> (B, H', W', C)."""
    sizes = images.shape[1:3]
    if any(side is not None and side < multiple for side in sizes):
        raise SettingError(
            f"an input of {sizes[0]} x {sizes[1]} is too small for this depth",
            mend=f"give at least {multiple} x {multiple} pixels, or fewer filters",
        )
    extra = [0 if side is None else -side % multiple for side in sizes]
    if not any(extra):
        return images
    before = [e // 2 for e in extra]
    pads = [(0, 0), *((b, e - b) for b, e in zip(before, extra, strict=True)), (0, 0)]
    return ops.pad(images, pads, mode="reflect")


def check_fits(shape, settings) -> None:
    """Refuse images (B, H, W, C) that a network for any size cannot halve as often as it must.

    Raises:
        SettingError: for the first side that is known and no multiple.
    """
    multiple = 2 ** (len(settings["filters"]) - 1)
    for side, fixed in zip(shape[1:3], settings["input_shape"], strict=False):
        if fixed is None and isinstance(side, int) and side % multiple:
            size = " x ".join(map(str, shape[1:3]))
            mend = f"give multiples of {multiple}, or build the network for that size, which then pads"
            raise SettingError(f"images of {size} pixels do not fit a network of this depth", mend=mend)


def crop_to(probabilities, input_shape):
    """Undo `pad_to_multiple`: cut the middle (height, width) out."""
    for axis, side in enumerate(input_shape[:2], start=1):
        padded = probabilities.shape[axis]
        if side is not None and padded != side:
            start = (padded - side) // 2
            probabilities = ops.take(probabilities, ops.arange(start, start + side), axis=axis)
    return probabilities
