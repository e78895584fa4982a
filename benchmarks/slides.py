"""Time and memory of predicting images from 1 to 900 megapixels: python benchmarks/slides.py MODEL [SIDE ...].

Each image is a drawn micrograph repeated, saved as a tiled, compressed TIFF; each is predicted by the command line in
a process of its own. Prints seconds, seconds a megapixel, and the largest resident memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from unetpp.data.synthetic import draw

SIDES = (1000, 3000, 10_000, 17_000, 30_000)
TILE = 512


def write_slide(path: Path, side: int) -> None:
    """A drawn micrograph repeated to side x side pixels, never held as a whole."""
    tile = draw(0, (TILE, TILE))[0]
    count = ((side + TILE - 1) // TILE) ** 2
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            (tile for _ in range(count)),
            shape=(side, side, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="rgb",
        )


def measure(model: str, image: Path, out: Path) -> tuple[float, float]:
    """Seconds, and the most gigabytes of resident memory, of predicting an image."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "unetpp", "predict", model, str(image), "--out", str(out)]
    process = subprocess.Popen(command)
    peak = 0.0
    while process.poll() is None:
        time.sleep(0.2)
        status = Path(f"/proc/{process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        peak = max([peak, *(float(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
    if process.returncode:
        sys.exit(process.returncode)
    return time.monotonic() - begun, peak * 1024 / 1e9


def main() -> None:
    """Print a row an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("sides", type=int, nargs="*", default=SIDES)
    chosen = parser.parse_args()
    print("| side | megapixels | s | s a megapixel | GB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for side in chosen.sides:
            image = Path(scratch) / f"{side}.tif"
            write_slide(image, side)
            seconds, gigabytes = measure(chosen.model, image, Path(scratch) / f"out-{side}")
            megapixels = side**2 / 1e6
            print(
                f"| {side} | {megapixels:.0f} | {seconds:.0f} | {seconds / megapixels:.3f} | {gigabytes:.2f} |",
                flush=True,
            )
            image.unlink()


if __name__ == "__main__":
    main()
