"""Losses made of other losses: sums, and any function weighted by class."""

import keras
from keras import ops

from unetpp.errors import SettingError
from unetpp.model.regions import has_rank, pixels, weighted_mean, weights, with_background
from unetpp.model.weights import resolve_class_weights


class BaseLoss(keras.losses.Loss):
    """What the losses of this package share: a value an image, (B,) float32, and arithmetic.

    `a + b` is a sum and `2 * a` a multiple, also of sums with losses of Keras.
    """

    # Whether no loss of others is in it, which may have one value for the whole batch.
    each_image = True

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The mean of the images' values, weighted by `sample_weight` (B,).

        Raises:
            SettingError: for a weight a pixel, and for weights of a value that all images share.
        """
        if sample_weight is not None:
            sample_weight = one_an_image(sample_weight, y_pred)
            check_by_image(self, y_true, y_pred)
        return super().__call__(y_true, y_pred, sample_weight)

    def __add__(self, other):
        return add(self, other)

    def __radd__(self, other):
        # As `sum` begins with 0.
        return self if isinstance(other, int) and other == 0 else add(other, self)

    def __mul__(self, factor):
        return times(self, factor)

    __rmul__ = __mul__


@keras.saving.register_keras_serializable(package="unetpp.losses")
class Sum(BaseLoss):
    """The sum of losses.

    Args:
        losses: Keras losses.
        reduction: of the sum's values; by default that of the losses.

    Raises:
        SettingError: if the losses differ in theirs, and none is given.
    """

    def __init__(self, losses, *, name="sum", reduction="shared", dtype=None):
        self.losses = list(losses)
        reduction = shared_reduction(self.losses) if reduction == "shared" else reduction
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true, y_pred):
        """One value an image, (B,) float32; what a loss has one of for the whole batch is each image's."""
        total = sum(by_image(loss.call(y_true, y_pred)) for loss in self.losses)
        return ops.broadcast_to(total, (ops.shape(y_pred)[0],))

    def get_config(self):
        """The arguments that make this loss again."""
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        """The loss that `get_config` describes."""
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(losses, name=config["name"], reduction=config["reduction"])


@keras.saving.register_keras_serializable(package="unetpp.losses")
class Multiple(BaseLoss):
    """A loss times a number, such as a term of a sum that counts less than the others.

    Args:
        loss: a Keras loss.
        factor: above 0.

    Raises:
        SettingError: for another factor.
    """

    def __init__(self, loss, factor, *, name=None, reduction=None, dtype=None):
        if not (isinstance(factor, (int, float)) and 0 < factor < float("inf")):
            raise SettingError(f"a loss cannot be multiplied by {factor!r}", mend="give a number above 0")
        super().__init__(name=name or loss.name, reduction=reduction or loss.reduction, dtype="float32")
        self.loss, self.factor = loss, factor
        self.each_image = getattr(loss, "each_image", False)

    def call(self, y_true, y_pred):
        """One value an image, (B,) float32, or for the whole batch, as the loss has."""
        return self.factor * by_image(self.loss.call(y_true, y_pred))

    def get_config(self):
        """The arguments that make this loss again."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "factor": self.factor, "name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        """The loss that `get_config` describes."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


@keras.saving.register_keras_serializable(package="unetpp.losses")
class Weighted(BaseLoss):
    """Any other loss function, weighted by class.

    A function of (y_true, y_pred) that returns a value a pixel is weighted by each pixel's true class; one
    that returns fewer is applied to each class's channel, and averaged over the classes each image shows,
    or each batch if it returns one value for all images.

    Args:
        function: a registered Keras function or loss, or a built-in one.
        class_weights: by class index.
    """

    each_image = False

    def __init__(
        self, function, class_weights, *, name="weighted", reduction="sum_over_batch_size", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.function = function
        self.class_weights = resolve_class_weights(class_weights, len(class_weights))

    def call(self, y_true, y_pred):
        """One value an image, (B,), or one in all, (1,): float32."""
        # A single channel of foreground, whose masks may have no axis for it.
        if y_pred.shape[-1] == 1 and len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = ops.expand_dims(y_true, -1)
        # Of a loss its values, not their mean.
        function = getattr(self.function, "call", self.function)
        values = function(y_true, y_pred)
        y, p, valid = pixels(y_true, y_pred, None)
        if len(values.shape) == len(y_pred.shape) - 1:
            y = with_background(y)
            w = weights(self.class_weights, y, valid)
            true_weights = ops.sum(y * ops.expand_dims(w, 1), -1)
            return weighted_mean(
                ops.reshape(ops.cast(values, "float32"), ops.shape(true_weights)), true_weights
            )
        channels = [slice(c, c + 1) for c in range(p.shape[-1])]
        w = weights(self.class_weights, y, valid)
        # As images, of which a function may name the axes.
        truth, p = (ops.reshape(each, ops.shape(y_pred)) for each in (y, p))
        by_class = [function(truth[..., c], p[..., c]) for c in channels]
        alone = all(len(each.shape) and each.shape[0] == y_pred.shape[0] for each in by_class)
        by_class = ops.stack([by_image(each) if alone else ops.mean(each) for each in by_class], -1)
        present = ops.cast(ops.sum(y, 1 if alone else (0, 1)) > 0, "float32")
        return weighted_mean(ops.reshape(by_class, (-1, y.shape[-1])), w * present)

    def get_config(self):
        """The arguments that make this loss again."""
        function = keras.saving.serialize_keras_object(self.function)
        config = {"function": function, "class_weights": self.class_weights}
        return config | {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        """The loss that `get_config` describes."""
        return cls(**config | {"function": keras.saving.deserialize_keras_object(config["function"])})


def one_an_image(sample_weight, y_pred):
    """Sample weights as (B,), also of one for all; Keras would stretch those of pixels over images, or fail.

    Raises:
        SettingError: for a weight a pixel, as far as that is known before a step.
    """
    sample_weight = ops.convert_to_tensor(sample_weight)
    known = has_rank(sample_weight.shape)
    sides = tuple(sample_weight.shape)[1:] if known else ()
    if any(side not in (None, 1) for side in sides):
        raise SettingError(
            f"sample_weight is one an image, not {' x '.join(map(str, sides))}",
            mend="weigh classes by the loss' class_weights, and leave pixels out by its ignore_index",
        )
    rows = (ops.shape(y_pred)[0],)
    if known and not len(sample_weight.shape):
        return ops.broadcast_to(sample_weight, rows)
    return ops.reshape(sample_weight, rows)


def check_by_image(loss, y_true, y_pred):
    """Refuse to weigh images where a loss has one value for all: those of weight 0 would be learnt from.

    Raises:
        SettingError: naming the loss.
    """
    for term in terms(loss):
        if getattr(term, "each_image", False):
            continue
        # Only the shape is looked at.
        shape = term.call(*(ops.convert_to_tensor(each, "float32") for each in (y_true, y_pred))).shape
        if not len(shape) or shape[0] == 1 != y_pred.shape[0]:
            raise SettingError(
                f"sample_weight weighs images, and {term.name} has one value for the whole batch",
                mend="take a loss with a value an image, such as keras.losses.Dice(axis=(1, 2, 3))",
            )


def by_image(values):
    """The mean of each image's values, of which Keras' own losses have one a pixel: (B, ...) -> (B,) float32.

    Values that do not count, as Keras marks those of an `ignore_class`, are left out. One in all, (), stays one.
    """
    counts = getattr(values, "_keras_mask", None)
    values = ops.cast(values, "float32")
    if len(values.shape) < 2:
        return values
    rows = ops.reshape(values, (ops.shape(values)[0], -1))
    w = ops.ones_like(rows) if counts is None else ops.cast(ops.reshape(counts, ops.shape(rows)), "float32")
    return weighted_mean(rows, w)


def add(loss, other):
    """The sum of two losses, of which either may be a sum.

    Raises:
        SettingError: if one of them is no Keras loss, or their reductions differ.
    """
    for each in (loss, other):
        if not isinstance(each, keras.losses.Loss):
            raise SettingError(f"{each!r} is no loss to add", mend="give losses, such as keras.losses.Dice()")
    return Sum([*terms(loss), *terms(other)], reduction=shared_reduction([loss, other]))


def times(loss, factor):
    """A multiple of a loss; of a sum, the sum of its terms' multiples."""
    if isinstance(loss, Sum):
        return Sum([times(term, factor) for term in loss.losses], reduction=loss.reduction)
    if isinstance(loss, Multiple):
        return times(loss.loss, factor * loss.factor)
    return Multiple(loss, factor)


def shared_reduction(losses):
    """What the losses make of their values, such as "sum".

    Raises:
        SettingError: if they differ.
    """
    found = list(dict.fromkeys(loss.reduction for loss in losses))
    if len(found) > 1:
        raise SettingError(
            f"losses cannot add up whose reductions are {' and '.join(map(repr, found))}",
            mend="give all of them the same",
        )
    return found[0]


def terms(loss):
    """The terms of a sum, or the loss alone."""
    return loss.losses if isinstance(loss, Sum) else [loss]


def ignored(loss) -> int | None:
    """The class whose true pixels no term of a loss counts, if there is one."""
    found = {_ignored(term) for term in terms(loss)}
    return found.pop() if len(found) == 1 else None


def _ignored(term) -> int | None:
    """What one term does not count: `ignore_index` of this package, `ignore_class` of Keras."""
    term = term.loss if isinstance(term, Multiple) else term
    term = term.function if isinstance(term, Weighted) else term
    return getattr(term, "options", {}).get("ignore_index", getattr(term, "ignore_class", None))
