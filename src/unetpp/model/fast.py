"""Keras' convolutions, batch normalisation, dropout and AdamW, with fewer passes over memory in training.

They compute what Keras' own of the same names do, have their variables, and are Keras' own in prediction and on JAX,
whose compiler joins passes by itself.
"""

import keras
from keras import layers


def own_way(layer):
    """A layer's own method for the running backend, such as `by_torch`; None where Keras' method does."""
    return getattr(layer, f"by_{keras.backend.backend()}", None)


@keras.saving.register_keras_serializable(package="unetpp")
class Conv2D(layers.Conv2D):
    """`keras.layers.Conv2D` of stride 1, without activation.

    On TensorFlow, what was concatenated gets its gradients part by part, instead of copies of parts of one gradient. On
    PyTorch, nothing is copied to bring channels first.
    """

    def call(self, x, training=None):
        """The convolution and its bias."""
        own = own_way(self)
        return own(x) if own and training else super().call(x)

    def by_torch(self, x):
        """(B, h, w, any) -> (B, h, w, filters)."""
        import torch

        kernel, bias = map(keras.ops.convert_to_tensor, (self.kernel, self.bias))
        kernel = kernel.permute(3, 2, 0, 1)
        return torch.nn.functional.conv2d(x.movedim(-1, 1), kernel, bias, padding=self.padding).movedim(1, -1)

    def by_tensorflow(self, x):
        """As `by_torch`."""
        import tensorflow as tf

        same = {"strides": [1, 1, 1, 1], "padding": self.padding.upper()}
        by_filter, by_input = tf.raw_ops.Conv2DBackpropFilter, tf.raw_ops.Conv2DBackpropInput

        @tf.custom_gradient
        def convolve(kernel, bias, *parts):
            def gradients(dy):
                pieces = tf.split(kernel, [part.shape[-1] for part in parts], axis=2)
                by_piece, by_part = [], []
                for part, piece in zip(parts, pieces, strict=True):
                    size, shape = tf.shape(part), tf.shape(piece)
                    by_piece.append(by_filter(input=part, filter_sizes=shape, out_backprop=dy, **same))
                    by_part.append(by_input(input_sizes=size, filter=piece, out_backprop=dy, **same))
                return tf.concat(by_piece, axis=2), tf.raw_ops.BiasAddGrad(out_backprop=dy), *by_part

            return tf.nn.bias_add(tf.nn.conv2d(x, kernel, **same), bias), gradients

        return convolve(*map(tf.convert_to_tensor, (self.kernel, self.bias)), *parts_of(x))


def parts_of(x):
    """The tensors that x is concatenated of in TensorFlow's graph, else x alone."""
    operation = getattr(x, "op", None)
    parts = operation.inputs[:-1] if operation and operation.type == "ConcatV2" else []
    # Widths add up only where channels were concatenated, not images.
    return parts if sum(part.shape[-1] for part in parts) == x.shape[-1] else [x]


@keras.saving.register_keras_serializable(package="unetpp")
class Conv2DTranspose(layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` of 2 x 2 at stride 2: on TensorFlow a convolution of 1 x 1 to four pixels each."""

    def call(self, x, training=None):
        """Twice the height and width: (B, h, w, any) -> (B, 2h, 2w, filters)."""
        own = own_way(self)
        return own(x) if own and training else super().call(x)

    def by_torch(self, x):
        """As `call`, and nothing is copied to bring channels first."""
        import torch

        kernel, bias = map(keras.ops.convert_to_tensor, (self.kernel, self.bias))
        # (2, 2, filters, any) -> (any, filters, 2, 2)
        kernel = kernel.permute(3, 2, 0, 1)
        return torch.nn.functional.conv_transpose2d(x.movedim(-1, 1), kernel, bias, stride=2).movedim(1, -1)

    def by_tensorflow(self, x):
        """As `call`."""
        import tensorflow as tf

        # (2, 2, filters, any) -> (1, 1, any, 2 * 2 * filters)
        kernel = tf.reshape(tf.transpose(self.kernel, [3, 0, 1, 2]), [1, 1, x.shape[-1], -1])
        y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), tf.tile(self.bias, [4]))
        return tf.nn.depth_to_space(y, 2)


@keras.saving.register_keras_serializable(package="unetpp")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over (B, h, w, C), by the backend's fused operation in training.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1.
    """

    def call(self, x, training=None, mask=None):
        """Normalise by the batch, and follow its statistics; by the moving ones outside training."""
        fused = own_way(self)
        double = keras.backend.standardize_dtype(x.dtype) == "float64"
        if not fused or not training or not self.trainable or double:
            return super().call(x, training=training, mask=mask)
        y, mean, variance = fused(x)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            of_batch = keras.ops.cast(of_batch, moving.dtype)
            moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
        return y

    def by_tensorflow(self, x):
        """The normalised batch, (B, h, w, C), and its mean and variance, (C,)."""
        import tensorflow as tf

        gamma, beta = (tf.cast(variable.value, "float32") for variable in (self.gamma, self.beta))
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        # The operation gives the variance of a sample, Keras keeps that of the batch.
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], "float32")
        return y, mean, variance * (count - 1) / count

    def by_torch(self, x):
        """As `by_tensorflow`."""
        import torch

        gamma, beta = (variable.value.float() for variable in (self.gamma, self.beta))
        # No copy: channels come first in shape alone.
        images = x.movedim(-1, 1)
        y, mean, scale = torch.native_batch_norm(images, gamma, beta, None, None, True, 0.0, self.epsilon)
        with torch.no_grad():
            variance = scale.float() ** -2 - self.epsilon
        return y.movedim(1, -1), mean.detach(), variance


@keras.saving.register_keras_serializable(package="unetpp")
class Dropout(layers.Dropout):
    """`keras.layers.Dropout`, on TensorFlow by a random byte a value, a quarter of Keras' random numbers.

    Each call drops so many of 256, drawn anew such that each value is dropped at the rate, to 1/65536.

    Source: Srivastava et al., "Dropout", 2014.
    """

    def call(self, x, training=False):
        """Set a share of the values to 0 and scale the others up; nothing outside training."""
        if not training or not self.rate or keras.backend.backend() != "tensorflow":
            return super().call(x, training=training)
        return self.drop(x, self.seed_generator.next())

    def drop(self, x, seed):
        """What `call` does in training on TensorFlow, by a seed of two integers."""
        import tensorflow as tf

        shape = tf.shape(x)
        count = tf.reduce_prod(shape)
        seed = tf.cast(seed, "int32")
        # Four bytes a word, and one byte more for the threshold.
        words = tf.random.stateless_uniform([count // 4 + 1], seed, minval=None, maxval=None, dtype="uint32")
        drawn = tf.reshape(tf.bitcast(words, "uint8"), [-1])
        dropped = (round(65536 * self.rate) + tf.cast(drawn[count], "int32")) // 256
        kept = tf.cast(drawn[:count] >= tf.cast(tf.minimum(dropped, 255), "uint8"), x.dtype)
        return x * (tf.reshape(kept, shape) * tf.cast(1 / (1 - self.rate), x.dtype))


@keras.saving.register_keras_serializable(package="unetpp")
class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, by TensorFlow's fused operation.

    Source: Kingma and Ba, "Adam", 2015; Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    def update_step(self, gradient, variable, learning_rate):
        """One step of one variable."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        moments = (self._momentums[index].value, self._velocities[index].value)
        step = keras.ops.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=moments[0].handle,
            v=moments[1].handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
