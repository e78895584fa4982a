"""Losses of segmentation: each a function, and each a serialisable Keras loss.

Symbols, for one image: y is 1 where a pixel belongs to class c and else 0, p is the predicted probability
of class c, sums run over the image's pixels, w_c is the weight of class c, s is `smooth`.

    TP = sum(y p)        FP = sum((1 - y) p)        FN = sum(y (1 - p))

Every function takes

- y_true: integers (B, ...) or (B, ..., 1), or one-hot (B, ..., C);
- y_pred: probabilities (B, ..., C), as from a softmax; C = 1 is a foreground probability, as from a sigmoid;
- class_weights: w_c by index, in any form `resolve_class_weights` takes, "balanced" being counted from y_true;
- ignore_index: the class whose true pixels do not count, such as 255;

computes in float32 under every precision policy, and returns one value an image: (B,) float32.

A loss over pixels is the mean over the image's pixels, weighted by each pixel's true class:
sum(w l) / sum(w). A loss over regions is computed per class, then averaged with w_c over the classes that
occur in the image's truth: a class that is absent neither helps nor harms. With nothing to count it is 0.
"""

import functools
import inspect

import keras
import numpy as np
from keras import ops

from unetpp.errors import SettingError
from unetpp.model.weights import resolve_class_weights

EPSILON = 1e-7


def crossentropy(y_true, y_pred, *, class_weights=None, ignore_index=None):
    """-log p of the true class; with one channel, of the true one of the two.

    Example:
        >>> float(crossentropy(np.array([[0, 1]]), np.array([[[0.5, 0.5], [0.0, 1.0]]]))[0])
        0.3465735912322998
    """
    return _mean_over_pixels(lambda p: -ops.log(p), y_true, y_pred, class_weights, ignore_index)


def focal(y_true, y_pred, *, gamma=2.0, class_weights=None, ignore_index=None):
    """-(1 - p)^gamma log p of the true class.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    return _mean_over_pixels(
        lambda p: -((1 - p) ** gamma) * ops.log(p), y_true, y_pred, class_weights, ignore_index
    )


def tversky(y_true, y_pred, *, alpha=0.3, beta=0.7, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (TP + s) / (TP + alpha FP + beta FN + s).

    Source: Salehi et al., "Tversky loss function for image segmentation", MLMI 2017, equation 3.
    """
    return 1 - _mean_over_regions(
        lambda tp, fp, fn: (tp + smooth) / (tp + alpha * fp + beta * fn + smooth),
        y_true, y_pred, class_weights, ignore_index, empty=1.0,
    )  # fmt: skip


def f_beta(y_true, y_pred, *, beta=1.0, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - ((1 + b^2) TP + s) / ((1 + b^2) TP + b^2 FN + FP + s), where b is `beta`.

    Source: van Rijsbergen, "Information Retrieval", 1979, chapter 7.
    """
    b2 = beta**2
    return 1 - _mean_over_regions(
        lambda tp, fp, fn: ((1 + b2) * tp + smooth) / ((1 + b2) * tp + b2 * fn + fp + smooth),
        y_true, y_pred, class_weights, ignore_index, empty=1.0,
    )  # fmt: skip


def f1(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (2 TP + s) / (2 TP + FN + FP + s): F-beta at beta = 1, and the same as `dice`."""
    return f_beta(y_true, y_pred, smooth=smooth, class_weights=class_weights, ignore_index=ignore_index)


def dice(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (2 sum(y p) + s) / (sum(y) + sum(p) + s), the Sorensen-Dice loss.

    Source: Milletari et al., "V-Net", 3DV 2016, section 3, without the squares.

    Example:
        >>> float(dice(np.array([[0, 1]]), np.array([[[1.0, 0.0], [0.0, 1.0]]]))[0])
        0.0
    """
    return 1 - _mean_over_regions(_dice(smooth), y_true, y_pred, class_weights, ignore_index, empty=1.0)


def iou(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (TP + s) / (TP + FP + FN + s), the Jaccard loss.

    Source: Rahman and Wang, "Optimizing Intersection-Over-Union", ISVC 2016, equation 3.
    """
    return 1 - _mean_over_regions(_iou(smooth), y_true, y_pred, class_weights, ignore_index, empty=1.0)


def log_dice(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """-log((2 TP + s) / (2 TP + FN + FP + s)): `dice` that weighs the worst classes most.

    Source: Wong et al., "3D Segmentation with Exponential Logarithmic Loss", MICCAI 2018, equation 2.
    """
    score = _dice(smooth)
    return _mean_over_regions(lambda *counts: -ops.log(score(*counts)), y_true, y_pred, class_weights, ignore_index)


def log_iou(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """-log((TP + s) / (TP + FP + FN + s))."""
    score = _iou(smooth)
    return _mean_over_regions(lambda *counts: -ops.log(score(*counts)), y_true, y_pred, class_weights, ignore_index)


def generalised_dice(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - 2 sum_c(v_c TP_c) / sum_c(v_c (2 TP_c + FP_c + FN_c)), v_c = w_c / (sum(y) + s)^2.

    Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017.
    """
    tp, fp, fn, w = _regions(y_true, y_pred, class_weights, ignore_index)
    v = w / (tp + fn + smooth) ** 2
    overlap, total = ops.sum(v * 2 * tp, -1), ops.sum(v * (2 * tp + fp + fn), -1)
    return ops.where(total > 0, 1 - overlap / ops.where(total > 0, total, 1.0), 0.0)


def lovasz(y_true, y_pred, *, class_weights=None, ignore_index=None):
    """The Lovasz extension of the Jaccard loss at the errors |y - p|, class by class.

    Sorted by falling error e, it is sum(e_i (J_i - J_{i-1})), where J_i is the Jaccard loss if exactly the
    first i pixels were wrong.

    Source: Berman et al., "The Lovasz-Softmax loss", CVPR 2018, equation 9 and algorithm 1.
    """
    y, p, valid = _pixels(y_true, y_pred, ignore_index)
    w = _weights(class_weights, y, valid)
    y = y * valid
    errors = ops.abs(y - p) * valid
    order = ops.argsort(-errors, axis=1)
    e, y_sorted = ops.take_along_axis(errors, order, axis=1), ops.take_along_axis(y, order, axis=1)
    total = ops.sum(y, 1, keepdims=True)
    intersection = total - ops.cumsum(y_sorted, 1)
    union = total + ops.cumsum(1 - y_sorted, 1)
    jaccard = 1 - intersection / ops.maximum(union, 1.0)
    step = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=1)
    return _weighted_mean(ops.sum(e * step, 1), w * ops.cast(total[:, 0] > 0, "float32"))


def _dice(smooth):
    return lambda tp, fp, fn: (2 * tp + smooth) / (2 * tp + fp + fn + smooth)


def _iou(smooth):
    return lambda tp, fp, fn: (tp + smooth) / (tp + fp + fn + smooth)


def _mean_over_pixels(loss, y_true, y_pred, class_weights, ignore_index):
    """sum(w l(p)) / sum(w), p the probability of the true class."""
    y, p, valid = _pixels(y_true, y_pred, ignore_index)
    if p.shape[-1] == 1:
        y, p = ops.concatenate([1 - y, y], -1), ops.concatenate([1 - p, p], -1)
    w = _weights(class_weights, y, valid)
    p_true = ops.clip(ops.sum(y * p, -1), EPSILON, 1.0)
    pixel_weights = ops.sum(y * ops.expand_dims(w, 1), -1) * valid[..., 0]
    return _weighted_mean(loss(p_true), pixel_weights)


def _mean_over_regions(score, y_true, y_pred, class_weights, ignore_index, *, empty=0.0):
    """sum_c(w_c score_c) / sum_c(w_c) over the classes the image shows; `empty` if it shows none."""
    tp, fp, fn, w = _regions(y_true, y_pred, class_weights, ignore_index)
    return _weighted_mean(score(tp, fp, fn), w, empty)


def _regions(y_true, y_pred, class_weights, ignore_index):
    """TP, FP, FN and the weight, 0 where absent, of each class: four of (B, C)."""
    y, p, valid = _pixels(y_true, y_pred, ignore_index)
    w = _weights(class_weights, y, valid)
    y, p = y * valid, p * valid
    tp, true = ops.sum(y * p, 1), ops.sum(y, 1)
    return tp, ops.sum(p, 1) - tp, true - tp, w * ops.cast(true > 0, "float32")


def _weighted_mean(values, weights, empty=0.0):
    """sum(w v) / sum(w) along the last axis; `empty` where the weights are all 0."""
    total = ops.sum(weights, -1)
    some = total > 0
    return ops.where(some, ops.sum(weights * values, -1) / ops.where(some, total, 1.0), empty)


def _pixels(y_true, y_pred, ignore_index):
    """Truth and probabilities (B, N, C) and whether each pixel counts (B, N, 1), all float32."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, "float32")
    classes = y_pred.shape[-1]
    p = ops.reshape(y_pred, (ops.shape(y_pred)[0], -1, classes))
    rows = ops.shape(p)[0]
    one_hot = len(y_true.shape) == len(y_pred.shape) and classes > 1 and y_true.shape[-1] == classes
    if one_hot:
        y = ops.cast(ops.reshape(y_true, (rows, -1, classes)), "float32")
        valid = ops.ones_like(y[..., :1]) if ignore_index is None else 1 - _channel(y, ignore_index)
        return y, p, valid
    index = ops.cast(ops.reshape(y_true, (rows, -1, 1)), "float32")
    valid = ops.ones_like(index) if ignore_index is None else ops.cast(index != ignore_index, "float32")
    numbers = np.arange(1, 2) if classes == 1 else np.arange(classes)
    return ops.cast(index == ops.cast(numbers, "float32"), "float32"), p, valid


def _channel(y, index):
    """Channel `index` of (B, N, C), or zeros if there is none."""
    return y[..., index : index + 1] if 0 <= index < y.shape[-1] else ops.zeros_like(y[..., :1])


def _weights(class_weights, y, valid):
    """Weights by class, (1 or B, C): a single foreground channel stands for one class."""
    classes = y.shape[-1]
    if isinstance(class_weights, str) and class_weights == "balanced":
        counts = ops.sum(y * valid, (0, 1), keepdims=False)
        present = ops.cast(counts > 0, "float32")
        w = present * ops.sum(counts) / (classes * ops.maximum(counts, 1.0))
        return ops.expand_dims(w, 0)
    weights = resolve_class_weights(class_weights, classes) or (1.0,) * classes
    return ops.convert_to_tensor([weights], "float32")


FUNCTIONS = {
    function.__name__: function
    for function in (
        crossentropy, focal, tversky, f_beta, f1, dice, iou, log_dice, log_iou, generalised_dice, lovasz,
    )
}  # fmt: skip


@keras.saving.register_keras_serializable(package="unetpp")
class SegmentationLoss(keras.losses.Loss):
    """A function of this module as a Keras loss; `a + b` is their `Sum`.

    Args:
        function: its name.
        options: its keyword arguments; dict weights by name need `class_names`.

    Example:
        >>> loss = SegmentationLoss("dice", class_weights=[1, 50, 70]) + SegmentationLoss("focal", gamma=1.0)
        >>> [term.name for term in loss.losses]
        ['dice', 'focal']
    """

    def __init__(self, function, *, name=None, reduction="sum_over_batch_size", dtype=None, class_names=None, **options):
        super().__init__(name=name or function, reduction=reduction, dtype="float32")
        if function not in FUNCTIONS:
            raise SettingError(f"there is no loss {function!r}", mend=f"the losses are {', '.join(FUNCTIONS)}")
        unknown = set(options) - set(inspect.signature(FUNCTIONS[function]).parameters)
        if unknown:
            raise SettingError(f"the loss {function!r} has no option {sorted(unknown)[0]!r}")
        weights = options.get("class_weights")
        if weights is not None and not isinstance(weights, str):
            names = class_names or (list(weights) if hasattr(weights, "keys") else None)
            names = class_names if class_names else None
            options["class_weights"] = resolve_class_weights(weights, len(weights), class_names=names)
        self.function, self.options = function, options

    def call(self, y_true, y_pred):
        """(B,) float32."""
        return FUNCTIONS[self.function](y_true, y_pred, **self.options)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss. Integer masks keep their integers: no float cast of the truth is needed."""
        values = self.call(y_true, y_pred)
        if sample_weight is not None:
            values = values * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        reduce = {"sum_over_batch_size": ops.mean, "mean": ops.mean, "sum": ops.sum}
        return reduce[self.reduction](values) if self.reduction in reduce else values

    def __add__(self, other):
        return Sum([*getattr(self, "losses", [self]), *getattr(other, "losses", [other])])

    def get_config(self):
        """The arguments that make this loss again."""
        return {"function": self.function, "name": self.name, "reduction": self.reduction, **self.options}


@keras.saving.register_keras_serializable(package="unetpp")
class Sum(keras.losses.Loss):
    """The sum of losses.

    Args:
        losses: Keras losses.
    """

    def __init__(self, losses, *, name="sum", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.losses = list(losses)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The sum of the reduced losses."""
        return sum(loss(y_true, y_pred, sample_weight=sample_weight) for loss in self.losses)

    def call(self, y_true, y_pred):
        """(B,) float32."""
        return sum(loss.call(y_true, y_pred) for loss in self.losses)

    __add__ = SegmentationLoss.__add__

    def get_config(self):
        """The arguments that make this loss again."""
        return {"losses": [keras.saving.serialize_keras_object(loss) for loss in self.losses], "name": self.name}

    @classmethod
    def from_config(cls, config):
        """The loss that `get_config` describes."""
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config.pop("losses")]
        return cls(losses, **config)


def get(identifier, **options):
    """A loss by name, or a sum such as "crossentropy + dice"; anything else is returned as it is.

    Args:
        identifier: names of this module's losses joined by +, or a loss.
        options: for every term.

    Raises:
        SettingError: for a name there is not.
    """
    if not isinstance(identifier, str):
        return identifier
    terms = [SegmentationLoss(name.strip(), **options) for name in identifier.split("+")]
    return terms[0] if len(terms) == 1 else Sum(terms)
