"""Pixels to the scale that a network is used to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetpp.errors import ImageError

# The least deviation of a single image, as a share of that over the whole data set: noise stays noise.
FLOOR = 0.05
# What a camera of 14 bits does not reach, and how many deviations from the mean no image's own mean lies.
FOURTEEN, FAR = 2**14, 20
# Shares of an image's pixels, at most, that are hot, and that white scale bars take.
HOT, BAR = 1e-4, 1e-2


@dataclass(frozen=True)
class Normalization:
    """(pixels - mean) / std, channel by channel.

    Attributes:
        mean: of each channel over the training images, in the scale of `as_float`.
        std: of each channel, likewise.
        per_image: take each image's own mean and deviation instead, the latter at least `FLOOR` * std. For
            images that differ from one another more than within, such as bright stains and dark fluorescence.
        bits: of the training images' values, 32 of real numbers; of several kinds the most. None: not known.

    Example:
        >>> Normalization((0.5,), (0.25,))(np.ones((1, 1, 1), np.float32)).tolist()
        [[[2.0]]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    per_image: bool = False
    bits: int | None = None

    def of(self, pixels: np.ndarray) -> "Normalization":
        """The normalisation of one image: (..., channels) in the scale of `as_float`, all of it or a sample."""
        if not self.per_image:
            return self
        axes = tuple(range(pixels.ndim - 1))
        std = np.maximum(pixels.std(axes, dtype=np.float64), FLOOR * np.array(self.std))
        return Normalization(tuple(pixels.mean(axes, dtype=np.float64).tolist()), tuple(std.tolist()))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise: (..., channels) of real numbers to float32 of the same shape."""
        return (pixels.astype(np.float32, copy=False) - np.array(self.mean, np.float32)) / np.array(
            self.std, np.float32
        )


def from_moments(means: Sequence, squares: Sequence, per_image: bool | None = None) -> Normalization:
    """The normalisation of a data set, each image counting alike, however many pixels it has.

    Args:
        means: (images, channels) mean of each image's pixels, in the scale of `as_float`.
        squares: (images, channels) mean of their squares.
        per_image: see `Normalization`; None: if the images' means vary more than the pixels within images.

    A channel that never varies gets the deviation 1.
    """
    first, second = np.array(means, np.float64), np.array(squares, np.float64)
    mean = first.mean(0)
    std = np.sqrt(np.maximum(second.mean(0) - mean**2, 0))
    if per_image is None:
        between, within = first.var(0).mean(), (second - first**2).mean()
        per_image = bool(between > within)
    return Normalization(tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()), per_image)


def check_range(image: np.ndarray, pixels: np.ndarray, normalization: Normalization) -> None:
    """Raise `ImageError` for numbers of another kind than a model has learnt from, of which it would make nothing.

    Such are NaN, 16 bits of which a camera has filled 12 or 14 where the model knows 8, and numbers of another type
    than the model's and far from them.

    Args:
        image: (..., C), as it was read.
        pixels: (..., channels), the same by `as_float`.
        normalization: of the model.
    """
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ImageError("some of its values are NaN or infinite", mend="replace them by numbers")
    values = pixels.reshape(-1, pixels.shape[-1])
    # What is normalised by itself loses nothing by that, unless its deviation is taken for noise.
    lost = not normalization.per_image or (values.std(0) < FLOOR * std).any()
    sixteen = image.dtype.str[1:] == "u2"
    if sixteen and normalization.bits == 8 and lost and (highest := _highest(image)) < FOURTEEN:
        raise ImageError(
            f"the highest of its 16-bit values is {highest}, and the model has learnt from 8 bits",
            mend="scale its values to 16 bits, or save it with 8",
        )
    # What is normalised by itself is far where all of it is black to the model.
    far = (np.abs(values.mean(0) - mean) > FAR * std).any()
    if normalization.per_image:
        far = lost and values.max() < FLOOR * mean.mean()
    # A dark or a bright image of the model's own type is one.
    own = (image.dtype.kind, 8 * image.dtype.itemsize) == ("u", normalization.bits)
    if far and not own:
        least, most = values.min(), values.max()
        raise ImageError(
            f"its values, {least:.3g} to {most:.3g}, are not of the model's kind, about {mean.mean():.2g}",
            mend="save it with 8 or 16 bits, or as the model's training images are",
        )


def _highest(image: np.ndarray) -> int:
    """The highest of 16-bit values but for hot pixels, and for scale bars, which are white."""
    bar = min((image == 2**16 - 1).mean(), BAR)
    return int(np.quantile(image, 1 - HOT - bar, method="higher"))
