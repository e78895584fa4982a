"""A model against the truth."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetpp.analysis.boundary import TOLERANCE
from unetpp.analysis.records import Record, examine
from unetpp.analysis.rules import Rules
from unetpp.analysis.scores import confusion, scores
from unetpp.analysis.uncertainty import of_classes
from unetpp.data.dataset import Sample, same_size
from unetpp.data.images import read_image
from unetpp.data.instances import read_instances
from unetpp.data.masks import read_mask
from unetpp.errors import ImageError
from unetpp.inference.predict import Ensemble, Predictor, to_labels


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
        image, truth = read_pair(sample, len(classes))
        begun = time.perf_counter()
        with blaming(sample.image):
            found = predictor.labels(image)
        seconds.append(time.perf_counter() - begun)
        total += confusion(truth, found, len(classes))
        done(sample)
    return {**scores(total, classes, len(samples)), "seconds": float(np.median(seconds))}


@dataclass(frozen=True)
class Prediction:
    """An image's prediction and its truth.

    Attributes:
        sample: the image and its mask.
        image: (H, W, C).
        truth: (H, W) uint8 class indices.
        probabilities: (H, W, classes) float32.
        labels: (H, W) uint8, the most probable class.
        instances: (H, W) the number of each true object, if known.
    """

    sample: Sample
    image: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    instances: np.ndarray | None


def predictions(
    predictor: Predictor | Ensemble, samples: Sequence[Sample], classes: Sequence[str]
) -> Iterator[Prediction]:
    """Predict images whose truth is known, at their own full resolution.

    Args:
        predictor: finds the classes of an image.
        samples: images with masks.
        classes: the name of each class, by index.

    Raises:
        DatasetError, ImageError, MaskError: at the first sample that cannot be used.
    """
    for sample in samples:
        image, truth = read_pair(sample, len(classes))
        numbers = read_instances(sample.instances, truth) if sample.instances else None
        with blaming(sample.image):
            found = predictor(image)
        yield Prediction(sample, image, truth, of_classes(found), to_labels(found), numbers)


def to_record(
    found: Prediction, classes: Sequence[str], rules: Rules, tolerance: float = TOLERANCE
) -> Record:
    """Hold a prediction against its truth.

    Args:
        found: of `predictions`.
        classes: the name of each class, by index.
        rules: what an object is.
        tolerance: of boundaries, in pixels.
    """
    return examine(
        found.sample.stem,
        found.truth,
        found.probabilities,
        found.labels,
        instances=found.instances,
        tolerance=tolerance,
        **rules.indices(classes),
    )


def read_pair(sample: Sample, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, (H, W, C), and its mask, (H, W)."""
    image, mask = read_image(sample.image), read_mask(sample.mask, num_classes)
    # Not by `check_sizes`, which decodes a PNG to know its size.
    same_size(sample, image.shape[:2], mask.shape)
    return image, mask


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Say whose image an ImageError is about."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.what, where=path, mend=error.mend) from error
