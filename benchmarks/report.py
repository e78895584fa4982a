"""A page about 300 images: how long `unetpp report` takes, and how large the page is.

    python benchmarks/report.py [--images 300] [--model models/darkfield]

The images, of 1000 x 700 pixels, and their masks are drawn.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from unetpp.data.synthetic import write_dataset

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--model", default="models/darkfield")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data, page = Path(scratch) / "data", Path(scratch) / "page.html"
        write_dataset(data, options.images, size=(700, 1000))
        command = [sys.executable, "-m", "unetpp", "report", options.model, data, "--out", page]
        begun = time.perf_counter()
        subprocess.run([*command, "--split", "blood_cell", "--thin", "bacteria"], check=True)
        seconds, size = time.perf_counter() - begun, page.stat().st_size
    used = getrusage(RUSAGE_CHILDREN)
    print(
        f"{options.images} images: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time, "
        f"{used.ru_maxrss / 2**20:.1f} GB at most; the page has {size / 1e6:.1f} MB"
    )
