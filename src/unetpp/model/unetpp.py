"""UNet++ (Zhou et al., 2018 and 2020): a U-Net whose skips are nested convolution blocks.

X[i, j] is the node at level i (0 = full resolution) and column j::

    X[i, 0] = block(pool(X[i-1, 0]))
    X[i, j] = block(concat(up(X[i+1, j-1]), X[i, 0], ..., X[i, j-1]))        j = 1 .. depth - 1 - i
"""

import keras
from keras import layers, ops

from unetpp.errors import SettingError
from unetpp.model import losses, metrics
from unetpp.model.blocks import block, check_settings, head, plain, pool, up
from unetpp.model.policy import policy
from unetpp.model.sizes import crop_to, pad_to_multiple
from unetpp.model.weights import resolve_class_weights

FILTERS = (32, 64, 128, 256, 512)
CLASS_WEIGHTS = (1.0, 50.0, 70.0)
# Of a configuration, what is no argument.
STATE = ("frozen", "dtype")


@keras.saving.register_keras_serializable(package="unetpp")
class UNetPP(keras.Model):
    """The nested U-Net, a `keras.Model` from images to class probabilities.

    Args:
        input_shape: (height, width, channels). Height and width may be None: any multiple of
            2 ** (len(filters) - 1) then fits. A fixed size that is no such multiple is padded by
            reflection inside the network and cropped back.
        num_classes: channels of the output: softmax over the classes, background included, or 1 for
            a single foreground class with a sigmoid.
        filters: the width of each level, 2 to 6 levels.
        inner_filters: the width of the nodes between the encoder and the outermost nodes: a number,
            "level" for the papers' filters[i], or None for filters[0].
        activation: "leaky_relu" (slope 0.01) or any other Keras activation by name.
        dropout: the share dropped at the end of each block, and within the encoder's blocks.
        normalization: "batch", "group" or None.
        upsampling: "transposed" convolution, or "bilinear" and a 1x1 convolution.
        deep_supervision: give every X[0, 1..] a head. The output is then a list of probabilities, the
            deepest last; `compile` trains all heads alike and measures the last one.
        kernel_regularizer: a Keras regulariser of the convolutions.

    Input: normalised floats (batch, height, width, channels). Output: float32 probabilities
    (batch, height, width, num_classes).

    Raises:
        SettingError: for a setting no network can be built from.

    Example:
        >>> unet = UNetPP((64, 64, 3), num_classes=3, filters=(4, 8, 16))
        >>> unet.output_shape
        (None, 64, 64, 3)

    Source: Zhou et al., "UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image
    Segmentation", IEEE TMI 2020, equation 1.
    """

    def __init__(
        self,
        input_shape=(512, 512, 3),
        num_classes=3,
        *,
        filters=FILTERS,
        inner_filters=None,
        activation="leaky_relu",
        dropout=0.2,
        normalization="batch",
        upsampling="transposed",
        deep_supervision=False,
        kernel_regularizer=None,
        name=None,
    ):
        config = plain(
            {
                "input_shape": tuple(input_shape),
                "num_classes": num_classes,
                "filters": tuple(filters),
                "inner_filters": inner_filters,
                "activation": activation,
                "dropout": dropout,
                "normalization": normalization,
                "upsampling": upsampling,
                "deep_supervision": deep_supervision,
                "kernel_regularizer": keras.regularizers.get(kernel_regularizer),
            }
        )
        check_settings(config)
        inputs = keras.Input(config["input_shape"], name="image")
        outputs = self._outputs(inputs, config)
        super().__init__(inputs, outputs, name=name or type(self).__name__.lower())
        self._settings = config

    @staticmethod
    def nodes(depth):
        """The grid's nodes (i, j) beyond the encoder, each after all that it needs."""
        return [(i, j) for j in range(1, depth) for i in range(depth - j)]

    @classmethod
    def _outputs(cls, inputs, config):
        depth = len(config["filters"])
        x = cls._grid(pad_to_multiple(inputs, 2 ** (depth - 1)), config)
        top = range(1, depth) if config["deep_supervision"] else [depth - 1]
        heads = [head(x[0, j], config["num_classes"], name=f"head_{j}") for j in top]
        outputs = [crop_to(probabilities, config["input_shape"]) for probabilities in heads]
        return outputs if config["deep_supervision"] else outputs[0]

    @classmethod
    def _grid(cls, inputs, config):
        """Every node of the grid by its place: {(i, j): tensor}."""
        filters, depth = config["filters"], len(config["filters"])
        regularizer = config["kernel_regularizer"]
        options = {key: config[key] for key in ("activation", "dropout", "normalization")}
        x: dict[tuple[int, int], keras.KerasTensor] = {}
        for i, width in enumerate(filters):
            below = inputs if i == 0 else pool(x[i - 1, 0], name=f"pool_{i}")
            inner = i < depth - 1
            x[i, 0] = block(
                below, width, inner_dropout=inner, regularizer=regularizer, name=f"x_{i}_0", **options
            )
        for i, j in cls.nodes(depth):
            width = node_width(i, j, filters, config["inner_filters"])
            name = f"x_{i}_{j}"
            raised = up(
                x[i + 1, j - 1],
                width,
                upsampling=config["upsampling"],
                regularizer=regularizer,
                name=f"{name}_up",
            )
            skips = [x[i, k] for k in range(j) if (i, k) in x]
            joined = layers.Concatenate(name=f"{name}_concat")([raised, *skips])
            x[i, j] = block(joined, width, inner_dropout=False, regularizer=regularizer, name=name, **options)
        return x

    def pruned(self, level):
        """The network cut off after X[0, level], a `keras.Model` that shares these weights.

        Args:
            level: 1 (the shallowest) to len(filters) - 1 (the whole network).

        Raises:
            SettingError: for a level without a head; all levels have one with `deep_supervision`.
        """
        try:
            output = self.get_layer(f"head_{level}").output
        except ValueError:
            have = [
                layer.name.removeprefix("head_") for layer in self.layers if layer.name.startswith("head_")
            ]
            raise SettingError(
                f"level {level} has no head (levels with one: {', '.join(have)})",
                mend="train with deep_supervision=True to prune",
            ) from None
        return keras.Model(
            self.input, crop_to(output, self._settings["input_shape"]), name=f"{self.name}_l{level}"
        )

    def compile(
        self, optimizer=None, loss=None, metrics=None, *, class_weights=None, head_weights=None, **kwargs
    ):
        """Compile; by default Adam 5e-4 on class-weighted crossentropy - log IoU - log Dice.

        Args:
            optimizer: as in Keras; None for Adam with a learning rate of 5e-4.
            loss: a Keras loss, or a name or a sum of names of `unetpp.model.losses`.
            metrics: as in Keras; None for the mean Dice and IoU over the classes, of the pixels that the loss does not
                ignore.
            class_weights: weights of the default loss, by class index, so not with `loss`. None: 1 / 50 / 70 with
                three classes (background, blood cell, bacteria), else all alike.
            head_weights: with deep supervision, how much each head's loss counts, the shallowest first; None for
                all alike. Only their ratios matter.
            kwargs: passed to `keras.Model.compile`. `jit_compile` is off by default: XLA halves the
                speed on a CPU.

        Raises:
            SettingError: for weights that cannot be meant.
        """
        num_classes = self._settings["num_classes"]
        heads = len(self.outputs)
        weights = [1.0] * heads if head_weights is None else list(head_weights)
        if len(weights) != heads or min(weights) < 0 or not sum(weights):
            raise SettingError(
                f"head_weights cannot be {head_weights!r}", mend=f"give {heads} numbers from 0 on, not all 0"
            )
        self._head_weights = tuple(weight / sum(weights) for weight in weights)
        if loss is not None and class_weights is not None:
            raise SettingError(
                "class_weights weigh the default loss alone",
                mend="give loss=unetpp.losses.get(NAME, class_weights=...) instead",
            )
        if loss is None:
            if class_weights is None and num_classes == len(CLASS_WEIGHTS):
                class_weights = CLASS_WEIGHTS
            if not isinstance(class_weights, str):
                class_weights = resolve_class_weights(class_weights, max(2, num_classes))
            loss = losses.get("crossentropy + log_iou + log_dice", class_weights=class_weights)
        else:
            # A function of ours, too: Keras' wrapper would take a single channel for none.
            loss = named_loss(loss) if isinstance(loss, str) else losses.get(loss)
        if keras.backend.backend() == "tensorflow" and kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = False
        super().compile(
            optimizer=keras.optimizers.Adam(5e-4) if optimizer is None else optimizer,
            loss=loss,
            metrics=default_metrics(num_classes, losses.ignored(loss)) if metrics is None else metrics,
            **kwargs,
        )

    def make_train_function(self, force=False):
        """Keras' step, for an optimiser that has its variables: in its first step TensorFlow would trace it twice."""
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def get_compile_config(self):
        """What `compile_from_config` compiles by."""
        config = super().get_compile_config()
        if not config:
            return config
        # What is off on TensorFlow shall not be off where another backend loads this.
        jit = config.get("jit_compile") or "auto"
        return {**config, "head_weights": self._head_weights, "jit_compile": jit}

    def compile_from_config(self, config):
        """Compile as a saved model was."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted mean of the loss over the heads, plus the regularisation.

        Raises:
            SettingError: for a sample weight a pixel; a loss of this package is a value an image.
        """
        heads = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
        if sample_weight is not None and isinstance(self.loss, losses.Own):
            sample_weight = one_an_image(sample_weight, heads[0])
        losses_of = [super(UNetPP, self).compute_loss(x, y, p, sample_weight, training) for p in heads]
        return sum(weight * loss for weight, loss in zip(self._head_weights, losses_of, strict=True))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of the deepest head."""
        deepest = y_pred[-1] if isinstance(y_pred, (list, tuple)) else y_pred
        return super().compute_metrics(x, y, deepest, sample_weight)

    def get_config(self):
        """The arguments that build this network again; if there are any, its layers that do not learn; its precision.

        The last two are there if they are not as usual: `frozen`, names, and `dtype`, Keras' policy, if not float32.
        """
        regularizer = self._settings["kernel_regularizer"]
        config = {
            **self._settings,
            "kernel_regularizer": keras.regularizers.serialize(regularizer) if regularizer else None,
            "name": self.name,
        }
        if frozen := [layer.name for layer in self.layers if not layer.trainable]:
            config["frozen"] = frozen
        if self.dtype_policy.name != "float32":
            config["dtype"] = self.dtype_policy.name
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The network that `get_config` describes."""
        settings = {name: value for name, value in config.items() if name not in STATE}
        with policy(config.get("dtype", "float32")):
            model = cls(**settings)
        for name in config.get("frozen", ()):
            model.get_layer(name).trainable = False
        return model


def node_width(i, j, filters, inner_filters):
    """Channels of X[i, j]: filters[i] at the grid's outer edge, `inner_filters` within."""
    if j == len(filters) - 1 - i or inner_filters == "level":
        return filters[i]
    return filters[0] if inner_filters is None else inner_filters


def named_loss(name):
    """A loss of this package by its name, else of Keras by its name."""
    try:
        return losses.get(name)
    except SettingError:
        try:
            return keras.losses.get(name)
        except ValueError:
            pass
        raise


def one_an_image(sample_weight, y_pred):
    """Sample weights as (B,); Keras would stretch those of pixels over images, or fail.

    Raises:
        SettingError: for a weight a pixel, as far as that is known before a step.
    """
    known = getattr(sample_weight.shape, "rank", 1) is not None
    sides = tuple(sample_weight.shape)[1:] if known else ()
    if any(side not in (None, 1) for side in sides):
        raise SettingError(
            f"sample_weight is one an image, not {' x '.join(map(str, sides))}",
            mend="weigh classes by the loss' class_weights, and leave pixels out by its ignore_index",
        )
    return ops.reshape(sample_weight, (ops.shape(y_pred)[0],))


def default_metrics(num_classes, ignore_index=None):
    """Mean Dice and IoU over the classes, of the pixels that count."""
    kinds = {"dice": metrics.Dice, "iou": metrics.IoU}
    return [kind(num_classes, name=name, ignore_index=ignore_index) for name, kind in kinds.items()]
