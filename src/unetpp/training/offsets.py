"""How readily each class is found: offsets of the logits, chosen on training images when a run is over.

Crops show rare classes more often than images do, so that a network finds them where they are not. Of posteriors
learnt under one prior, those under another differ by a factor a class (Saerens et al., "Adjusting the outputs of a
classifier to new a priori probabilities", 2002, equation 2.4). Losses such as Dice are not posteriors, so the factors
are not computed but tried.
"""

from collections.abc import Sequence

import numpy as np

from unetpp.analysis.scores import confusion, mean, pixel_figures
from unetpp.inference.predict import Predictor
from unetpp.inference.seams import label_seams
from unetpp.training.patches import Picture

# What is tried: factors from a quarter to four, in thirds of an octave.
TRIED = np.log(2) * np.arange(-6, 7) / 3
SWEEPS = 3
# Values that decide, one a pixel and class, of all pictures together: ten classes shall not take a minute.
VALUES = 3_000_000


def best_offsets(logits: np.ndarray, truth: np.ndarray, *, seams: bool = False) -> np.ndarray:
    """The offsets of the classes that give the highest mean IoU, found class by class.

    The background's counts, too: where a class is hardly known, it would else be found everywhere.

    Args:
        logits: (n, C) float, or log-probabilities.
        truth: (n,) class indices.
        seams: whether the last class is where objects touch; its offset stays 0.

    Returns:
        (C,) float32; 0 for the background.

    Example:
        >>> best_offsets(np.array([[0.0, 0.2], [0.0, 1.0]]), np.array([0, 1])).round(2).tolist()
        [0.0, -0.23]
    """
    classes = logits.shape[1]
    offsets, best = np.zeros(classes, np.float32), value(logits, truth, seams)
    for _ in range(SWEEPS):
        before = best
        for index in range(1, classes - seams):
            for step in TRIED:
                tried = offsets.copy()
                tried[index] = step
                reached = value(logits + tried, truth, seams)
                if reached > best:
                    offsets, best = tried, reached
        if best == before:
            break
    return offsets


def value(logits: np.ndarray, truth: np.ndarray, seams: bool = False) -> float:
    """The mean IoU of the likeliest classes, of those that are true or predicted."""
    labels = label_seams(np.exp(logits)) if seams else logits.argmax(1)
    return float(mean(pixel_figures(confusion(truth, labels, logits.shape[1]))["iou"]))


def logits_of(predictor: Predictor, pictures: Sequence[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and truth of evenly spread pixels of some pictures: (n, C) float32 and (n,)."""
    classes = 1 + len(pictures[0].centres)
    every = max(1, classes * sum(picture.mask.size for picture in pictures) // VALUES)
    logits, truth = [], []
    for picture in pictures:
        found = predictor.probabilities(picture.image).reshape(picture.mask.size, -1)[::every]
        logits.append(np.log(np.maximum(found, 1e-7)))
        truth.append(picture.mask.ravel()[::every])
    return np.concatenate(logits), np.concatenate(truth)


def add_offsets(model, offsets: np.ndarray) -> None:
    """Add them to what every head of a network gives before its softmax."""
    for layer in model.layers:
        if layer.name.startswith("head_"):
            layer.bias.assign_add(offsets)
