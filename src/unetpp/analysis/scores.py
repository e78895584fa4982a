"""Per-class pixel scores, pooled over images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unetpp.errors import MaskError, SettingError

if TYPE_CHECKING:
    from rich.table import Table

BLOCK = 1 << 20


def confusion(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of each pair of true and predicted class; sums of such counts pool images.

    Args:
        truth: (H, W) class indices of any integer dtype, 0 to num_classes - 1.
        prediction: the same, of the same shape.
        num_classes: how many classes there are, C.

    Returns:
        (C, C) int64; row = true class, column = predicted class.

    Raises:
        SettingError: the shapes differ, or an array holds no integers.
        MaskError: a class index is outside the range.

    Example:
        >>> confusion(np.array([[0, 1, 1]]), np.array([[0, 1, 0]]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise SettingError(f"truth of shape {truth.shape} cannot be compared with {prediction.shape}")
    total = np.zeros(num_classes**2, np.int64)
    if truth.size == 0:
        return total.reshape(num_classes, num_classes)
    check_indices(truth, num_classes, "truth")
    check_indices(prediction, num_classes, "prediction")
    truth, prediction = np.ravel(truth), np.ravel(prediction)
    for start in range(0, truth.size, BLOCK):
        block = slice(start, start + BLOCK)
        pairs = truth[block].astype(np.intp) * num_classes + prediction[block].astype(np.intp)
        total += np.bincount(pairs, minlength=num_classes**2)
    return total.reshape(num_classes, num_classes)


def check_indices(labels: np.ndarray, num_classes: int, where: str) -> None:
    """Raise unless all labels are integers from 0 to num_classes - 1."""
    if labels.dtype.kind not in "biu":
        raise SettingError(f"class indices must be integers, not {labels.dtype}", where=where)
    for found in (int(labels.min()), int(labels.max())):
        if not 0 <= found < num_classes:
            raise MaskError(f"class {found} is outside 0 to {num_classes - 1}", where=where)


def ratio(part: float, whole: float) -> float | None:
    """Part of whole; None where the whole is 0."""
    return float(part / whole) if whole else None


def precision(tp: float, fp: float) -> float | None:
    """TP / (TP + FP), the share of the predicted pixels that is true; None where nothing is predicted.

    >>> precision(3, 1)
    0.75
    """
    return ratio(tp, tp + fp)


def recall(tp: float, fn: float) -> float | None:
    """TP / (TP + FN), the share of the true pixels that is found; None where nothing is true.

    >>> recall(3, 3)
    0.5
    """
    return ratio(tp, tp + fn)


def dice(tp: float, fp: float, fn: float) -> float | None:
    """2 TP / (2 TP + FP + FN), which is also the F1 score; None where nothing is true or predicted.

    >>> dice(3, 1, 1)
    0.75
    """
    return ratio(2 * tp, 2 * tp + fp + fn)


def iou(tp: float, fp: float, fn: float) -> float | None:
    """TP / (TP + FP + FN), the intersection over union; None where nothing is true or predicted.

    >>> iou(3, 2, 1)
    0.5
    """
    return ratio(tp, tp + fp + fn)


def mean(figures: Sequence[float | None]) -> float | None:
    """Mean of the defined figures; None where none is."""
    defined = [figure for figure in figures if figure is not None]
    return ratio(sum(defined), len(defined))


def class_scores(confusion: np.ndarray, index: int) -> dict:
    """The figures of one class against all others."""
    tp = int(confusion[index, index])
    fp = int(confusion[:, index].sum()) - tp
    fn = int(confusion[index].sum()) - tp
    return {
        "iou": iou(tp, fp, fn),
        "dice": dice(tp, fp, fn),
        "precision": precision(tp, fp),
        "recall": recall(tp, fn),
        "support": tp + fn,
    }


def scores(confusion: np.ndarray, classes: Sequence[str], images: int) -> dict:
    """Score each class and their mean, from the pooled counts of `confusion`.

    Args:
        confusion: (C, C) counts; row = true class, column = predicted class.
        classes: the name of each class, by index.
        images: how many images were counted.

    Returns:
        {"classes": {NAME: {"iou", "dice", "precision", "recall", "support"}}, "mean_iou", "mean_dice",
        "accuracy", "confusion", "images"}, ready for JSON. Figures are from 0 to 1; support is the
        number of true pixels. A figure that is 0/0 is None. So a class that is neither true nor
        predicted anywhere has four times None; the means leave it out.

    Raises:
        SettingError: not one name for each class, or two classes of one name.

    Example:
        >>> found = scores(np.array([[6, 0], [1, 3]]), ("background", "cell"), images=1)
        >>> found["classes"]["cell"]
        {'iou': 0.75, 'dice': 0.8571428571428571, 'precision': 1.0, 'recall': 0.75, 'support': 4}
        >>> found["accuracy"]
        0.9
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (len(classes), len(classes)):
        raise SettingError(f"counts of shape {confusion.shape} do not fit {len(classes)} class names")
    if len(set(classes)) < len(classes):
        raise SettingError(f"two classes have one name: {', '.join(classes)}", mend="give each its own")
    found = {name: class_scores(confusion, index) for index, name in enumerate(classes)}
    return {
        "classes": found,
        "mean_iou": mean([figures["iou"] for figures in found.values()]),
        "mean_dice": mean([figures["dice"] for figures in found.values()]),
        "accuracy": ratio(int(np.trace(confusion)), int(confusion.sum())),
        "confusion": confusion.tolist(),
        "images": int(images),
    }


def figure(value: float | None) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def table(scores: dict) -> "Table":
    """The scores of `scores` as a table for the terminal: a row a class, then the means."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    accuracy, images = figure(scores["accuracy"]), scores["images"]
    caption = f"accuracy {accuracy}, {images} image{'' if images == 1 else 's'}, all pixels together"
    result = Table(box=box.SIMPLE_HEAD, show_footer=True, caption=caption, caption_justify="left")
    result.add_column("class", "mean")
    result.add_column("IoU", figure(scores["mean_iou"]), justify="right")
    result.add_column("Dice", figure(scores["mean_dice"]), justify="right")
    for heading in ("precision", "recall", "pixels"):
        result.add_column(heading, justify="right")
    for name, row in scores["classes"].items():
        figures = [figure(row[key]) for key in ("iou", "dice", "precision", "recall")]
        result.add_row(Text(name), *figures, f"{row['support']:,}")
    return result


def comparison(results: dict[str, dict]) -> "Table":
    """Several `scores` of the same images as a table for the terminal: a row each, IoU by class.

    "seconds" (a median image) and "memory" (bytes at most) get a column where a result has them.
    """
    from rich import box
    from rich.table import Table

    first = next(iter(results.values()))
    caption = "IoU of all pixels together; milliseconds an image, megabytes at most"
    result = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    result.add_column("")
    for heading in (*first["classes"], "mean"):
        result.add_column(heading, justify="right")
    units = {"seconds": ("ms", 1e-3), "memory": ("MB", 1e6)}
    shown = {key: unit for key, unit in units.items() if any(found.get(key) for found in results.values())}
    for heading, _ in shown.values():
        result.add_column(heading, justify="right")
    for name, found in results.items():
        ious = [*(row["iou"] for row in found["classes"].values()), found["mean_iou"]]
        costs = [f"{found[key] / unit:,.0f}" if found.get(key) else "–" for key, (_, unit) in shown.items()]
        result.add_row(name, *map(figure, ious), *costs)
    return result
