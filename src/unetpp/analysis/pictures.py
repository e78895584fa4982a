"""An image with its truth, prediction and disagreement, as small files that a page can lay over each other."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unetpp.analysis.display import to_display
from unetpp.analysis.overlay import FILL, PALETTE, SOLID, contours, shrink_labels

# Of the image that is shown, and of its thumbnail: pixels of the long side.
SIDE, THUMBNAIL = 640, 96
# What is wrong with a pixel: only predicted, only true, or another class; colours after Okabe and Ito, "Color
# Universal Design", 2008, which people who do not see red or green tell apart.
MISTAKES = {"false alarm": (230, 159, 0), "missed": (86, 180, 233), "another class": (255, 255, 255)}
TRANSPARENT = (0, 0, 0)


@dataclass(frozen=True)
class Pictures:
    """An image small enough to look at.

    Attributes:
        name: of the image.
        size: (height, width) of the image itself.
        image, thumbnail: JPEG.
        layers: "truth", "prediction", "disagreement": PNG of the image's size, clear where there is nothing.
    """

    name: str
    size: tuple[int, int]
    image: bytes
    thumbnail: bytes
    layers: dict[str, bytes]


def draw_pictures(name: str, image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Pictures:
    """Scale an image and its labels down, and encode them.

    Args:
        name: of the image.
        image: (H, W, C), any dtype; shown as `to_display` does.
        truth, prediction: (H, W) uint8 class indices.
    """
    step = max(1, -(-max(truth.shape) // SIDE))
    shown = Image.fromarray(to_display(image)).reduce(step)
    thumbnail = shown.copy()
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    small = {"truth": shrink_labels(truth, step), "prediction": shrink_labels(prediction, step)}
    layers = {which: draw_layer(labels, PALETTE[1:]) for which, labels in small.items()}
    wrong = shrink_labels(mistakes(truth, prediction), step)
    layers["disagreement"] = draw_layer(wrong, tuple(MISTAKES.values()))
    return Pictures(name, truth.shape, as_jpeg(shown, 72), as_jpeg(thumbnail, 60), layers)


def mistakes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """What is wrong with each pixel: 0 nothing, else 1 + the place in `MISTAKES`; (H, W) uint8.

    >>> mistakes(np.array([[0, 0, 1, 1, 1]]), np.array([[0, 1, 0, 1, 2]])).tolist()
    [[0, 1, 2, 0, 3]]
    """
    wrong = truth != prediction
    kind = np.where(truth == 0, 1, np.where(prediction == 0, 2, 3))
    return np.where(wrong, kind, 0).astype(np.uint8)


def draw_layer(labels: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> bytes:
    """Labels as PNG: a translucent fill, a solid contour, clear where the label is 0."""
    count = len(colours)
    index = np.where(labels > 0, (labels - 1) % count + 1, 0)
    index = np.where((labels > 0) & contours(labels), index + count, index).astype(np.uint8)
    picture = Image.fromarray(index, "P")
    picture.putpalette([part for colour in (TRANSPARENT, *colours, *colours) for part in colour])
    opacity = bytes([0, *[FILL] * count, *[min(SOLID, 255)] * count])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=opacity)
    return file.getvalue()


def as_jpeg(picture: Image.Image, quality: int) -> bytes:
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
