"""The moving average of a model's weights, which is validated and kept in place of the weights."""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from unetpp.training.checkpoints import Progress
from unetpp.training.variables import arrays, assign, values


class Average(keras.callbacks.Callback):
    """The moving average of the trainable weights, over the last tenth of the steps and at most about 100.

    After step t the average moves 1 - min(0.99, (1 + t) / (10 + t)) of the way to the weights, so that short
    runs are not held back by their first weights.

    Args:
        progress: of the run; its `average` and `steps` are kept here.
        twin: a network like the one in training, which takes the averaged weights.
        batches: images by which batch normalisation's statistics are measured anew for the averaged weights;
            those that were gathered in training belong to other weights.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, for the
    average and its statistics.
    """

    def __init__(self, progress: Progress, twin: keras.Model, batches: Sequence[np.ndarray]):
        super().__init__()
        self.progress, self.twin, self.batches = progress, twin, batches
        self.gather = gatherer(twin)

    def on_train_batch_end(self, batch, logs=None):
        """Follow the weights."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        progress = self.progress
        progress.steps += 1
        weights = values(self.model.trainable_variables)
        share = 1 - min(0.99, (1 + progress.steps) / (10 + progress.steps))
        progress.average = mover()(progress.average or weights, weights, share)

    def applied(self) -> keras.Model:
        """The twin, with the averaged weights and their statistics."""
        assign(self.twin.variables, arrays(self.model.variables))
        if self.progress.average:
            assign(self.twin.trainable_variables, map(np.asarray, self.progress.average))
            measure_statistics(self.twin, self.batches, self.gather)
        return self.twin


def measure_statistics(model, batches: Sequence[np.ndarray], gather: Callable) -> None:
    """Set the moving statistics of batch normalisation to their mean over some batches of images; see `gatherer`."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    statistics = [variable for layer in layers for variable in layer.non_trainable_variables]
    momenta, found = [layer.momentum for layer in layers], []
    for layer in layers:
        layer.momentum = 0.0  # so that they become those of the batch
    for images in batches if layers else ():
        gather(images)
        found.append(arrays(statistics))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    if found:
        assign(statistics, (np.mean(parts, axis=0) for parts in zip(*found, strict=True)))


def gatherer(model) -> Callable[[np.ndarray], object]:
    """What shows a network a batch of images as in training, so that its batch normalisation takes note of them."""
    look = functools.partial(model, training=True)
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(look)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # As a graph it takes three quarters of the time.
        return tf.function(look)
    import jax

    # Unless the network is compiled as a whole, JAX compiles each of its operations, which takes longer.
    @jax.jit
    def run(trainable, others, images):
        return model.stateless_call(trainable, others, images, training=True)[1]

    def gather(images):
        others = model.non_trainable_variables
        assign(others, run(values(model.trainable_variables), values(others), images))

    return gather


def moved(average: Sequence, weights: Sequence, share: float) -> list:
    """Arrays moved a share of the way to others; new ones, for JAX may have made the twin's weights of the old."""
    return [a + share * (w - a) for a, w in zip(average, weights, strict=True)]


@functools.cache
def mover():
    """`moved`, compiled where JAX runs."""
    if keras.backend.backend() != "jax":
        return moved
    import jax

    return jax.jit(moved)
