"""One image to class probabilities and labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetpp.bundle import Bundle, load_model
from unetpp.data.images import as_float, to_channels
from unetpp.data.normalization import Normalization
from unetpp.data.resample import resize_image, working_size
from unetpp.inference.engine import Engine, keras_engine
from unetpp.inference.tiles import corners, round_up, window


@dataclass(frozen=True)
class Predictor:
    """A network with all that its images must go through: `predictor(image) -> probabilities`.

    Attributes:
        engine: runs the network on a batch.
        normalization: of the images.
        long_side: pixels of an image's long side when the network sees it; None for as it is.
        multiple: what the network's height and width must be a multiple of.
        tile: pixels of a tile's side at most; a multiple of `multiple`.
        overlap: pixels that neighbouring tiles share at least.
        batch: tiles run at a time.
    """

    engine: Engine
    normalization: Normalization
    long_side: int | None = None
    multiple: int = 32
    tile: int = 512
    overlap: int = 128
    batch: int = 2

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities at the image's own size.

        Args:
            image: (H, W, C) of any real dtype.

        Returns:
            (H, W, classes) float32.

        Raises:
            ImageError: if the channels do not fit the network.
        """
        size = image.shape[:2]
        pixels = self.prepare(image, working_size(size, self.long_side))
        return resize_image(self.probabilities(pixels), size)

    def labels(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel: (H, W, C) -> (H, W) uint8."""
        return to_labels(self(image))

    def prepare(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resize and normalise: (H, W, C) -> (*size, channels) float32."""
        pixels = resize_image(as_float(to_channels(image, len(self.normalization.mean))), size)
        return self.normalization.of(pixels)(pixels)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Tile, run and blend: normalised (h, w, channels) -> (h, w, classes) float32."""
        size = pixels.shape[:2]
        full = round_up(size, self.multiple)
        tile = (min(self.tile, full[0]), min(self.tile, full[1]))
        padded = pad_by_reflection(pixels, full)
        places = corners(full, tile, self.overlap, self.multiple)
        weight = window(tile, self.overlap)[..., None]
        total, weights = None, np.zeros((*padded.shape[:2], 1), np.float32)
        for first in range(0, len(places), self.batch):
            chunk = [
                np.s_[top : top + tile[0], left : left + tile[1]]
                for top, left in places[first : first + self.batch]
            ]
            for place, p in zip(
                chunk, self.engine(np.stack([padded[place] for place in chunk])), strict=True
            ):
                if total is None:
                    total = np.zeros((*padded.shape[:2], p.shape[-1]), np.float32)
                total[place] += weight * p
                weights[place] += weight
        assert total is not None
        total /= weights
        return crop_middle(total, size)


def open_predictor(path: Path) -> tuple[Bundle, Predictor]:
    """A bundle and what predicts with it.

    Args:
        path: a bundle's folder, or the run folder that holds one.

    Raises:
        BundleError: if the bundle is missing, damaged, or from a newer version.
        InstallError: if Keras is not installed.
    """
    bundle, model = load_model(path)
    return bundle, Predictor(keras_engine(model), bundle.normalization, bundle.long_side)


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class, or foreground from one half on: (H, W, C) -> (H, W) uint8."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] >= 0.5).astype(np.uint8)
    return probabilities.argmax(-1).astype(np.uint8)


def pad_by_reflection(pixels: np.ndarray, least: tuple[int, int]) -> np.ndarray:
    """Reflect an image on all sides until it is at least `least` high and wide."""
    extra = [max(0, need - have) for need, have in zip(least, pixels.shape[:2], strict=True)]
    pads = [(e // 2, e - e // 2) for e in extra]
    return np.pad(pixels, [*pads, (0, 0)], mode="symmetric")


def crop_middle(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Undo `pad_by_reflection`: the middle `size` of an image."""
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape[:2], size, strict=True))
    return pixels[top : top + size[0], left : left + size[1]]
