"""A million objects: how long it takes to separate and to measure them, and how much memory.

    python benchmarks/objects.py [--objects 1000000]

The label image is noise, smoothed and cut off: a million regions of all shapes. scikit-image's regionprops_table, with
the same columns, measures a hundredth of it for comparison.
"""

import argparse
import time
from resource import RUSAGE_SELF, getrusage

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops_table

from unetpp.analysis.objects import measure
from unetpp.analysis.separate import separate

SAME = (
    "label area centroid bbox perimeter equivalent_diameter_area eccentricity orientation solidity "
    "intensity_mean intensity_min intensity_max"
)


def regions(count: int) -> np.ndarray:
    """A label image of at least `count` regions of some 90 pixels, in bands so that drawing it takes little memory."""
    side = int(np.sqrt(count / 0.0031)) + 1
    rng = np.random.default_rng(0)
    band = ndimage.gaussian_filter(rng.normal(size=(512, side)).astype(np.float32), 2, mode="wrap")
    bands = [np.roll(band, int(rng.integers(side)), 1) > 0.05 for _ in range(-(-side // 512))]
    return np.concatenate(bands)[:side].astype(np.uint8)


def timed(job, *parts, **options):
    start = time.perf_counter()
    result = job(*parts, **options)
    return time.perf_counter() - start, result


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=1_000_000)
    labels = regions(parser.parse_args().objects)
    image = np.random.default_rng(1).integers(0, 256, labels.shape, np.uint8)
    apart, (numbers, classes) = timed(separate, labels)
    measured, table = timed(measure, numbers, classes, ("background", "cell"), image=image)
    count = len(table["id"])
    memory = getrusage(RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count:,} objects on {labels.size / 1e6:.0f} megapixels")
    print(
        f"separate {apart:.1f} s, measure {measured:.1f} s, together {apart + measured:.1f} s; {memory:.1f} GB"
    )
    tenth = [side // 10 for side in numbers.shape]
    part, _ = separate(labels[: tenth[0], : tenth[1]])
    other, _ = timed(regionprops_table, part, image[: tenth[0], : tenth[1]], properties=SAME.split())
    scaled = other * count / part.max()
    print(
        f"scikit-image, without lengths, by {part.max():,} of them: {scaled:.0f} s, {scaled / measured:.0f} times"
    )
