"""Would it pay to stop at a shallow head where it is sure? python benchmarks/adaptive_depth.py MODEL DATA.

The best case: tiles without rims, all that a shallow level computed used again at no cost, and the threshold chosen on
the very images that are scored. A tile stops at a level if few of its pixels are unsure there; the threshold is the
highest that loses at most 0.2 points of mean IoU. MODEL is trained with deep supervision.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from unetpp.analysis.scores import confusion, scores
from unetpp.data.dataset import find_samples
from unetpp.data.images import read_image
from unetpp.data.masks import read_mask
from unetpp.data.resample import resize_labels
from unetpp.inference.predict import open_predictor

MOST_LOST = 0.002
# A pixel is unsure where its two best classes are closer than this.
MARGIN = 0.8


def unsure(probabilities: np.ndarray) -> float:
    """The share of pixels of (h, w, C) probabilities whose class is in doubt."""
    ordered = np.sort(probabilities, -1)
    return float(np.mean(ordered[..., -1] - ordered[..., -2] < MARGIN))


def seconds(engine, passes: int = 9) -> float:
    """The median time of the network on 512 x 512 pixels."""
    x = np.random.default_rng(0).normal(0, 1, (1, 512, 512, 3)).astype(np.float32)
    engine(x)
    found = []
    for _ in range(passes):
        begun = time.perf_counter()
        engine(x)
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    """Print a row a tile size and level."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model, data = map(Path, sys.argv[1:])
    bundle, _ = open_predictor(model)
    predictors = [open_predictor(model, level=level)[1] for level in bundle.levels]
    cost = [seconds(predictor.engine) for predictor in predictors]
    count = len(bundle.classes)
    images = []
    for sample in find_samples(data):
        pixels = predictors[0].prepare(read_image(sample.image))
        truth = resize_labels(read_mask(sample.mask, count), pixels.shape[:2])
        images.append((truth, [predictor.probabilities(pixels) for predictor in predictors]))
    print("ms:", ", ".join(f"L{level} {1e3 * c:.0f}" for level, c in zip(bundle.levels, cost, strict=True)))
    print("| tile | level | tiles that stop | time at best | time with a rim of 32 |\n|---|---|---|---|---|")
    for side in (64, 128, 256, 512):
        tiles = [
            [(confusion(truth[place], p[place].argmax(-1), count), unsure(p[place])) for p in found]
            for truth, found in images
            for place in places(truth.shape, side)
        ]
        deepest = np.array([tile[-1][0] for tile in tiles])
        base = scores(deepest.sum(0), bundle.classes, 1)["mean_iou"]
        for k, level in enumerate(bundle.levels[:-1]):
            shallow, doubt = (
                np.array([tile[k][0] for tile in tiles]),
                np.array([tile[k][1] for tile in tiles]),
            )
            stops = np.zeros(len(tiles), bool)
            for threshold in np.quantile(doubt, np.linspace(0, 1, 101)):
                chosen = doubt <= threshold
                mixed = np.where(chosen[:, None, None], shallow, deepest).sum(0)
                if base - scores(mixed, bundle.classes, 1)["mean_iou"] <= MOST_LOST:
                    stops = chosen
            share = stops.mean()
            time_at_best = (share * cost[k] + (1 - share) * cost[-1]) / cost[-1]
            rim = ((side + 64) / side) ** 2
            print(f"| {side} | {level} | {share:.2f} | {time_at_best:.2f} | {rim * time_at_best:.2f} |")


def places(size, side):
    """The tiles of an image, side by side."""
    return [
        (slice(top, top + side), slice(left, left + side))
        for top in range(0, size[0], side)
        for left in range(0, size[1], side)
    ]


if __name__ == "__main__":
    main()
