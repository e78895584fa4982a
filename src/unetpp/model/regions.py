"""What losses are made of: truth, probabilities and weights of pixels, and their sums over classes' regions."""

import numpy as np
from keras import ops

from unetpp.errors import SettingError
from unetpp.model.weights import BALANCED, resolve_class_weights

EPSILON = 1e-7
# Below it a probability has no slope; so small that no pixel is given up, and that weights of 1e6 over it are finite.
FLOOR = 1e-30


def mean_over_pixels(loss, y_true, y_pred, class_weights, ignore_index):
    """sum(w l(p)) / sum(w), p the probability of the true class."""
    y, p, valid = pixels(y_true, y_pred, ignore_index)
    y, p = with_background(y), with_background(p)
    w = weights(class_weights, y, valid)
    p_true = ops.clip(ops.sum(y * p, -1), FLOOR, 1.0)
    pixel_weights = ops.sum(y * ops.expand_dims(w, 1), -1) * valid[..., 0]
    return weighted_mean(loss(p_true), pixel_weights)


def mean_over_regions(score, y_true, y_pred, class_weights, ignore_index, *, empty=0.0):
    """sum_c(w_c score_c) / sum_c(w_c) over the classes the image shows; `empty` if it shows none."""
    tp, fp, fn, w = regions(y_true, y_pred, class_weights, ignore_index)
    # Whatever does not count has some score, where `smooth` is 0 and 0 / 0 had none.
    return weighted_mean(score(ops.where(w > 0, tp, 1.0), fp, fn), w, empty)


def regions(y_true, y_pred, class_weights, ignore_index):
    """TP, FP, FN and the weight, 0 where absent, of each class: four of (B, C)."""
    y, p, valid = pixels(y_true, y_pred, ignore_index)
    w = weights(class_weights, y, valid)
    y, p = y * valid, p * valid
    tp, true = ops.sum(y * p, 1), ops.sum(y, 1)
    return tp, ops.sum(p, 1) - tp, true - tp, w * ops.cast(true > 0, "float32")


def weighted_mean(values, w, empty=0.0):
    """sum(w v) / sum(w) along the last axis; `empty` where all w are 0."""
    total = ops.sum(w, -1)
    some = total > 0
    return ops.where(some, ops.sum(w * values, -1) / ops.where(some, total, 1.0), empty)


def pixels(y_true, y_pred, ignore_index):
    """Truth and probabilities (B, N, C) and whether each pixel counts (B, N, 1), all float32.

    With C = 1, truth below 1 is background: soft masks are not meant.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, "float32")
    check_shapes(y_true.shape, y_pred.shape)
    classes = y_pred.shape[-1]
    p = ops.reshape(y_pred, (ops.shape(y_pred)[0], -1, classes))
    rows = ops.shape(p)[0]
    one_hot = len(y_true.shape) == len(y_pred.shape) and classes > 1 and y_true.shape[-1] == classes
    if one_hot:
        y = ops.cast(ops.reshape(y_true, (rows, -1, classes)), "float32")
        valid = ops.ones_like(y[..., :1]) if ignore_index is None else 1 - channel(y, ignore_index)
        return y, p, valid
    index = ops.cast(ops.reshape(y_true, (rows, -1, 1)), "float32")
    # A label that is no class counts as little as one that is ignored.
    counts = ops.logical_and(index >= 0, index < max(2, classes))
    counts = counts if ignore_index is None else ops.logical_and(counts, index != ignore_index)
    valid = ops.cast(counts, "float32")
    numbers = np.arange(1, 2) if classes == 1 else np.arange(classes)
    return ops.cast(index == ops.cast(numbers, "float32"), "float32"), p, valid


def check_shapes(true, predicted) -> None:
    """Refuse masks that are not (B, ...), (B, ..., 1) or one-hot (B, ..., C) to predictions (B, ..., C).

    Raises:
        SettingError: as far as the shapes are known before a step.
    """
    if not (has_rank(true) and has_rank(predicted)):
        return
    true, predicted = tuple(true), tuple(predicted)
    sides = predicted[:-1]
    if not any(may_be(true, shape) for shape in (sides, (*sides, 1), predicted)):
        raise SettingError(
            f"masks of shape {true} do not fit predictions of shape {predicted}",
            mend="give class indices (batch, height, width), or one channel a class",
        )


def has_rank(shape) -> bool:
    """Whether it is known how many axes there are, which TensorFlow's graphs may learn in a step alone."""
    return getattr(shape, "rank", 1) is not None


def may_be(shape, other) -> bool:
    """Whether two shapes are the same, as far as their sides are known."""
    return len(shape) == len(other) and all(
        a == b or None in (a, b) for a, b in zip(shape, other, strict=True)
    )


def with_background(values):
    """A single channel of foreground (B, N, 1) and what it leaves to the background: (B, N, 2)."""
    return ops.concatenate([1 - values, values], -1) if values.shape[-1] == 1 else values


def channel(y, index):
    """Channel `index` of (B, N, C), or zeros if there is none."""
    return y[..., index : index + 1] if 0 <= index < y.shape[-1] else ops.zeros_like(y[..., :1])


def weights(class_weights, y, valid):
    """Weights by class, (1 or B, C); of background and foreground, a single channel takes the latter's."""
    classes = y.shape[-1]
    if isinstance(class_weights, str) and class_weights == BALANCED:
        counts = ops.sum(y * valid, (0, 1), keepdims=False)
        present = ops.cast(counts > 0, "float32")
        w = present * ops.sum(counts) / (classes * ops.maximum(counts, 1.0))
        return ops.expand_dims(w, 0)
    named = max(2, classes)
    resolved = resolve_class_weights(class_weights, named) or (1.0,) * named
    return ops.convert_to_tensor([resolved[-classes:]], "float32")
