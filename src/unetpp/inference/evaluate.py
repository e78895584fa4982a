"""A model against the truth."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from unetpp.analysis.scores import confusion, scores
from unetpp.data.dataset import Sample, check_sizes
from unetpp.data.images import read_image
from unetpp.data.masks import read_mask
from unetpp.errors import ImageError
from unetpp.inference.predict import Ensemble, Predictor


def evaluate(
    predictor: Predictor | Ensemble,
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    done: Callable[[Sample], None] = lambda sample: None,
) -> dict:
    """Score predictions, pixels pooled over all images at each image's own full resolution.

    Args:
        predictor: finds the classes of an image.
        samples: images with masks.
        classes: the name of each class, by index.
        done: called after each image.

    Returns:
        `scores` of all pixels together, and "seconds": the median of what prediction took an image, read and
        written nothing.

    Raises:
        DatasetError, ImageError, MaskError: at the first sample that cannot be used.
    """
    total = np.zeros((len(classes), len(classes)), np.int64)
    seconds = []
    for sample in samples:
        check_sizes(sample)
        truth = read_mask(sample.mask, len(classes))
        image = read_image(sample.image)
        begun = time.perf_counter()
        try:
            found = predictor.labels(image)
        except ImageError as error:
            raise ImageError(error.what, where=sample.image, mend=error.mend) from error
        seconds.append(time.perf_counter() - begun)
        total += confusion(truth, found, len(classes))
        done(sample)
    return {**scores(total, classes, len(samples)), "seconds": float(np.median(seconds))}
