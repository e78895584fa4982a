"""Change the size of images and masks."""

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
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


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


def working_size(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    """The (height, width) at which an image is worked on: its long side scaled to `long_side`.

    Example:
        >>> working_size((600, 1200), 512)
        (256, 512)
        >>> working_size((600, 1200), None)
        (600, 1200)
    """
    if long_side is None:
        return size
    scale = long_side / max(size)
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width
