"""A network in training against held-out pictures, at working size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unetpp.analysis.display import to_display
from unetpp.analysis.legend import panel
from unetpp.analysis.overlay import draw_overlay
from unetpp.analysis.scores import confusion, scores
from unetpp.data.images import write_png
from unetpp.inference.engine import keras_engine
from unetpp.inference.predict import Predictor, to_labels
from unetpp.inference.seams import label_seams
from unetpp.model import sizes
from unetpp.training.patches import Picture
from unetpp.training.plan import Plan

# Images drawn for the eye when a run ends.
PICTURES = 12


def open_network(model, plan: Plan) -> Predictor:
    """What predicts pictures, which are normalised already."""
    return Predictor(keras_engine(model), plan.normalization, multiple=sizes.best_multiple())


def predict(model, plan: Plan, pictures: Sequence[Picture]) -> list[np.ndarray]:
    """Labels of every picture, (h, w) each; those of seams lie where prediction will find their class."""
    predictor, label = open_network(model, plan), label_seams if plan.seams else to_labels
    return [label(predictor.probabilities(picture.image)) for picture in pictures]


def score(labels: Sequence[np.ndarray], plan: Plan, pictures: Sequence[Picture]) -> dict:
    """`scores` of labels, pooled over the pictures; of none, each figure is None."""
    counts = np.zeros((len(plan.outputs), len(plan.outputs)), int)
    for picture, found in zip(pictures, labels, strict=True):
        counts += confusion(picture.mask, found, len(plan.outputs))
    return scores(counts, plan.outputs, len(labels))


def side_by_side(picture: Picture, found: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A picture, its truth and its labels (h, w): (height, width, 3) uint8."""
    image = to_display(picture.image)
    columns = [
        ("image", image),
        ("truth", draw_overlay(image, picture.mask)),
        ("prediction", draw_overlay(image, found)),
    ]
    return panel(columns, classes=classes)


def draw_validation(plan: Plan, pictures, labels, folder: Path) -> None:
    """Image, truth and prediction of some held-out images side by side."""
    for sample, picture, found in list(zip(plan.validation, pictures, labels, strict=True))[:PICTURES]:
        write_png(folder / f"{sample.stem}.png", side_by_side(picture, found, plan.outputs))
