"""Per-class pixel scores, pooled over images."""

from collections.abc import Sequence

import numpy as np

from unetpp.errors import MaskError, SettingError

BLOCK = 1 << 20
Number = float | np.ndarray


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


def ratio(part: Number, whole: Number) -> np.ndarray:
    """Part of whole, element by element; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)[()]


def precision(tp: Number, fp: Number) -> np.ndarray:
    """TP / (TP + FP), the share of what is predicted that is true; NaN where nothing is predicted.

    >>> float(precision(3, 1))
    0.75
    """
    return ratio(tp, tp + fp)


def recall(tp: Number, fn: Number) -> np.ndarray:
    """TP / (TP + FN), the share of what is true that is found; NaN where nothing is true.

    >>> float(recall(3, 3))
    0.5
    """
    return ratio(tp, tp + fn)


def dice(tp: Number, fp: Number, fn: Number) -> np.ndarray:
    """2 TP / (2 TP + FP + FN), which is also the F1 score; NaN where nothing is true or predicted.

    >>> float(dice(3, 1, 1))
    0.75
    """
    return ratio(2 * tp, 2 * tp + fp + fn)


def iou(tp: Number, fp: Number, fn: Number) -> np.ndarray:
    """TP / (TP + FP + FN), the intersection over union; NaN where nothing is true or predicted.

    >>> float(iou(3, 2, 1))
    0.5
    """
    return ratio(tp, tp + fp + fn)


def mean(figures: np.ndarray) -> np.ndarray:
    """Mean of the defined figures along the last axis; NaN where none is."""
    defined = ~np.isnan(figures)
    return ratio(np.where(defined, figures, 0).sum(-1), defined.sum(-1))


def plain(value: Number) -> float | None:
    """A figure for JSON: None where it is not defined."""
    return None if np.isnan(value) else float(value)


def pixel_figures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """IoU, Dice, precision and recall of each class against all others: (..., C, C) counts -> (..., C) each."""
    confusion = np.asarray(confusion)
    tp = np.diagonal(confusion, axis1=-2, axis2=-1)
    fp, fn = confusion.sum(-2) - tp, confusion.sum(-1) - tp
    return {
        "iou": iou(tp, fp, fn),
        "dice": dice(tp, fp, fn),
        "precision": precision(tp, fp),
        "recall": recall(tp, fn),
    }


def foreground_iou(confusion: np.ndarray) -> float:
    """The mean IoU of all classes but the background, of those that are true or predicted; 0 when none is.

    >>> foreground_iou(np.array([[6, 0, 0], [1, 3, 0], [0, 0, 0]]))
    0.75
    """
    return float(np.nan_to_num(mean(pixel_figures(confusion)["iou"][1:])))


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
    figures = pixel_figures(confusion)
    support = confusion.sum(1)
    return {
        "classes": {
            name: {key: plain(values[index]) for key, values in figures.items()}
            | {"support": int(support[index])}
            for index, name in enumerate(classes)
        },
        "mean_iou": plain(mean(figures["iou"])),
        "mean_dice": plain(mean(figures["dice"])),
        "accuracy": plain(ratio(np.trace(confusion), confusion.sum())),
        "confusion": confusion.tolist(),
        "images": int(images),
    }
