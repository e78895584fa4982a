"""A model against the truth."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unetpp.analysis.boundary import TOLERANCE
from unetpp.analysis.records import Record, examine
from unetpp.analysis.rules import Rules
from unetpp.analysis.scores import confusion, scores
from unetpp.data.dataset import Sample, check_sizes
from unetpp.data.images import IMAGE_SUFFIXES, read_image
from unetpp.data.masks import read_indices, read_mask
from unetpp.errors import DatasetError, ImageError, MaskError
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
        image, truth = read_pair(sample, len(classes))
        begun = time.perf_counter()
        with blaming(sample.image):
            found = predictor.labels(image)
        seconds.append(time.perf_counter() - begun)
        total += confusion(truth, found, len(classes))
        done(sample)
    return {**scores(total, classes, len(samples)), "seconds": float(np.median(seconds))}


def records(
    predictor: Predictor | Ensemble,
    samples: Sequence[Sample],
    classes: Sequence[str],
    rules: Rules,
    *,
    instances: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[tuple[Sample, Record, np.ndarray]]:
    """Predict images and hold each against its truth, at its own full resolution.

    Args:
        predictor: finds the classes of an image.
        samples: images with masks.
        classes: the name of each class, by index.
        rules: what an object is.
        instances: a folder of label images with each true object's number, by the images' names.
        tolerance: of boundaries, in pixels.

    Yields:
        a sample, its record, and the probabilities, (H, W, classes).

    Raises:
        DatasetError, ImageError, MaskError, SettingError: at the first sample that cannot be used.
    """
    options = {**rules.indices(classes), "tolerance": tolerance}
    for sample in samples:
        image, truth = read_pair(sample, len(classes))
        numbers = read_instances(sample, instances, truth.shape) if instances else None
        with blaming(sample.image):
            found = of_classes(predictor(image))
        yield sample, examine(sample.stem, truth, found, instances=numbers, **options), found


def read_pair(sample: Sample, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, (H, W, C), and its mask, (H, W)."""
    check_sizes(sample)
    return read_image(sample.image), read_mask(sample.mask, num_classes)


def read_instances(sample: Sample, folder: Path, size: tuple[int, ...]) -> np.ndarray:
    """The number of each true object of a sample: (H, W) ints.

    Raises:
        DatasetError, ImageError, MaskError: if there is no such file, or it does not fit.
    """
    found = [path for path in folder.glob(f"{sample.stem}.*") if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise DatasetError(f"{sample.stem} has no label image of objects", where=folder, mend="add it")
    numbers = read_indices(found[0])
    if numbers.shape != size:
        raise MaskError(
            f"it has shape {numbers.shape}, the mask {size}", where=found[0], mend="save it again"
        )
    return numbers


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Say whose image an ImageError is about."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.what, where=path, mend=error.mend) from error


def of_classes(probabilities: np.ndarray) -> np.ndarray:
    """A channel a class: (H, W, 1) of the foreground becomes (H, W, 2)."""
    if probabilities.shape[-1] > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], -1)
