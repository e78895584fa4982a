"""Class-balanced crops of a few images held in memory."""

from dataclasses import dataclass

import numpy as np

from unetpp.data.images import as_float, read_image, to_channels
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, resize_image, resize_labels

# Pixels of each class remembered for an image: enough to centre crops on, few enough to hold.
CENTRES = 2000


@dataclass(frozen=True)
class Picture:
    """An image and mask at working size, and where its classes lie.

    Attributes:
        image: (h, w, C) float32, normalised.
        mask: (h, w) uint8.
        centres: for each class but the background, (n, 2) rows and columns of some of its pixels.
    """

    image: np.ndarray
    mask: np.ndarray
    centres: tuple[np.ndarray, ...]


def load_picture(sample, *, normalization: Normalization, num_classes, scaling: Scaling, seed=0) -> Picture:
    """Read a sample, bring it to working size and normalise it."""
    image = as_float(to_channels(read_image(sample.image), len(normalization.mean)))
    mask = read_mask(sample.mask, num_classes)
    size = scaling.size(mask.shape)
    image, mask = resize_image(image, size), resize_labels(mask, size)
    image = normalization.of(image)(image)
    rng = np.random.default_rng(seed)
    centres = []
    for index in range(1, num_classes):
        places = np.argwhere(mask == index)
        if len(places) > CENTRES:
            places = rng.choice(places, CENTRES, replace=False)
        centres.append(places)
    return Picture(image, mask, tuple(centres))


class Sampler:
    """Draws crops: a set share is centred on a class, each class alike, the rest lies anywhere.

    Args:
        pictures: what to draw from.
        size: pixels of a crop's side.
        focus: the share of the crops that is centred on a pixel of a foreground class.
        scales: the range of the zoom, smallest and largest.
    """

    def __init__(self, pictures: list[Picture], size: int, *, focus=0.67, scales=(0.75, 1.33)):
        self.pictures, self.size, self.focus, self.scales = pictures, size, focus, scales
        classes = range(len(pictures[0].centres))
        showing = [[p for p in pictures if len(p.centres[index])] for index in classes]
        # Pictures of each foreground class that occurs at all: (index in `centres`, pictures).
        self.showing = [(index, have) for index, have in enumerate(showing) if have]

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One crop: image (size, size, C) float32 and mask (size, size) uint8."""
        picture, centre = self._aim(rng)
        low, high = np.log(self.scales)
        side = max(1, round(self.size / np.exp(rng.uniform(low, high))))
        corner = [round(c - side / 2) for c in centre]
        image = crop(picture.image, corner, side)
        mask = crop(picture.mask, corner, side)
        size = (self.size, self.size)
        return resize_image(image, size), resize_labels(mask, size)

    def _aim(self, rng):
        if self.showing and rng.random() < self.focus:
            index, pictures = self.showing[rng.integers(len(self.showing))]
            picture = pictures[rng.integers(len(pictures))]
            centre = picture.centres[index][rng.integers(len(picture.centres[index]))]
            jitter = rng.uniform(-self.size / 4, self.size / 4, 2)
            return picture, centre + jitter
        picture = self.pictures[rng.integers(len(self.pictures))]
        return picture, rng.uniform((0, 0), picture.mask.shape)


def crop(pixels: np.ndarray, corner, side: int) -> np.ndarray:
    """A square out of an image, moved inside where it can be, mirrored where the image ends."""
    places = []
    for start, length in zip(corner, pixels.shape[:2], strict=True):
        start = min(max(start, 0), length - side) if length >= side else (length - side) // 2
        index = np.arange(start, start + side) % (2 * length)
        places.append(np.minimum(index, 2 * length - 1 - index))
    return pixels[np.ix_(*places)]
