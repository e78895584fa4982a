"""Keras' batch normalisation and dropout, with fewer passes over memory where TensorFlow trains.

Both compute what Keras' layers of the same names do, have their variables, and are Keras' own on other backends and in
prediction.
"""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="unetpp")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over (B, h, w, C), by TensorFlow's fused operation in training.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1.
    """

    def call(self, x, training=None, mask=None):
        """Normalise by the batch, and follow its statistics; by the moving ones outside training."""
        if not training or keras.backend.backend() != "tensorflow" or x.dtype == "float64":
            return super().call(x, training=training, mask=mask)
        import tensorflow as tf

        gamma, beta = (tf.cast(variable.value, "float32") for variable in (self.gamma, self.beta))
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        # The operation gives the variance of a sample, Keras keeps that of the batch.
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], "float32")
        variance = variance * (count - 1) / count
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
        return y


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
