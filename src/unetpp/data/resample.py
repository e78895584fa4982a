"""Change the size of images and masks."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize by bilinear interpolation, averaging over the source pixels when it shrinks.

    Args:
        image: (H, W, C), any real dtype.
        size: (height, width) in pixels.

    Returns:
        (height, width, C) float32; the image itself, as float32, when the size is its own.

    Example:
        >>> resize_image(np.ones((4, 6, 2), np.uint8), (2, 3)).shape
        (2, 3, 2)
    """
    image = np.asarray(image, np.float32)
    if image.shape[:2] == size:
        return image
    height, width = size
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, -1, 0)]
    resized = [plane.resize((width, height), Image.Resampling.BILINEAR) for plane in planes]
    # Whole planes in memory, for most of what follows takes a channel at a time.
    return np.moveaxis(np.stack([np.asarray(plane) for plane in resized]), 0, -1)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label image by nearest neighbour: no label is ever blended.

    Args:
        labels: (H, W) uint8.
        size: (height, width) in pixels.

    Returns:
        (height, width) uint8.
    """
    height, width = size
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


@dataclass(frozen=True)
class Scaling:
    """At what size the network sees an image.

    Attributes:
        long_side: pixels to which an image's long side is brought; None for a fixed scale.
        largest: pixels of the longest side among the training images. An image more than twice that long is
            a mosaic or a slide: its objects, not its sides, are as large as in training.
        scale: that of such an image, and of every image without a `long_side`.

    Example:
        >>> Scaling(512).size((600, 1200))
        (256, 512)
        >>> Scaling(512, largest=1200, scale=0.5).size((9000, 8000))
        (4500, 4000)
    """

    long_side: int | None = None
    largest: int | None = None
    scale: float = 1.0

    def factor(self, size: tuple[int, int]) -> float:
        """Working pixels a pixel of an image of `size` (height, width)."""
        if self.long_side is None or (self.largest and max(size) > 2 * self.largest):
            return self.scale
        return self.long_side / max(size)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which an image of `size` is worked on."""
        factor = self.factor(size)
        height, width = (max(1, round(side * factor)) for side in size)
        return height, width


def measure_scaling(sizes: list[tuple[int, int]], long_side: int | None) -> Scaling:
    """The scaling for training images of some sizes; `scale` is their median."""
    scaling = Scaling(long_side)
    scale = float(np.median([scaling.factor(size) for size in sizes]))
    return Scaling(long_side, max(max(size) for size in sizes), scale)
