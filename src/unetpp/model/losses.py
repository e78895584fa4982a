"""Losses of segmentation: each a function, and each a serialisable Keras loss.

Symbols, for one image: y is 1 where a pixel belongs to class c and else 0, p is the predicted probability
of class c, sums run over the image's pixels, w_c is the weight of class c, s is `smooth`.

    TP = sum(y p)        FP = sum((1 - y) p)        FN = sum(y (1 - p))

Every function takes

- y_true: class indices (B, ...) or (B, ..., 1), or exactly one-hot (B, ..., C). What is no index from 0 to C - 1, with
  one channel 0 or 1, does not count. Soft masks, such as antialiased edges, are not meant: with one channel, what is
  below 1 is background;
- y_pred: probabilities (B, ..., C), as from a softmax; C = 1 is a foreground probability, as from a sigmoid;
- class_weights: w_c by index, in any form `resolve_class_weights` takes, "balanced" being counted from y_true; with
  C = 1 those of background and foreground;
- ignore_index: the class whose true pixels do not count, such as 255;

computes in float32 under every precision policy, and returns one value an image: (B,) float32.

A loss over pixels is the mean over the image's pixels, weighted by each pixel's true class:
sum(w l) / sum(w). A loss over regions is computed per class, then averaged with w_c over the classes that
occur in the image's truth: a class that is absent neither helps nor harms. With nothing to count it is 0.
"""

import inspect
import re

import keras
from keras import ops

from unetpp.errors import SettingError
from unetpp.model.composed import BaseLoss, Sum, Weighted, times
from unetpp.model.regions import (
    EPSILON,
    mean_over_pixels,
    mean_over_regions,
    pixels,
    regions,
    weighted_mean,
    weights,
)
from unetpp.model.weights import BALANCED, resolve_class_weights


def crossentropy(y_true, y_pred, *, class_weights=None, ignore_index=None):
    """-log p of the true class; with one channel, of the true one of the two.

    Example:
        >>> float(crossentropy(np.array([[0, 1]]), np.array([[[0.5, 0.5], [0.0, 1.0]]]))[0])
        0.3465735912322998
    """
    return mean_over_pixels(lambda p: -ops.log(p), y_true, y_pred, class_weights, ignore_index)


def focal(y_true, y_pred, *, gamma=2.0, class_weights=None, ignore_index=None):
    """-(1 - p)^gamma log p of the true class.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    # At p = 1 the slope of a power below 1 is infinite, and its product with log 1 no number.
    return mean_over_pixels(
        lambda p: -(ops.maximum(1 - p, EPSILON) ** gamma) * ops.log(p),
        y_true, y_pred, class_weights, ignore_index,
    )  # fmt: skip


def tversky(y_true, y_pred, *, alpha=0.3, beta=0.7, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (TP + s) / (TP + alpha FP + beta FN + s).

    Source: Salehi et al., "Tversky loss function for image segmentation", MLMI 2017, equation 3.
    """
    return 1 - mean_over_regions(
        lambda tp, fp, fn: (tp + smooth) / (tp + alpha * fp + beta * fn + smooth),
        y_true, y_pred, class_weights, ignore_index, empty=1.0,
    )  # fmt: skip


def f_beta(y_true, y_pred, *, beta=1.0, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - ((1 + b^2) TP + s) / ((1 + b^2) TP + b^2 FN + FP + s), where b is `beta`.

    Source: van Rijsbergen, "Information Retrieval", 1979, chapter 7.
    """
    b2 = beta**2
    return 1 - mean_over_regions(
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
    return 1 - mean_over_regions(_dice(smooth), y_true, y_pred, class_weights, ignore_index, empty=1.0)


def iou(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - (TP + s) / (TP + FP + FN + s), the Jaccard loss.

    Source: Rahman and Wang, "Optimizing Intersection-Over-Union", ISVC 2016, equation 3.
    """
    return 1 - mean_over_regions(_iou(smooth), y_true, y_pred, class_weights, ignore_index, empty=1.0)


def log_dice(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """-log((2 TP + s) / (2 TP + FN + FP + s)): `dice` that weighs the worst classes most.

    Source: Wong et al., "3D Segmentation with Exponential Logarithmic Loss", MICCAI 2018, equation 2.
    """
    score = _dice(smooth)
    return mean_over_regions(
        lambda *counts: -ops.log(score(*counts)), y_true, y_pred, class_weights, ignore_index
    )


def log_iou(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """-log((TP + s) / (TP + FP + FN + s))."""
    score = _iou(smooth)
    return mean_over_regions(
        lambda *counts: -ops.log(score(*counts)), y_true, y_pred, class_weights, ignore_index
    )


def generalised_dice(y_true, y_pred, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - 2 sum_c(v_c TP_c) / sum_c(v_c (2 TP_c + FP_c + FN_c)), v_c = w_c / (sum(y) + s)^2.

    Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017.
    """
    tp, fp, fn, w = regions(y_true, y_pred, class_weights, ignore_index)
    v = w / ops.where(w > 0, tp + fn + smooth, 1.0) ** 2
    overlap, total = ops.sum(v * 2 * tp, -1), ops.sum(v * (2 * tp + fp + fn), -1)
    return ops.where(total > 0, 1 - overlap / ops.where(total > 0, total, 1.0), 0.0)


def lovasz(y_true, y_pred, *, class_weights=None, ignore_index=None):
    """The Lovasz extension of the Jaccard loss at the errors |y - p|, class by class.

    Sorted by falling error e, it is sum(e_i (J_i - J_{i-1})), where J_i is the Jaccard loss if exactly the
    first i pixels were wrong.

    Source: Berman et al., "The Lovasz-Softmax loss", CVPR 2018, equation 9 and algorithm 1.
    """
    y, p, valid = pixels(y_true, y_pred, ignore_index)
    w = weights(class_weights, y, valid)
    y = y * valid
    errors = ops.abs(y - p) * valid
    order = ops.argsort(-errors, axis=1)
    e, y_sorted = ops.take_along_axis(errors, order, axis=1), ops.take_along_axis(y, order, axis=1)
    total = ops.sum(y, 1, keepdims=True)
    intersection = total - ops.cumsum(y_sorted, 1)
    union = total + ops.cumsum(1 - y_sorted, 1)
    jaccard = 1 - intersection / ops.maximum(union, 1.0)
    step = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=1)
    return weighted_mean(ops.sum(e * step, 1), w * ops.cast(total[:, 0] > 0, "float32"))


def _dice(smooth):
    return lambda tp, fp, fn: (2 * tp + smooth) / (2 * tp + fp + fn + smooth)


def _iou(smooth):
    return lambda tp, fp, fn: (tp + smooth) / (tp + fp + fn + smooth)


class SegmentationLoss(BaseLoss):
    """A function of this module as a Keras loss; `a + b` is their `Sum`.

    Args:
        options: the function's keyword arguments. `class_weights` as a dict by name needs `class_names`,
            the names of the classes by index.

    Raises:
        SettingError: for an option the function has not, or weights that cannot be meant.

    Example:
        >>> loss = Dice(class_weights=[1, 50, 70]) + Focal(gamma=1.0)
        >>> [term.name for term in loss.losses]
        ['dice', 'focal']
    """

    function = staticmethod(crossentropy)

    def __init__(
        self, *, name=None, reduction="sum_over_batch_size", dtype=None, class_names=None, **options
    ):
        function = type(self).function
        super().__init__(name=name or function.__name__, reduction=reduction, dtype="float32")
        unknown = sorted(set(options) - set(inspect.signature(function).parameters))
        if unknown:
            raise SettingError(f"the loss {function.__name__} has no option {unknown[0]!r}")
        given = options.get("class_weights")
        if given is not None and not (isinstance(given, str) and given == BALANCED):
            options["class_weights"] = resolve_class_weights(given, None, class_names=class_names)
        self.options = options

    def call(self, y_true, y_pred):
        """One value an image: (B,) float32."""
        return type(self).function(y_true, y_pred, **self.options)

    def get_config(self):
        """The arguments that make this loss again."""
        return {"name": self.name, "reduction": self.reduction, **self.options}


def _loss_class(name, function):
    """The Keras loss of a function, registered under `unetpp.losses`."""
    body = {"function": staticmethod(function), "__doc__": function.__doc__, "__module__": __name__}
    return keras.saving.register_keras_serializable(package="unetpp.losses")(
        type(name, (SegmentationLoss,), body)
    )


Crossentropy = _loss_class("Crossentropy", crossentropy)
Focal = _loss_class("Focal", focal)
Tversky = _loss_class("Tversky", tversky)
FBeta = _loss_class("FBeta", f_beta)
F1 = _loss_class("F1", f1)
Dice = _loss_class("Dice", dice)
IoU = _loss_class("IoU", iou)
LogDice = _loss_class("LogDice", log_dice)
LogIoU = _loss_class("LogIoU", log_iou)
GeneralisedDice = _loss_class("GeneralisedDice", generalised_dice)
Lovasz = _loss_class("Lovasz", lovasz)

LOSSES = {cls.function.__name__: cls for cls in SegmentationLoss.__subclasses__()}


def get(identifier, **options):
    """A loss by name, or a sum such as "crossentropy + 0.5 * dice"; a loss is returned as it is.

    Args:
        identifier: names of this module's functions joined by +, each with or without a factor, one of the functions,
            or any loss.
        options: keyword arguments for every term.

    Raises:
        SettingError: for a name there is not, or options of a loss that is made already.

    Example:
        >>> [term.name for term in get("crossentropy + dice", class_weights=[1, 50, 70]).losses]
        ['crossentropy', 'dice']
    """
    if not isinstance(identifier, str):
        if own := _class_of(identifier):
            return own(**options)
        if options:
            what = f"options, such as {next(iter(options))}, are for losses by name"
            raise SettingError(what, mend="give them to the loss itself")
        return identifier
    found = [_term(text, options) for text in identifier.split("+")]
    return found[0] if len(found) == 1 else Sum(found)


def _term(text, options):
    """A loss of a name, such as "dice", or a multiple of it, such as "0.5 * dice"."""
    factor, star, name = (part.strip() for part in text.rpartition("*"))
    if name not in LOSSES or not re.fullmatch(r"\d+\.?\d*|\.\d+" if star else "", factor):
        what = f"there is no loss {text.strip()!r}"
        raise SettingError(what, mend=f"the losses are {', '.join(LOSSES)}, or multiples such as 0.5 * dice")
    loss = LOSSES[name](**options)
    return times(loss, float(factor)) if star else loss


def _class_of(function):
    """The Keras loss of a function of this module; None of anything else."""
    own = LOSSES.get(getattr(function, "__name__", ""))
    return own if own and own.function is function else None


def weighted_loss(loss, class_weights, *, class_names=None, **options):
    """Weigh any loss by class: over pixels by each pixel's true class, over regions by class.

    Args:
        loss: a name or sum of names, a function or a Loss of this module, or any other function of
            (y_true, y_pred), such as `keras.losses.categorical_crossentropy`.
        class_weights: a sequence or dict BY CLASS INDEX, or a dict by name with `class_names`.
        class_names: the names of the classes by index.
        options: further keyword arguments of a loss of this module.

    Returns:
        a serialisable Keras loss.

    Example:
        >>> weighted_loss(dice, {0: 1, 1: 50, 2: 70}).options["class_weights"]
        (1.0, 50.0, 70.0)
    """
    given = {"class_weights": class_weights, "class_names": class_names, **options}
    if isinstance(loss, str) or _class_of(loss):
        return get(loss, **given)
    if isinstance(loss, Sum):
        found = [weighted_loss(term, **given) for term in loss.losses]
        return Sum(found, name=loss.name, reduction=loss.reduction)
    if isinstance(loss, SegmentationLoss):
        return type(loss)(**{**loss.get_config(), **given})
    if options:
        what = f"{next(iter(options))} is for losses of this package, not for {loss!r}"
        raise SettingError(what, mend="leave it out, or give a loss by name")
    resolved = resolve_class_weights(class_weights, None, class_names=class_names)
    kept = {"reduction": loss.reduction} if isinstance(loss, keras.losses.Loss) else {}
    return Weighted(loss.function if isinstance(loss, Weighted) else loss, resolved, **kept)
