"""Images that show one scene, though saved, lit, mirrored, cut or shifted otherwise."""

from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage
from scipy.sparse.csgraph import connected_components

from unetpp.data.dataset import Sample
from unetpp.data.images import read_image
from unetpp.data.resample import resize_image
from unetpp.data.symmetry import SYMMETRIES, turn
from unetpp.data.threads import parallel

# Pixels of a thumbnail's side, and of the largest shift; how wide what is taken for light is, as a share of the side.
SIDE, SHIFT, LIGHT = 48, 18, 0.1
# Structure fainter than this share of the strongest is not raised to it.
FAINT = 0.1
# Correlation above which two thumbnails, one laid on the other, are one scene in any set of images.
SAME = 0.97
# And above which they are, shifted, if they stand out by so many deviations from what other pairs of the set have.
ALIKE, OUTLIER = 0.7, 7.0
# The share of both thumbnails' structure that must lie where they overlap.
SHARED = 0.5
# Thumbnails that one is shifted over at a time, which bounds the memory.
BLOCK = 256


def duplicate_groups(samples: Sequence[Sample]) -> list[int]:
    """A number for each sample that near-duplicate images share.

    Two images are near-duplicates if their thumbnails correlate by more than `SAME`, or if, shifted, they do by more
    than `ALIKE` and far more than other pairs of the set: images of one cell each, or of the back of an eye, are all
    alike, and no duplicates. Blank images share a number.
    """
    found = np.array(parallel(thumbnail, samples), np.float32).reshape(len(samples), SIDE, SIDE)
    laid, moved = correlations(found)
    others = moved[np.tril_indices(len(samples), -1)]
    usual = np.median(others) if len(others) else 0.0
    # For a normal distribution, 1.48 times the median of what pairs are off by is the deviation.
    deviation = 1.48 * np.median(abs(others - usual)) if len(others) else 0.0
    alike = (laid > SAME) | (np.maximum(laid, moved) > max(ALIKE, usual + OUTLIER * deviation))
    return connected_components(np.tril(alike), directed=False)[1].tolist()


def thumbnail(sample: Sample) -> np.ndarray:
    """An image's structure: (SIDE, SIDE) float32 of mean 0 and norm 1, all 0 where it is blank.

    Light that varies slowly is taken away, and what is left is divided by its local deviation, so that one bright cell
    does not outweigh all others.
    """
    greys = resize_image(read_image(sample.image), (SIDE, SIDE)).mean(-1)
    greys = (greys - greys.min()) / max(float(np.ptp(greys)), 1e-9)
    detail = greys - ndimage.gaussian_filter(greys, LIGHT * SIDE)
    deviation = np.sqrt(ndimage.gaussian_filter(detail**2, LIGHT * SIDE))
    detail /= deviation + FAINT * deviation.max() + 1e-9
    detail -= detail.mean()
    return detail / max(float(np.linalg.norm(detail)), 1e-9)


def correlations(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each thumbnail is like those before it.

    Args:
        thumbnails: (n, SIDE, SIDE) float32, of `thumbnail`.

    Returns:
        laid, moved: (n, n) float32, below the diagonal. The largest correlation of two thumbnails laid on each other,
        over the symmetries of the square (1 of two blank ones), and over shifts of up to SHIFT pixels.
    """
    count = len(thumbnails)
    rows = thumbnails.reshape(count, -1)
    turned = (np.stack([turn(t, k) for t in thumbnails]).reshape(count, -1) for k in range(SYMMETRIES))
    laid = np.maximum.reduce([rows @ other.T for other in turned])
    blank = ~rows.any(1)
    laid[np.ix_(blank, blank)] = 1
    # Zeros around, so that what is shifted out on one side does not come in on the other.
    size = fft.next_fast_len(SIDE + SHIFT, real=True)
    shifts = np.arange(-SHIFT, SHIFT + 1)
    spectra = fft.rfft2(thumbnails, (size, size))
    inside = fft.rfft2(np.ones((SIDE, SIDE), np.float32), (size, size))
    # Of the square sum of each thumbnail, what still lies within when it is moved by a shift.
    within = fft.irfft2(fft.rfft2(thumbnails**2, (size, size)).conj() * inside, (size, size))
    moved = np.full((count, count), -1, np.float32)
    for k in range(1, count):
        own = within[k][np.ix_(-shifts, -shifts)]
        for start in range(0, k, BLOCK):
            block = slice(start, min(k, start + BLOCK))
            product = fft.irfft2(spectra[block].conj() * spectra[k], (size, size))
            shared, others = (a[:, shifts][:, :, shifts] for a in (product, within[block]))
            enough = (others > SHARED) & (own > SHARED)
            ratio = np.where(enough, shared / np.sqrt(np.maximum(others * own, 1e-9)), -1)
            moved[k, block] = ratio.max((1, 2))
    return laid, moved
