"""Scores of hard labels as streaming Keras metrics, per class or as their mean.

A pixel counts for its most probable class; with one channel, as foreground from one half on. Over all
images seen, tp, fp and fn are the pixels of a class that are found, found wrongly, and missed.
"""

import keras
import numpy as np
from keras import ops

from unetpp.errors import SettingError
from unetpp.model.regions import check_shapes, has_rank

# Counts are kept as high * UNIT + low, both int32: exact up to 2e15 pixels on every backend.
UNIT = 2**20


def precision(tp, fp, fn):
    """tp / (tp + fp)."""
    return tp, tp + fp


def recall(tp, fp, fn):
    """tp / (tp + fn)."""
    return tp, tp + fn


def dice(tp, fp, fn):
    """2 tp / (2 tp + fp + fn), the same as F1."""
    return 2 * tp, 2 * tp + fp + fn


def iou(tp, fp, fn):
    """tp / (tp + fp + fn)."""
    return tp, tp + fp + fn


class SegmentationMetric(keras.metrics.Metric):
    """A score of each class, pooled over all pixels seen; sample weights have no effect.

    Args:
        num_classes: channels of the predictions; 1 for a foreground probability.
        class_index: the class to score; None for the mean over the classes that the score is defined for.
        ignore_index: the value of true pixels that do not count.

    `update_state` takes integers (B, ...), (B, ..., 1) or one-hot (B, ..., C), and probabilities (B, ..., C).
    Labels that are no class do not count. A score that is defined for no class is 0.

    Raises:
        SettingError: for a class that is not there, for predictions of other than `num_classes` channels, and for
            masks of another height or width than the predictions.
    """

    score = staticmethod(iou)

    def __init__(self, num_classes, class_index=None, ignore_index=None, name=None, dtype=None):
        super().__init__(name=name or type(self).__name__.lower(), dtype=dtype)
        if class_index is not None and not 0 <= class_index < num_classes:
            raise SettingError(
                f"class_index cannot be {class_index}", mend=f"give one from 0 to {num_classes - 1}, or None"
            )
        # What callbacks look for, such as keras.callbacks.EarlyStopping: the highest.
        self._direction = "up"
        self.num_classes, self.class_index, self.ignore_index = num_classes, class_index, ignore_index
        # Rows: tp, predicted, true; the last axis: low, high.
        shape = (3, num_classes, 2)
        self.counts = self.add_variable(shape, initializer="zeros", dtype="int32", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch."""
        true, predicted, valid = self._labels(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
        numbers = ops.cast(np.arange(1, 2) if self.num_classes == 1 else np.arange(self.num_classes), "int32")
        y = ops.logical_and(ops.expand_dims(true, -1) == numbers, ops.expand_dims(valid, -1))
        p = ops.logical_and(ops.expand_dims(predicted, -1) == numbers, ops.expand_dims(valid, -1))
        pixels = [ops.sum(ops.cast(found, "int32"), 0) for found in (ops.logical_and(y, p), p, y)]
        low = self.counts[..., 0] + ops.cast(ops.stack(pixels), "int32")
        carried = ops.floor_divide(low, UNIT)
        self.counts.assign(ops.stack([low - carried * UNIT, self.counts[..., 1] + carried], -1))

    def _labels(self, y_true, y_pred):
        """True and predicted classes and whether they count: three of (N,)."""
        check_shapes(y_true.shape, y_pred.shape)
        check_channels(self.num_classes, y_true.shape, y_pred.shape)
        if self.num_classes == 1:
            predicted = ops.cast(ops.reshape(y_pred, (-1,)) >= 0.5, "int32")
        else:
            predicted = ops.cast(ops.reshape(ops.argmax(y_pred, -1), (-1,)), "int32")
        one_hot = self.num_classes > 1 and len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] != 1
        true = ops.cast(ops.reshape(ops.argmax(y_true, -1) if one_hot else y_true, (-1,)), "int32")
        valid = ops.logical_and(true >= 0, true < max(2, self.num_classes))
        if self.ignore_index is not None:
            valid = ops.logical_and(valid, true != self.ignore_index)
        return true, predicted, valid

    def result(self):
        """The score, or its mean: a float32 scalar."""
        counts = ops.cast(self.counts, "float32")
        tp, predicted, true = ops.unstack(counts[..., 1] * UNIT + counts[..., 0], 3)
        part, whole = type(self).score(tp, predicted - tp, true - tp)
        defined = ops.cast(whole > 0, "float32")
        scores = part / ops.maximum(whole, 1.0)
        if self.class_index is not None:
            return scores[self.class_index]
        return ops.sum(scores * defined) / ops.maximum(ops.sum(defined), 1.0)

    def get_config(self):
        """The arguments that make this metric again."""
        own = ("num_classes", "class_index", "ignore_index", "name")
        return {key: getattr(self, key) for key in own}


def check_channels(num_classes, true, predicted) -> None:
    """Refuse predictions of other than `num_classes` channels; one may be without its axis, as masks are.

    Raises:
        SettingError: as far as the channels are known before a step.
    """
    if not (has_rank(true) and has_rank(predicted)) or predicted[-1] in (None, num_classes):
        return
    if num_classes == 1 and len(true) == len(predicted) < 4 and true[-1] == predicted[-1]:
        return
    raise SettingError(
        f"num_classes is {num_classes}, and the predictions have {predicted[-1]} channels",
        mend=f"give num_classes={predicted[-1]}",
    )


@keras.saving.register_keras_serializable(package="unetpp.metrics")
class IoU(SegmentationMetric):
    """Intersection over union."""

    score = staticmethod(iou)


@keras.saving.register_keras_serializable(package="unetpp.metrics")
class Dice(SegmentationMetric):
    """Sorensen-Dice, the same as F1."""

    score = staticmethod(dice)


@keras.saving.register_keras_serializable(package="unetpp.metrics")
class Precision(SegmentationMetric):
    """The share of what was found that is right."""

    score = staticmethod(precision)


@keras.saving.register_keras_serializable(package="unetpp.metrics")
class Recall(SegmentationMetric):
    """The share of what is there that was found."""

    score = staticmethod(recall)
