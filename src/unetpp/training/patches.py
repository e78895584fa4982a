"""Class-balanced crops of a few images held in memory."""

from dataclasses import dataclass

import numpy as np

from unetpp.data.images import as_float, read_image, to_channels
from unetpp.data.instances import read_instances, with_seams
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling, resize_image, resize_labels
from unetpp.training.augment import relight, take, warp

# Pixels of each class remembered for an image: enough to centre crops on, few enough to hold.
CENTRES = 2000


@dataclass(frozen=True)
class Picture:
    """An image and mask at working size, and where its classes lie.

    Attributes:
        image: (h, w, C) float32, normalised.
        mask: (h, w) uint8, the classes; where objects are known, one more where they touch.
        centres: for each class but the background, (n, 2) rows and columns of some of its pixels.
    """

    image: np.ndarray
    mask: np.ndarray
    centres: tuple[np.ndarray, ...]


def load_picture(sample, *, normalization: Normalization, num_classes, scaling: Scaling, seed=0) -> Picture:
    """Read a sample, bring it to working size and normalise it."""
    image = as_float(to_channels(read_image(sample.image), len(normalization.mean)))
    given = read_mask(sample.mask, num_classes)
    size = scaling.size(given.shape)
    image, mask = resize_image(image, size), resize_labels(given, size)
    if sample.instances:
        numbers = read_instances(sample.instances, given).astype(np.int32)
        mask = with_seams(mask, resize_labels(numbers, size), num_classes)
    # Pixel by pixel in memory, or each crop's warp would first copy the whole picture.
    image = np.ascontiguousarray(normalization.of(image)(image))
    rng = np.random.default_rng(seed)
    centres = []
    for index in range(1, num_classes + bool(sample.instances)):
        places = np.argwhere(mask == index)
        if len(places) > CENTRES:
            places = rng.choice(places, CENTRES, replace=False)
        centres.append(places)
    return Picture(image, mask, tuple(centres))


class Urn:
    """Pictures to draw from, each as often as its pixels are many."""

    def __init__(self, pictures: list[Picture]):
        self.pictures, self.ends = pictures, np.cumsum([picture.mask.size for picture in pictures])

    def draw(self, rng: np.random.Generator) -> Picture:
        """One of the pictures."""
        return self.pictures[np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right")]


class Sampler:
    """Draws augmented crops: a set share is centred on a class, each class alike, the rest lies anywhere.

    A picture is drawn as often as its pixels are many, so that large ones do not go short.

    Args:
        pictures: what to draw from.
        size: pixels of a crop's side.
        focus: the share of the crops that is centred on a pixel of a foreground class.
        strength: of the augmentation, see `warp` and `relight`.
    """

    def __init__(self, pictures: list[Picture], size: int, *, focus=0.67, strength=1.0):
        self.size, self.focus, self.strength = size, focus, strength
        classes = range(len(pictures[0].centres))
        showing = [[p for p in pictures if len(p.centres[index])] for index in classes]
        self.all = Urn(pictures)
        # Pictures of each foreground class that occurs at all: (index in `centres`, urn).
        self.showing = [(index, Urn(have)) for index, have in enumerate(showing) if have]

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One crop: image (size, size, C) float32 and mask (size, size) uint8."""
        picture, centre = self._aim(rng)
        places = warp(self.size, rng, self.strength)
        places = places + inside(centre, picture.mask.shape, self.size)[:, None, None]
        image = take(picture.image, places, blend=True)
        return relight(image, rng, self.strength), take(picture.mask, places, blend=False)

    def _aim(self, rng):
        if self.showing and rng.random() < self.focus:
            index, urn = self.showing[rng.integers(len(self.showing))]
            picture = urn.draw(rng)
            centre = picture.centres[index][rng.integers(len(picture.centres[index]))]
            jitter = rng.uniform(-self.size / 4, self.size / 4, 2)
            return picture, centre + jitter
        picture = self.all.draw(rng)
        return picture, rng.uniform((0, 0), picture.mask.shape)


def inside(centre, shape: tuple[int, ...], size: int) -> np.ndarray:
    """A crop's centre moved so that the crop lies in the image, in the middle where it is larger: (2,) of pixels.

    Whole pixels are hit: a crop that is neither zoomed nor turned is a copy.
    """
    half = (size - 1) / 2
    starts = [
        round(min(max(c - half, 0), length - size)) if length >= size else (length - size) // 2
        for c, length in zip(centre, shape, strict=True)
    ]
    return np.array(starts) + half
