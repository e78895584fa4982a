"""UNet++ (Zhou et al., 2018 and 2020): a U-Net whose skips are nested convolution blocks.

X[i, j] is the node at level i (0 = full resolution) and column j::

    X[i, 0] = block(pool(X[i-1, 0]))
    X[i, j] = block(concat(up(X[i+1, j-1]), X[i, 0], ..., X[i, j-1]))        j = 1 .. depth - 1 - i
"""

import keras
from keras import layers

from unetpp.errors import SettingError
from unetpp.model.blocks import block, check_settings, head, name_of, plain, pool, up
from unetpp.model.composed import ignored
from unetpp.model.objectives import check_shared, check_truth, default_metrics, find_loss, head_shares
from unetpp.model.policy import policy
from unetpp.model.saving import STATE, check_layers
from unetpp.model.sizes import check_fits, crop_to, pad_to_multiple

FILTERS = (32, 64, 128, 256, 512)


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
        activation: "leaky_relu" (slope 0.01) or any other built-in Keras activation, by name or as the function.
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
                "activation": name_of(activation),
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

    def __call__(self, inputs, *args, **kwargs):
        """Images (B, H, W, channels) to probabilities (B, H, W, num_classes), or a list of them, one a head.

        Raises:
            SettingError: for a size that a network for any size cannot halve as often as it must.
        """
        check_fits(getattr(inputs, "shape", ()), self._settings)
        return super().__call__(inputs, *args, **kwargs)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Load what `save_weights` has saved, of a network with as many heads: Keras pairs layers by their order.

        Raises:
            SettingError: for weights of a network with other layers.
        """
        if not skip_mismatch:
            check_layers(filepath, len(self.layers))
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

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
            loss: a Keras loss, or a name or a sum of names of `unetpp.model.losses`; all heads learn by it.
            metrics: a list as in Keras, of the deepest head; None for the mean Dice and IoU over the classes, of the
                pixels that the loss does not ignore.
            class_weights: weights of the default loss, by class index, so not with `loss`. None: 1 / 50 / 70 with
                three classes (background, blood cell, bacteria), else all alike.
            head_weights: with deep supervision, how much each head's loss counts, the shallowest first; None for
                all alike. Only their ratios matter.
            kwargs: passed to `keras.Model.compile`. `jit_compile` is off by default: XLA halves the
                speed on a CPU.

        Raises:
            SettingError: for weights that cannot be meant, and for losses or metrics by head.
        """
        num_classes = self._settings["num_classes"]
        check_shared(loss, kwargs.get("loss_weights"), metrics, kwargs.get("weighted_metrics"))
        self._head_weights = head_shares(head_weights, len(self.outputs))
        loss = find_loss(loss, num_classes, class_weights)
        if keras.backend.backend() == "tensorflow" and kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = False
        super().compile(
            optimizer=keras.optimizers.Adam(5e-4) if optimizer is None else optimizer,
            loss=loss,
            metrics=default_metrics(num_classes, ignored(loss)) if metrics is None else metrics,
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
        config = {**config, "jit_compile": config.get("jit_compile") or "auto"}
        weights = list(self._head_weights)
        if len(set(weights)) == 1:
            return config
        # As Keras takes them: a clone by Keras, which is a plain model, is compiled by this, too.
        return {**config, "loss": [config["loss"]] * len(weights), "loss_weights": weights}

    def compile_from_config(self, config):
        """Compile as a saved model was."""
        config = keras.saving.deserialize_keras_object(config)
        if isinstance(config["loss"], list):
            config |= {"loss": config["loss"][0], "head_weights": config.pop("loss_weights")}
        self.compile(**config)
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted mean of the loss over the heads, plus the regularisation.

        Raises:
            SettingError: for masks one a head.
        """
        check_truth(y)
        heads = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
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
