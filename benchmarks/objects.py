"""A million objects: how long `unetpp measure` takes, and how much memory.

    python benchmarks/objects.py [--objects 1000000]

The label image is noise, smoothed and cut off: regions of all shapes, in a tiled, compressed TIFF. scikit-image's
regionprops_table, with the same columns but no lengths, measures a hundredth of them for comparison.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
from scipy import ndimage
from skimage.measure import label, regionprops_table

from unetpp.data.pyramids import write_ome_tiff

SAME = (
    "label area centroid bbox perimeter equivalent_diameter_area eccentricity orientation solidity "
    "intensity_mean intensity_min intensity_max"
)


def regions(count: int) -> np.ndarray:
    """A label image of at least `count` regions of some 170 pixels, drawn in bands that take little memory."""
    side = int(np.sqrt(count / 0.00285)) + 1
    rng = np.random.default_rng(0)
    band = ndimage.gaussian_filter(rng.normal(size=(512, side)).astype(np.float32), 2, mode="wrap")
    bands = [np.roll(band, int(rng.integers(side)), 1) > 0.05 for _ in range(-(-side // 512))]
    return np.concatenate(bands)[:side].astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=1_000_000)
    labels = regions(parser.parse_args().objects)
    image = np.random.default_rng(1).integers(0, 256, labels.shape, np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("labels", "images", "out")}
        for name, pixels in (("labels", labels), ("images", image)):
            write_ome_tiff(folders[name] / "slide.ome.tif", [pixels], "YX")
        command = [
            sys.executable,
            "-m",
            "unetpp",
            "measure",
            folders["labels"],
            "--images",
            folders["images"],
        ]
        begun = time.perf_counter()
        subprocess.run([*command, "--out", folders["out"]], check=True)
        seconds = time.perf_counter() - begun
        with (folders["out"] / "objects.csv").open() as file:
            count = sum(1 for _ in file) - 1
    memory = getrusage(RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{count:,} objects on {labels.size / 1e6:.0f} megapixels: {seconds:.1f} s, {memory:.1f} GB at most"
    )
    tenth = labels.shape[0] // 10
    part = label(labels[:tenth, :tenth], connectivity=2)
    begun = time.perf_counter()
    regionprops_table(part, image[:tenth, :tenth], properties=SAME.split())
    scaled = (time.perf_counter() - begun) * count / part.max()
    print(
        f"scikit-image, without lengths, by {part.max():,} of them: {scaled:.0f} s, {scaled / seconds:.1f} times"
    )
